"""The stage that compares the results of other stages: tables and pictures in its folder."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .. import tables
from ..comparison import Comparison, compare, outcomes_of
from ..errors import MachineError
from ..evaluation.over_seeds import evaluation_over_seeds
from ..history.queries import History, Run
from ..home import Home
from ..recipe.schema import CompareStage
from .context import StagePlace

FILE_NAME = "compare"


def run(stage: CompareStage, place: StagePlace, home: Home, run: Run) -> dict[str, Any]:
    """Write the tables and the pictures; returns the comparison as `tables.facts` gives it, and the files.

    Raises:
        ValueInRecipeError: there is no such metric.
        UsageError: nothing has results.
        MachineError: the disk does not take it.
    """
    place.begin(None, 0)
    with closing(History(home)) as history:
        comparison = compare(outcomes_of(history, [run], stage.stages), stage.metric, stage.baseline)
        texts = {
            f"{FILE_NAME}.md": tables.as_markdown(comparison),
            f"{FILE_NAME}.csv": tables.as_csv(comparison),
            f"{FILE_NAME}.json": tables.as_json(comparison),
        }
        if (evaluation := evaluation_over_seeds(history, run)) is not None:
            texts |= evaluation.files()
        files = [*_write(place, texts), *_draw(stage, place, history, comparison)]
    for sentence in tables.explanation(comparison):
        place.tell(sentence, kind="comparison")
    for row in comparison.rows:
        place.tell(f"{row.label}: {tables.mean_text(row)} (n = {row.n})", kind="comparison")
    return {**tables.facts(comparison), "files": files}


def _write(place: StagePlace, texts: Mapping[str, str]) -> list[str]:
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place.folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"cannot write the tables to {place.folder}: {error.strerror}") from None
    return list(texts)


def _draw(stage: CompareStage, place: StagePlace, history: History, comparison: Comparison) -> list[str]:
    if not stage.figures:
        return []
    from ..figures import draw_all

    names: list[str] = []
    for name, figure in draw_all(history, comparison):
        for suffix in stage.figures:
            figure.save(place.folder / f"{name}.{suffix}")
            names.append(f"{name}.{suffix}")
    return names
