"""The training loop beside a bare torch loop and the transformers Trainer, on the same work.

Rounds alternate between the engines in one process; CPU time counts, since wall time on a shared machine
does not. Prints medians and ratios:

    python tests/bench/bench_loop.py [--rounds 7]
"""

import argparse
import statistics
import tempfile
import time

import torch
from lmwb.core.data.rows import Rows
from lmwb.core.recipe.schema import Train
from lmwb.core.training.loop import Loop
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.plan import Plan
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, logging

CPU = torch.device("cpu")
WARM_UP = 3
SIZES = {
    "tiny (width 32, 1 layer, 16 tokens x 4)": {"width": 32, "layers": 1, "block": 16, "batch": 4, "steps": 160},
    "small (width 128, 4 layers, 128 tokens x 8)": {"width": 128, "layers": 4, "block": 128, "batch": 8, "steps": 12},
}


def make_model(width: int, layers: int, block: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    drop = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.0}
    shape = {"n_embd": width, "n_layer": layers, "n_head": 2, "n_positions": block}
    return GPT2LMHeadModel(GPT2Config(vocab_size=2048, bos_token_id=0, eos_token_id=0, **shape, **drop))


def make_rows(count: int, block: int) -> Rows:
    stream = torch.randint(0, 2048, (count * block + 1,), generator=torch.Generator().manual_seed(1)).int().numpy()
    firsts = torch.arange(count) * block
    return Rows(stream, torch.stack([firsts, firsts + block + 1], 1).numpy())


def bare(size: dict[str, int]) -> float:
    """The least that any loop must do: batches, forward, backward, clip, fused AdamW."""
    model = make_model(size["width"], size["layers"], size["block"])
    objective = CausalLM(make_rows(size["steps"] * size["batch"], size["block"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    model.train()
    for step in range(size["steps"]):
        if step == WARM_UP:
            began = time.process_time()
        batch = objective.collate(range(step * size["batch"], (step + 1) * size["batch"]), 0)
        logits = model(**batch.inputs, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.process_time() - began) / (size["steps"] - WARM_UP)


def ours(size: dict[str, int]) -> float:
    """lmwb's loop, its measurements fetched as a stage does."""
    model = make_model(size["width"], size["layers"], size["block"])
    settings = Train(steps=size["steps"], batch_size=size["batch"], lr=1e-3)
    rows = make_rows(size["steps"] * size["batch"], size["block"])
    loop = Loop(model, CausalLM(rows), settings, Plan.of(settings, len(rows), 0), CPU)
    for step in loop.steps():
        if step.number == WARM_UP:
            began = time.process_time()
        step.loss.item()
    return (time.process_time() - began) / (size["steps"] - WARM_UP)


class _Blocks(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, rows: Rows):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        tokens = torch.from_numpy(self._rows.tokens(row)).long()[:-1]
        return {"input_ids": tokens, "labels": tokens}


def trainer(size: dict[str, int]) -> float:
    """The transformers Trainer, logging every ten steps, saving nothing."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **_):  # type: ignore[no-untyped-def]
            if state.global_step == WARM_UP:
                self.began = time.process_time()
            if state.global_step == size["steps"]:
                self.ended = time.process_time()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=size["batch"], max_steps=size["steps"], learning_rate=1e-3,
            optim="adamw_torch_fused", logging_steps=10, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=True, dataloader_pin_memory=False,
        )  # fmt: skip
        model = make_model(size["width"], size["layers"], size["block"])
        rows = _Blocks(make_rows(size["steps"] * size["batch"], size["block"]))
        engine = Trainer(model, arguments, train_dataset=rows, callbacks=[clock])
        engine.train()
    return (clock.ended - clock.began) / (size["steps"] - WARM_UP)


def main() -> None:
    """Alternate the engines and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    engines = {"bare torch": bare, "lmwb": ours, "transformers Trainer": trainer}
    for name, size in SIZES.items():
        times: dict[str, list[float]] = {engine: [] for engine in engines}
        for _ in range(rounds):
            for engine, run in engines.items():
                times[engine].append(run(size))
        print(f"\n{name}: CPU ms per step, median of {rounds}")
        base = statistics.median(times["bare torch"])
        for engine, seconds in times.items():
            median = statistics.median(seconds)
            print(
                f"  {engine:22} {1000 * median:8.2f}   {median / base:5.3f} x bare   {1000 * (median - base):+.2f} ms"
            )


if __name__ == "__main__":
    main()
