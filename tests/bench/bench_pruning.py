"""A training step with masks beside the same step without: one thread, CPU time, rounds in turn, medians.

    python tests/bench/bench_pruning.py [--rounds 7] [--steps 6] [--profile top-k]

`sorted` is the way of the first implementation of movement pruning: every matrix sorted in every forward pass, masks
of float32, AdamW over lists of tensors. The others go through lmwb's loop, as does the plain step that all are
compared with.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lmwb.core.methods.active import Place
from lmwb.core.methods.pruning import Pruning
from lmwb.core.recipe.schema import Train
from lmwb.core.recipe.schema.pruning import MovementPruning
from lmwb.core.training.loop import Loop
from lmwb.core.training.objective import Batch
from lmwb.core.training.plan import Plan
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from transformers import BertConfig, BertForSequenceClassification, logging

CPU = torch.device("cpu")
SIZES: dict[str, dict[str, int]] = {
    "BERT, width 256, 4 layers, 8 x 128 tokens": {"width": 256, "layers": 4, "rows": 8, "tokens": 128},
    "BERT, width 256, 4 layers, 8 x 32 tokens": {"width": 256, "layers": 4, "rows": 8, "tokens": 32},
    "BERT, width 768, 1 layer, 8 x 128 tokens": {"width": 768, "layers": 1, "rows": 8, "tokens": 128},
    "BERT, width 768, 1 layer, 8 x 32 tokens": {"width": 768, "layers": 1, "rows": 8, "tokens": 32},
}
METHODS: dict[str, dict[str, Any]] = {
    "top-k": {"mask": "top-k", "init": "uniform", "init_scale": 0.1, "final_threshold": 0.15},
    "top-k of model": {
        **{"mask": "top-k", "scope": "model"},
        **{"init": "uniform", "init_scale": 0.1, "final_threshold": 0.15},
    },
    "magnitude": {"mask": "magnitude", "final_threshold": 0.15},
    "sigmoid-threshold": {"mask": "sigmoid-threshold", "penalty": "l1", "final_lambda": 100.0},
    "l0": {"mask": "l0", "penalty": "l0", "final_lambda": 100.0, "init_scale": 2.197},
}
WARM_UP = 2


class Rows:
    """Made-up rows; each batch is ready before the clock starts."""

    def __init__(self, size: dict[str, int]):
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, 1000, (size["rows"], size["tokens"]), generator=generator)
        labels = torch.arange(size["rows"]) % 2
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        self.batch = Batch(inputs, labels, size["rows"], ids.numel())
        self.lengths = np.full(1000, size["tokens"])

    def __len__(self) -> int:
        return 1000

    def collate(self, rows: Any, seed: int) -> Batch:
        return self.batch

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch.inputs).logits

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch.targets, reduction="sum")


def make_model(size: dict[str, int]) -> BertForSequenceClassification:
    torch.manual_seed(0)
    width = size["width"]
    shape = {"hidden_size": width, "num_hidden_layers": size["layers"], "intermediate_size": 4 * width}
    model = BertForSequenceClassification(BertConfig(vocab_size=1000, num_attention_heads=width // 64, **shape))
    for weight in model.bert.embeddings.parameters():
        weight.requires_grad_(False)
    return model


def loop_of(size: dict[str, int], settings: Train, pruned: dict[str, Any] | None) -> Loop:
    """lmwb's loop over the model, with masks or without."""
    model, rows = make_model(size), Rows(size)
    plan = Plan.of(settings, len(rows), 0)
    methods = []
    if pruned is not None:
        table = MovementPruning(**pruned)
        place = Place(model, None, rows, plan, settings, 0, CPU, Path(), Path(), lambda _: None)  # type: ignore[arg-type]
        methods = [Pruning(0, table, place)]
    return Loop(model, rows, settings, plan, CPU, None, methods)  # type: ignore[arg-type]


def ours(size: dict[str, int], steps: int, pruned: dict[str, Any] | None) -> float:
    settings = Train(steps=steps + WARM_UP, batch_size=size["rows"], lr=3e-5, result="last", log_every=10**6)
    for step in loop_of(size, settings, pruned).steps():
        if step.number == WARM_UP:
            began = time.process_time()
        step.loss.item()
    return (time.process_time() - began) / steps


# -- the first implementation's way ---------------------------------------------------------------


class _Sort(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, share: float) -> Tensor:
        mask = scores.clone()
        _, order = scores.flatten().sort(descending=True)
        count = int(share * scores.numel())
        flat = mask.flatten()
        flat[order[count:]] = 0
        flat[order[:count]] = 1
        return mask

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


class _SortedMask(nn.Module):
    def __init__(self, weight: Tensor):
        super().__init__()
        self.scores = nn.Parameter(torch.empty_like(weight).uniform_(-0.1, 0.1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * _Sort.apply(self.scores, 0.15)


def by_sorting(size: dict[str, int], steps: int) -> float:
    model, rows = make_model(size), Rows(size)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and ".layer." in name:
            parametrize.register_parametrization(module, "weight", _SortedMask(module.weight))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-5, weight_decay=0.0)
    model.train()
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            began = time.process_time()
        rows.loss_sum(rows.forward(model, rows.batch), rows.batch).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.process_time() - began) / steps


def profile(name: str) -> None:
    """Where the time of one method goes."""
    size = list(SIZES.values())[-2]
    settings = Train(steps=8, batch_size=size["rows"], lr=3e-5, result="last", log_every=10**6)
    steps = loop_of(size, settings, METHODS.get(name)).steps()
    next(steps)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(4):
            next(steps)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=18))


def main() -> None:
    """Alternate the ways and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--profile", metavar="METHOD", help="show where a method's time goes instead; or 'plain'")
    options = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    if options.profile:
        profile(options.profile)
        return
    for name, size in SIZES.items():
        times: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            times.setdefault("plain", []).append(ours(size, options.steps, None))
            for method, table in METHODS.items():
                times.setdefault(method, []).append(ours(size, options.steps, table))
            times.setdefault("sorted", []).append(by_sorting(size, options.steps))
        print(f"\n{name}: CPU ms per step, median of {options.rounds}")
        plain = statistics.median(times["plain"])
        for method, seconds in times.items():
            ratios = [each / base for each, base in zip(seconds, times["plain"], strict=True)]
            print(
                f"  {method:18} {1000 * statistics.median(seconds):8.1f}   "
                f"{statistics.median(seconds) / plain:5.2f} x plain   (rounds {min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
