"""lmwb's influence beside kronfluence 1.0.1 on the same weights, rows and sampled labels: agreement, CPU time, memory.

kronfluence is no dependency, for its requirements bring another torch; without them it runs as it is:

    pip install --no-deps kronfluence==1.0.1 einops opt_einsum einconv

Agreement is that of float64 scores (largest difference over the largest score) and of float32 ones (Spearman over each
query's rows, mean). For times the engines alternate in one process on one thread; medians of CPU time are told, and
the median of the rounds' ratios. The peak of memory is that of a process of its own for each engine.

    python tests/bench/bench_influence.py [--rounds 3] [--only agreement] [--strategy ekfac]
"""

import argparse
import copy
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lmwb.core.data.rows import Rows
from lmwb.core.influence import (
    FactorSettings,
    Side,
    fit_factors,
    plan_queries,
    prepare,
    row_scores,
    self_scores,
    study,
    token_scores,
    token_scores_of_pairs,
)
from lmwb.core.influence.labels import Sampled
from lmwb.core.influence.top import Top
from lmwb.core.influence.watch import Watch
from lmwb.core.training.objectives.causal import CausalLM
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

warnings.filterwarnings("ignore")
STRATEGIES = ("identity", "diagonal", "kfac", "ekfac")
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """How much work it is."""

    width: int
    layers: int
    tokens: int
    train: int
    queries: int
    vocabulary: int = 2048
    batch: int = 32


TINY = Size(32, 2, 24, 48, 8, 128, 16)
SMALL = Size(128, 4, 32, 512, 64)
SIXTH = Size(128, 2, 85, 192, 32, 8192)
"""GPT-2's shape at a sixth: tokens and vocabulary are to the width as in the published example."""
MANY = Size(128, 4, 64, 2048, 128)
LONG = Size(128, 4, 128, 128, 32)


class Work:
    """A model, its rows, and the labels that stand for sampled ones."""

    def __init__(self, size: Size, double: bool = False, ragged: bool = False):
        torch.manual_seed(0)
        self.size = size
        shape = {"n_embd": size.width, "n_layer": size.layers, "n_head": 4, "n_positions": size.tokens}
        config = GPT2Config(vocab_size=size.vocabulary, bos_token_id=0, eos_token_id=0, initializer_range=0.1, **shape)
        self.model = GPT2LMHeadModel(config).eval()
        if double:
            self.model.double()
        random = np.random.default_rng(1)
        count = size.train + size.queries
        lengths = random.integers(4, size.tokens + 2, count) if ragged else np.full(count, size.tokens + 1)
        ends = np.cumsum(lengths)
        stream = random.integers(0, size.vocabulary, int(ends[-1]), dtype=np.int32)
        self.bounds = np.stack([ends - lengths, ends], 1)
        self.stream = stream
        self.train = CausalLM(Rows(stream, self.bounds[: size.train]))
        self.queries = CausalLM(Rows(stream, self.bounds[size.train :]))
        self.labels = self._labels()

    def _labels(self) -> torch.Tensor:
        """(rows, tokens) of sampled labels for the training rows, -100 behind each row's end."""
        found = torch.full((self.size.train, self.size.tokens), -100)
        draw = Sampled(self.train, 0)
        for row in range(self.size.train):
            batch = self.train.collate([row], 0)
            with torch.no_grad():
                outputs = self.train.forward(self.model, batch)
            found[row, : batch.targets.shape[1]] = draw([row], batch, outputs)[0]
        return found


# -- lmwb --------------------------------------------------------------------------------------------------------------


class Ours:
    """lmwb on a piece of work."""

    def __init__(self, work: Work, strategy: str, folder: Path, injected: bool = True):
        self.work = work
        self.folder = folder
        self.settings = FactorSettings(strategy=strategy, parts=1)
        self.subject = study(work.model, work.train)
        self.given = {"labels": self._given, "label_key": "bench"} if injected else {}
        self.watch = Watch()
        self.train, self.queries = Side.all_of(work.train), Side.all_of(work.queries)

    def _given(self, rows: Sequence[int], batch: Any, _outputs: torch.Tensor) -> torch.Tensor:
        return self.work.labels[list(rows), : batch.targets.shape[1]]

    def factors(self) -> Any:
        self.known = fit_factors(self.subject, self.work.train, self.folder, self.settings, self.watch, **self.given)
        return self.known

    def prepared(self, rows: Side | None = None) -> Any:
        side = rows or self.queries
        plan = plan_queries(self.subject.layers, len(side.rows), 8 * GIB, "full", "float32")
        return prepare(self.subject, self.known, side, plan, None, GIB, self.watch)

    def pairwise(self) -> np.ndarray[Any, Any]:
        return row_scores(self.subject, self.prepared(), self.train, self.watch).numpy()

    def tokens(self) -> np.ndarray[Any, Any]:
        found = token_scores(self.subject, self.prepared(), self.train, self.watch)
        out = np.zeros((len(self.work.queries), len(found), self.work.size.tokens))
        for row, scores in found.items():
            out[:, row, : scores.shape[1]] = scores
        return out

    def top_tokens(self, keep: int = 10) -> Any:
        prepared = self.prepared()
        scores = row_scores(self.subject, prepared, self.train, self.watch).numpy()
        best = Top.none(prepared.count).with_more(self.train.rows, scores, keep)
        pairs: dict[int, list[int]] = {}
        for query, rows in enumerate(best.rows.tolist()):
            for row in rows:
                pairs.setdefault(row, []).append(query)
        return token_scores_of_pairs(self.subject, prepared, self.train, pairs, self.watch)

    def self_influence(self) -> np.ndarray[Any, Any]:
        return self_scores(self.subject, self.known, self.train, None, GIB, self.watch).numpy()


# -- kronfluence -------------------------------------------------------------------------------------------------------


def with_linear(model: nn.Module) -> nn.Module:
    """A copy whose GPT-2 layers are `nn.Linear`, the only ones that kronfluence knows."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv1D):
                linear = nn.Linear(child.nx, child.nf).to(child.weight.dtype)
                linear.weight.data, linear.bias.data = child.weight.data.T.contiguous(), child.bias.data
                setattr(module, name, linear)
    return model


class Theirs:
    """kronfluence on the same."""

    def __init__(self, work: Work, strategy: str, folder: Path, query_batch: int | None = None, injected: bool = True):
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.arguments import FactorArguments, ScoreArguments
        from kronfluence.task import Task

        for name in ("kronfluence", "accelerate"):
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.disable(logging.WARNING)
        size, dtype = work.size, next(work.model.parameters()).dtype

        class Language(Task):
            def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> torch.Tensor:
                logits = model(input_ids=batch["ids"], use_cache=False).logits.flatten(0, 1)
                logits = logits if logits.dtype == torch.float64 else logits.float()
                if sample and not injected:
                    with torch.no_grad():
                        drawn = torch.multinomial(F.softmax(logits.detach(), -1), 1).flatten()
                    return F.cross_entropy(logits, drawn, reduction="sum")
                targets = batch["sampled"] if sample else batch["targets"]
                return F.cross_entropy(logits, targets.flatten(), reduction="sum")

            def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
                return self.compute_train_loss(batch, model)

            def get_influence_tracked_modules(self) -> list[str]:
                parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
                return [f"transformer.h.{i}.{part}" for i in range(size.layers) for part in parts]

            def get_attention_mask(self, batch: Any) -> torch.Tensor:
                return batch["mask"]

        class Listed(torch.utils.data.Dataset):
            def __init__(self, bounds: Any, sampled: torch.Tensor | None):
                self.bounds, self.sampled = bounds, sampled

            def __len__(self) -> int:
                return len(self.bounds)

            def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
                first, last = self.bounds[row]
                piece = torch.from_numpy(work.stream[first:last]).long()
                ids, targets = torch.zeros(size.tokens, dtype=torch.long), torch.full((size.tokens,), -100)
                mask = torch.zeros(size.tokens, dtype=torch.long)
                ids[: len(piece) - 1], targets[: len(piece) - 1], mask[: len(piece) - 1] = piece[:-1], piece[1:], 1
                sampled = targets if self.sampled is None else self.sampled[row]
                return {"ids": ids, "targets": targets, "sampled": sampled, "mask": mask}

        task = Language()
        model = prepare_model(with_linear(work.model), task)
        self.analyzer = Analyzer("bench", model, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
        kinds = (
            "activation_covariance_dtype",
            "gradient_covariance_dtype",
            "per_sample_gradient_dtype",
            "lambda_dtype",
        )
        self.factor_args = FactorArguments(strategy=strategy, **dict.fromkeys(kinds, dtype))
        kinds = ("query_gradient_svd_dtype", "score_dtype", "per_sample_gradient_dtype", "precondition_dtype")
        self.score_args = ScoreArguments(damping_factor=None, **dict.fromkeys(kinds, dtype))
        self.train = Listed(work.bounds[: size.train], work.labels)
        self.queries = Listed(work.bounds[size.train :], None)
        self.batch, self.query_batch = size.batch, query_batch or size.queries

    def factors(self) -> None:
        self.analyzer.fit_all_factors(
            "factors", self.train, per_device_batch_size=self.batch, factor_args=self.factor_args,
            overwrite_output_dir=True,
        )  # fmt: skip

    def pairwise(self, tokens: bool = False) -> np.ndarray[Any, Any]:
        arguments = copy.copy(self.score_args)
        arguments.compute_per_token_scores = tokens
        self.analyzer.compute_pairwise_scores(
            "scores", "factors", self.queries, self.train, per_device_query_batch_size=self.query_batch,
            per_device_train_batch_size=self.batch, score_args=arguments, overwrite_output_dir=True,
        )  # fmt: skip
        return self.analyzer.load_pairwise_scores("scores")["all_modules"].numpy()

    def tokens(self) -> np.ndarray[Any, Any]:
        return self.pairwise(tokens=True)

    def self_influence(self) -> np.ndarray[Any, Any]:
        self.analyzer.compute_self_scores(
            "self", "factors", self.train, per_device_train_batch_size=self.batch, score_args=self.score_args,
            overwrite_output_dir=True,
        )  # fmt: skip
        return self.analyzer.load_self_scores("self")["all_modules"].numpy()


# -- what is told ------------------------------------------------------------------------------------------------------


def agreement(strategies: Sequence[str]) -> None:
    """Scores of both in float64 and float32, full rows and rows of many lengths."""
    print("agreement: largest difference / largest score in float64; mean Spearman in float32")
    for ragged in (False, True):
        for strategy in strategies:
            told: list[str] = []
            for double in (True, False):
                work = Work(TINY, double, ragged)
                with tempfile.TemporaryDirectory() as folder:
                    ours, theirs = Ours(work, strategy, Path(folder) / "o"), Theirs(work, strategy, Path(folder) / "t")
                    ours.factors(), theirs.factors()
                    pairs = {
                        "rows": (ours.pairwise(), theirs.pairwise()),
                        "tokens": (ours.tokens(), theirs.tokens()),
                        "self": (ours.self_influence()[None], theirs.self_influence()[None]),
                    }
                for name, (mine, other) in pairs.items():
                    if double:
                        told.append(f"{name} {np.abs(mine - other).max() / np.abs(other).max():.1e}")
                    elif name == "rows":
                        told.append(
                            f"Spearman {np.mean([spearmanr(a, b)[0] for a, b in zip(mine, other, strict=True)]):.6f}"
                        )
            print(f"  {'padded' if ragged else 'full  '} {strategy:9} {'  '.join(told)}", flush=True)


def clocked(work: Callable[[], Any]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def speed(
    name: str, size: Size, query_batch: int | None, jobs: dict[str, tuple[str, str]], rounds: int, strategy: str
) -> None:
    """Alternate the engines, each with factors of its own and fresh folders; labels are sampled by each itself."""
    work = Work(size)
    times: dict[str, list[tuple[float, float]]] = {job: [] for job in jobs}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(work, strategy, Path(folder) / "o", injected=False)
            theirs = Theirs(work, strategy, Path(folder) / "t", query_batch, injected=False)
            for job, (mine, other) in jobs.items():
                times[job].append((clocked(getattr(ours, mine)), clocked(getattr(theirs, other))))
    print(f"\n{name} ({strategy}, {size}): CPU s, median of {rounds}", flush=True)
    for job, found in times.items():
        tell(job, found)
    both = [job for job in ("factors", "rows") if job in times]
    if len(both) == 2:
        tell("factors and rows", [(a + c, b + d) for (a, b), (c, d) in zip(*(times[job] for job in both), strict=True)])


def top(strategy: str, share: int = 16) -> None:
    """Tokens of the ten best rows beside tokens of all rows, with many rows and queries.

    kronfluence, whose time grows with the rows, is given a share of them, and its time is multiplied.
    """
    work, few = Work(MANY), Work(replace(MANY, train=MANY.train // share))
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (
            Ours(work, strategy, Path(folder) / "o", injected=False),
            Theirs(few, strategy, Path(folder) / "t"),
        )
        ours.settings = FactorSettings(strategy=strategy, parts=1, share=1 / share)
        ours.factors(), theirs.factors()
        found = clocked(ours.top_tokens), share * clocked(theirs.tokens)
    print(f"\ntokens of the ten best rows beside those of all ({strategy}, {MANY}): CPU s", flush=True)
    tell(f"top 10, all (x {share})", [found])


def tell(job: str, found: Sequence[tuple[float, float]]) -> None:
    """One line."""
    mine, other = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(b / a for a, b in found)
    print(f"  {job:22} lmwb {mine:7.2f}   kronfluence {other:7.2f}   {ratio:5.2f} times as fast", flush=True)


JOBS = {"factors": ("factors", "factors"), "rows": ("pairwise", "pairwise")}
TOKEN_JOBS = {"factors": ("factors", "factors"), "tokens": ("tokens", "tokens"), "top 10": ("top_tokens", "tokens")}


def peak(engine: str, job: str) -> None:
    """In a process of its own: factors and scores, and the peak above what the model itself took."""
    torch.set_num_threads(1)
    work = Work(SMALL if job == "rows" else LONG)
    with tempfile.TemporaryDirectory() as folder:
        made: Any = (Ours if engine == "lmwb" else Theirs)(work, "ekfac", Path(folder), injected=False)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made.factors()
        (made.pairwise if job == "rows" else made.tokens)()
    print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10))


def memory() -> None:
    """Peaks of both."""
    print("\npeak memory beyond the model, MiB", flush=True)
    for job in ("rows", "tokens"):
        found = {}
        for engine in ("lmwb", "kronfluence"):
            command = [sys.executable, __file__, "--peak", engine, job]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[engine] = json.loads(done.stdout.strip().splitlines()[-1])
        print(
            f"  factors and {job:8} " + "   ".join(f"{engine} {mib:7.0f}" for engine, mib in found.items()), flush=True
        )


def main() -> None:
    """Tell what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["agreement", "example", "best", "sixth", "long", "tokens", "top", "memory"])
    parser.add_argument("--strategy", choices=STRATEGIES, default="ekfac")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        peak(*arguments.peak)
        return
    rounds, strategy = arguments.rounds, arguments.strategy
    parts: dict[str, Callable[[], None]] = {
        "agreement": lambda: agreement(STRATEGIES),
        "example": lambda: speed("the example's way, 16 batches of queries", SMALL, 4, JOBS, rounds, strategy),
        "best": lambda: speed("all queries in one batch", SMALL, None, JOBS, rounds, strategy),
        "sixth": lambda: speed("GPT-2's shape at a sixth, one batch", SIXTH, None, JOBS, rounds, strategy),
        "long": lambda: speed("longer rows, one batch", LONG, None, JOBS, rounds, strategy),
        "tokens": lambda: speed("scores of tokens", LONG, None, TOKEN_JOBS, rounds, strategy),
        "top": lambda: top(strategy),
        "memory": memory,
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()


if __name__ == "__main__":
    main()
