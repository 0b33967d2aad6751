"""lmwb beside the transformers Trainer on the same models and rows: classification, masked-lm, causal-lm.

Classification has rows of many lengths, padded per batch; lmwb runs it with and without bucketing. Rounds alternate
between the engines in one process; CPU time counts, since wall time on a shared machine does not. Prints medians of CPU
time per row, and how many times faster lmwb is:

    python tests/bench/bench_objectives.py [--rounds 5] [--only masked-lm]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lmwb.core.data.encoded import EncodedRows
from lmwb.core.data.rows import Rows
from lmwb.core.recipe.schema import Masking, Train
from lmwb.core.training.loop import Loop
from lmwb.core.training.objective import Objective
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.objectives.labels import Classification
from lmwb.core.training.objectives.masked import MaskedLM
from lmwb.core.training.objectives.masking import Masker
from lmwb.core.training.plan import Plan
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    logging,
)

CPU = torch.device("cpu")
VOCABULARY = 2048
WARM_UP = 4
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(
        models.WordPiece(
            {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(VOCABULARY - len(SPECIAL)))])}
        )
    ),
    pad_token="[PAD]",
    unk_token="[UNK]",
    cls_token="[CLS]",
    sep_token="[SEP]",
    mask_token="[MASK]",
)


@dataclass(frozen=True)
class Size:
    """How much work a step is."""

    width: int
    layers: int
    tokens: int
    batch: int
    steps: int


SIZES = {
    "tiny (width 32, 1 layer, 16 tokens x 8)": Size(32, 1, 16, 8, 104),
    "small (width 128, 4 layers, 64 tokens x 16)": Size(128, 4, 64, 16, 12),
}


@dataclass(frozen=True)
class Work:
    """The same work for both engines."""

    model: Callable[[], PreTrainedModel]
    objective: Objective
    rows: list[dict[str, Any]]
    collate: Any


def bert(kind: type[PreTrainedModel], size: Size) -> PreTrainedModel:
    torch.manual_seed(0)
    return kind(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=2,
            intermediate_size=4 * size.width,
            max_position_embeddings=4 * size.tokens,
        )
    )


def encoded(size: Size, lengths: np.ndarray[Any, Any]) -> EncodedRows:
    """Random tokens above those with a meaning."""
    stream = np.random.default_rng(1).integers(400, VOCABULARY, int(lengths.sum()), dtype=np.int32)
    ends = np.cumsum(lengths)
    return EncodedRows(stream, np.stack([ends - lengths, ends], 1))


def classification(size: Size) -> Work:
    """Lengths as of real sentences: many short, some long."""
    count = size.steps * size.batch
    drawn = np.random.default_rng(0).lognormal(np.log(size.tokens / 1.3), 0.6, count)
    rows = encoded(size, np.clip(drawn, 3, 4 * size.tokens).astype(np.int64))
    labels = np.arange(count) % 2
    listed = [{"input_ids": rows.tokens(i).tolist(), "label": int(labels[i])} for i in range(count)]
    return Work(
        lambda: bert(BertForSequenceClassification, size),
        Classification(rows, labels, 0, 2),
        listed,
        DataCollatorWithPadding(TOKENIZER),
    )


def masked(size: Size) -> Work:
    rows = encoded(size, np.full(size.steps * size.batch, size.tokens))
    listed = [{"input_ids": rows.tokens(i).tolist()} for i in range(len(rows))]
    return Work(
        lambda: bert(BertForMaskedLM, size),
        MaskedLM(rows, Masker(TOKENIZER, Masking()), 0),
        listed,
        DataCollatorForLanguageModeling(TOKENIZER, mlm_probability=0.15),
    )


def causal(size: Size) -> Work:
    def model() -> PreTrainedModel:
        torch.manual_seed(0)
        shape = {"n_embd": size.width, "n_layer": size.layers, "n_head": 2, "n_positions": size.tokens}
        return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, **shape))

    count = size.steps * size.batch
    stream = np.random.default_rng(1).integers(0, VOCABULARY, count * size.tokens + 1, dtype=np.int32)
    firsts = np.arange(count) * size.tokens
    rows = Rows(stream, np.stack([firsts, firsts + size.tokens + 1], 1))
    listed = [{"input_ids": rows.tokens(i)[:-1].tolist()} for i in range(count)]
    return Work(model, CausalLM(rows), listed, DataCollatorForLanguageModeling(TOKENIZER, mlm=False))


def ours(work: Work, size: Size, bucketing: bool) -> float:
    """CPU seconds per step of lmwb's loop, its measurements fetched as a stage does."""
    settings = Train(steps=size.steps, batch_size=size.batch, lr=1e-3, bucketing=bucketing)
    plan = Plan.of(settings, len(work.objective), 0, work.objective.lengths)
    began = 0.0
    for step in Loop(work.model(), work.objective, settings, plan, CPU).steps():
        if step.number == WARM_UP:
            began = time.process_time()
        step.loss.item()
    return (time.process_time() - began) / (size.steps - WARM_UP)


def trainer(work: Work, size: Size) -> float:
    """CPU seconds per step of the Trainer, logging every ten steps, saving nothing."""

    class Clock(TrainerCallback):
        began = ended = 0.0

        def on_step_end(self, args, state, control, **_):  # type: ignore[no-untyped-def]
            if state.global_step == WARM_UP:
                self.began = time.process_time()
            self.ended = time.process_time()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=size.batch, max_steps=size.steps, learning_rate=1e-3,
            optim="adamw_torch_fused", logging_steps=10, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=True, dataloader_pin_memory=False,
        )  # fmt: skip
        Trainer(work.model(), arguments, train_dataset=work.rows, data_collator=work.collate, callbacks=[clock]).train()
    return (clock.ended - clock.began) / (size.steps - WARM_UP)


WORKS = {"classification": classification, "masked-lm": masked, "causal-lm": causal}


def main() -> None:
    """Alternate the engines and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(WORKS))
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in [arguments.only] if arguments.only else WORKS:
        for title, size in SIZES.items():
            work = WORKS[name](size)
            engines: dict[str, Callable[[], float]] = {
                "transformers Trainer": lambda w=work, s=size: trainer(w, s),
                "lmwb": lambda w=work, s=size: ours(w, s, False),
            }
            if name == "classification":
                engines["lmwb, bucketing"] = lambda w=work, s=size: ours(w, s, True)
            times: dict[str, list[float]] = {engine: [] for engine in engines}
            for _ in range(arguments.rounds):
                for engine, run in engines.items():
                    times[engine].append(run())
            print(f"\n{name}, {title}: CPU ms per step, median of {arguments.rounds}")
            for engine, seconds in times.items():
                pairs = zip(times["transformers Trainer"], seconds, strict=True)
                faster = statistics.median(theirs / mine for theirs, mine in pairs)
                print(f"  {engine:22} {1000 * statistics.median(seconds):8.2f}   {faster:5.2f} x the Trainer's speed")


if __name__ == "__main__":
    main()
