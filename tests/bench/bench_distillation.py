"""The losses of logits beside a chain of torch functions such as the published distiller's, on the same logits.

Rounds alternate between the two in one process; CPU time counts, since wall time on a shared machine does not. Memory
is what a process of its own holds at most, above what it holds with the logits of student and teacher in place:

    python tests/bench/bench_distillation.py [--rounds 7] [--places 512] [--vocabulary 30522]
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from lmwb.core.methods.distillation.losses import logit_losses
from torch import Tensor
from torch.nn import functional as F

TAU = 2.0
WEIGHTS = {"soft": 5.0, "mse": 0.1, "hard": 2.0}


def logits(places: int, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    drawn = [torch.randn(places, vocabulary) for _ in range(2)]
    targets = torch.where(torch.rand(places) < 0.15, torch.randint(0, vocabulary, (places,)), -100)
    return drawn[0].requires_grad_(), drawn[1], targets


def chain(student: Tensor, teacher: Tensor, targets: Tensor) -> None:
    """As the published distiller does: the places are selected out of both, then one torch function after the other."""
    mask = torch.ones(len(student), dtype=torch.bool)[:, None].expand_as(student)
    s = torch.masked_select(student, mask).view(-1, student.shape[-1])
    t = torch.masked_select(teacher, mask).view(-1, student.shape[-1])
    loss = (
        WEIGHTS["soft"] * TAU**2 * F.kl_div(F.log_softmax(s / TAU, -1), F.softmax(t / TAU, -1), reduction="batchmean")
    )
    loss = loss + WEIGHTS["mse"] * F.mse_loss(s, t, reduction="sum") / len(s)
    loss = loss + WEIGHTS["hard"] * F.cross_entropy(student, targets)
    loss.backward()


def ours(student: Tensor, teacher: Tensor, targets: Tensor) -> None:
    count, hard = len(student), max(1, int((targets != -100).sum()))
    weights = (WEIGHTS["soft"] / count, WEIGHTS["mse"] / count, WEIGHTS["hard"] / hard)
    logit_losses(student, teacher, targets, weights, TAU)[0].backward()


WAYS = {"chain of torch functions": chain, "lmwb": ours}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(way: str, places: int, vocabulary: int) -> None:
    """Print how many bytes a way needs besides the logits, sampled each millisecond."""
    given = logits(places, vocabulary)
    WAYS[way](*logits(2, 50))
    before, seen, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    WAYS[way](*given)
    seen.append(resident())
    done.set()
    watcher.join()
    print(max(seen) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--places", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=30522)
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory:
        memory(chosen.memory, chosen.places, chosen.vocabulary)
        return
    torch.set_num_threads(1)
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(chosen.rounds):
        for way, work in WAYS.items():
            given = logits(chosen.places, chosen.vocabulary)
            began = time.process_time()
            work(*given)
            spent[way].append(time.process_time() - began)
    one = 4 * chosen.places * chosen.vocabulary
    print(f"{chosen.places} places × {chosen.vocabulary:,}: one array of logits is {one / 2**20:.0f} MiB")
    for way, seconds in spent.items():
        size = [f"--places={chosen.places}", f"--vocabulary={chosen.vocabulary}", f"--memory={way}"]
        found = subprocess.run([sys.executable, __file__, *size], capture_output=True, text=True, check=True)
        needed = int(found.stdout)
        print(
            f"{way:28s} {statistics.median(seconds):.3f} s, {needed / one:.1f} arrays ({needed / 2**20:.0f} MiB) more"
        )


if __name__ == "__main__":
    main()
