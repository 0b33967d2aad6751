"""Factors and scores in a process: `python influence_in_a_process.py FOLDER [RANK SIZE]`.

Alone it is slow enough to be killed; with a rank it is one of a team.
"""

import json
import sys
import time
from pathlib import Path

import small_influence as small
import torch
from lmwb.core.influence import FactorSettings, ScoreSettings, Side, Watch, answer, fit_factors, study
from lmwb.core.training.distribution import ALONE, Team, store_in

SETTINGS = ScoreSettings(part=8, tokens="top", top=3, numbers="float32")


def ask(folder: Path, look, team=ALONE):
    """What all runs ask, killed or not, alone or in a team."""
    torch.set_num_threads(1)
    train = small.texts(36)
    subject = study(small.gpt2(layers=1), train, rows=4)
    watch = Watch(look=look, team=team)
    factors = fit_factors(subject, train, folder, FactorSettings("ekfac", parts=3), watch)
    return answer(subject, factors, Side.all_of(train), Side.all_of(small.texts(4, seed=1)), folder, SETTINGS, watch)


if __name__ == "__main__":

    def slowly(phase: str, _done: int, _all: int) -> None:
        print(phase, flush=True)
        time.sleep(0.05)

    if len(sys.argv) == 2:
        ask(Path(sys.argv[1]), slowly)
    else:
        folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
        folder.mkdir(exist_ok=True)
        seen: dict[str, int] = {}

        def count(phase: str, _done: int, _all: int) -> None:
            seen[phase] = seen.get(phase, 0) + 1

        team = Team(rank, size, store_in(folder / "store", size), torch.device("cpu"))
        team.meet()
        ask(folder, count, team)
        print(json.dumps(seen))
