"""Training steps by one process with one thread, by one with two, and by two with one thread each, on the same work.

Rounds alternate, each with new processes; prints medians of the wall time of a step, and what they cost in CPU time.
Meaningful only on an idle machine with two cores or more:

    python tests/bench/bench_processes.py [--rounds 5]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTH, LAYERS, BLOCK, BATCH, STEPS, WARM_UP = 256, 4, 128, 8, 14, 4
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread": (2, 1)}


def work(rank: int, size: int, meeting: str) -> None:
    """Make the steps as one process of a team; the first one prints seconds of wall and CPU time a step."""
    import torch
    from bench_loop import make_model, make_rows
    from lmwb.core.recipe.schema import Train
    from lmwb.core.training.distribution import ALONE, Team, store_in
    from lmwb.core.training.loop import Loop
    from lmwb.core.training.objectives.causal import CausalLM
    from lmwb.core.training.plan import Plan

    cpu = torch.device("cpu")
    team = ALONE if size == 1 else Team(rank, size, store_in(Path(meeting), size), cpu)
    team.meet()
    model = make_model(WIDTH, LAYERS, BLOCK)
    settings = Train(steps=STEPS, batch_size=BATCH, lr=1e-3)
    rows = make_rows(STEPS * BATCH, BLOCK)
    loop = Loop(model, CausalLM(rows), settings, Plan.of(settings, len(rows), 0), cpu, team=team)
    began, used = 0.0, 0.0
    for step in loop.steps():
        step.loss.item()
        if step.number == WARM_UP:
            began, used = time.perf_counter(), _used()
    count = STEPS - WARM_UP
    print(json.dumps([(time.perf_counter() - began) / count, (_used() - used) / count]))


def _used() -> float:
    of = resource.getrusage(resource.RUSAGE_SELF)
    return of.ru_utime + of.ru_stime


def measure(size: int, threads: int) -> tuple[float, float]:
    """Wall and CPU time of a step, the latter of all processes together."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--size", str(size), "--meeting", f"{folder}/meeting", "--rank"]
        started = [
            subprocess.Popen([*command, str(rank)], env=environment, stdout=subprocess.PIPE, text=True)
            for rank in range(size)
        ]
        found = [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in started]
    return max(wall for wall, _ in found), sum(used for _, used in found)


def main() -> None:
    """Measure and print, or be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--meeting")
    given = parser.parse_args()
    if given.rank is not None:
        work(given.rank, given.size, given.meeting)
        return
    rounds = [{way: measure(*of) for way, of in WAYS.items()} for _ in range(given.rounds)]
    base = statistics.median(each["1 process, 1 thread"][0] for each in rounds)
    for way in WAYS:
        wall, used = (statistics.median(each[way][at] for each in rounds) for at in (0, 1))
        print(f"{way:24} {1000 * wall:8.1f} ms a step ({base / wall:.2f} times as fast), {1000 * used:8.1f} ms CPU")


if __name__ == "__main__":
    main()
