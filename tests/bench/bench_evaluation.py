"""Perplexity of 500 continuations beside a plain loop and beside transformers in batches, on the same model and ids.

The plain loop does what notebooks do: one pair at a time, the logarithm of the softmax of every position. transformers
has 16 pairs to a batch in the given order, padded and masked, and its loss of the continuations. Rounds alternate
between the engines in one process; CPU time counts, since wall time on a shared machine does not. Perplexities are
compared before anything is timed. Prints medians, ratios, and the largest relative deviation:

    python tests/bench/bench_evaluation.py [--rounds 5] [--size small] [--model FOLDER] [--pairs 500]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lmwb.core.decoding.likelihood import Passage, log_probabilities
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, logging

SIZES = {
    "small": {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 2048},
    "medium": {"n_embd": 256, "n_layer": 6, "n_head": 8, "vocab_size": 8192},
    "large": {"n_embd": 768, "n_layer": 6, "n_head": 12, "vocab_size": 50257},
}
BATCH = 16
Pairs = list[tuple[list[int], list[int]]]


def make_model(size: str) -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**SIZES[size], n_positions=512, bos_token_id=0, eos_token_id=0)).eval()


def make_pairs(count: int, vocabulary: int) -> Pairs:
    """Random ids; lengths as of the first two sentences of stories, many short and some long."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(np.log(18), 0.6, (count, 2)), 3, 120).astype(int)
    return [tuple(random.integers(1, vocabulary, n).tolist() for n in pair) for pair in lengths]  # type: ignore[misc]


def ours(model: Any, pairs: Pairs) -> list[float]:
    passages = [Passage(np.array(prefix + rest, np.int64), len(prefix)) for prefix, rest in pairs]
    return [math.exp(-np.nanmean(found)) for found in log_probabilities(model, passages)]


@torch.no_grad()
def theirs(model: Any, pairs: Pairs) -> list[float]:
    """transformers in padded batches."""
    found: list[float] = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        longest = max(len(prefix) + len(rest) for prefix, rest in part)
        padding = [longest - len(prefix) - len(rest) for prefix, rest in part]
        ids = torch.tensor([p + r + [0] * n for (p, r), n in zip(part, padding, strict=True)])
        mask = torch.tensor([[1] * (longest - n) + [0] * n for n in padding])
        wanted = torch.tensor([[-100] * len(p) + r + [-100] * n for (p, r), n in zip(part, padding, strict=True)])
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted[:, 1:].flatten(), reduction="none")
        sums = loss.view(len(part), -1).sum(1)
        found += [math.exp(each / len(r)) for each, (_, r) in zip(sums.tolist(), part, strict=True)]
    return found


@torch.no_grad()
def plain(model: Any, pairs: Pairs) -> list[float]:
    """The notebook's way."""
    found: list[float] = []
    for prefix, rest in pairs:
        ids = prefix + rest
        logprob = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        total = sum(logprob[at - 1, ids[at]].item() for at in range(len(prefix), len(ids)))
        found.append(math.exp(-total / len(rest)))
    return found


def timed(work: Callable[[], list[float]]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Compare, then alternate the engines and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--model", help="a folder, instead of a new model")
    parser.add_argument("--pairs", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = (
        AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
        if arguments.model
        else make_model(arguments.size)
    )
    pairs = make_pairs(arguments.pairs, model.config.vocab_size)
    engines: dict[str, Callable[[], list[float]]] = {
        "plain loop": lambda: plain(model, pairs),
        "transformers, batched": lambda: theirs(model, pairs),
        "lmwb": lambda: ours(model, pairs),
    }
    found = {name: np.array(work()) for name, work in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(arguments.rounds):
        for name, work in engines.items():
            times[name].append(timed(work))
    print(f"perplexity of {len(pairs)} pairs, {arguments.model or arguments.size}: median of {arguments.rounds}")
    for name, seconds in times.items():
        faster = statistics.median(other / mine for other, mine in zip(seconds, times["lmwb"], strict=True))
        deviation = np.abs(found[name] / found["plain loop"] - 1).max()
        print(
            f"  {name:22} {statistics.median(seconds):7.2f} s CPU   lmwb is {faster:5.2f} x as fast   "
            f"largest relative deviation from the plain loop {deviation:.1e}"
        )


if __name__ == "__main__":
    main()
