"""Factors and scores in a process that can be killed: `python influence_in_a_process.py FOLDER`."""

import sys
import time
from pathlib import Path

import small_influence as small
import torch
from lmwb.core.influence import FactorSettings, ScoreSettings, Side, Watch, answer, fit_factors, study

SETTINGS = ScoreSettings(part=8, tokens="top", top=3, numbers="float32")


def ask(folder: Path, look):
    """What all runs ask, killed or not."""
    torch.set_num_threads(1)
    train = small.texts(36)
    subject = study(small.gpt2(layers=1), train, rows=4)
    watch = Watch(look=look)
    factors = fit_factors(subject, train, folder, FactorSettings("ekfac", parts=3), watch)
    return answer(subject, factors, Side.all_of(train), Side.all_of(small.texts(4, seed=1)), folder, SETTINGS, watch)


if __name__ == "__main__":

    def slowly(phase: str, _done: int, _all: int) -> None:
        print(phase, flush=True)
        time.sleep(0.05)

    ask(Path(sys.argv[1]), slowly)
