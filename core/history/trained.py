"""Which training of a run a few words mean."""

import re

from ..errors import ValueInRecipeError
from ..text import printable, shorten
from .queries import History
from .records import Run, Stage

MODEL = re.compile(r"(?P<run>[^/@]+)(?:/(?P<stage>[^/@]+))?(?:@(?P<step>\d+))?")
"""How people call a model of a run: RUN, RUN/STAGE, RUN@STEP or RUN/STAGE@STEP."""


def trained_stage(history: History, run: Run, name: str | None, key: str) -> Stage:
    """The stage of a run that trained a model: of that name, or else the last one.

    Args:
        history: of all runs.
        run: whose stage is meant; one with members has none of its own.
        name: the stage's name; None or empty for the last.
        key: the recipe's key that asks.

    Raises:
        ValueInRecipeError: the run has members, or no such stage.
    """
    if members := history.members(run.id):
        names = ", ".join(f"{each.uid} ({each.member})" for each in members)
        raise ValueInRecipeError(key, f"run {run.uid} has several members; name one of them: {names}")
    trained = {each.name: each for each in history.stages(run.id) if each.kind == "train"}
    if not trained:
        raise ValueInRecipeError(key, f"run {run.uid} has trained no model")
    if name and name not in trained:
        there = ", ".join(trained)
        raise ValueInRecipeError(key, f"run {run.uid} has no stage '{shorten(printable(name), 80)}'; it has {there}")
    return trained[name] if name else next(reversed(trained.values()))
