"""Where does this text come from? A question about a few tokens that a model said, as a recipe of one stage.

Only a model that a run has trained can be asked: its training rows are known. The answer is a run of its own.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import NotFoundError, UsageError
from ..core.text import printable, shorten
from .lab import text_of

if TYPE_CHECKING:
    from ..core.home import Home
    from ..core.tokens import TokenTrace

_NAME = 40
"""Characters of the text that name the run."""


@dataclass(frozen=True)
class Question:
    """What is asked about.

    Attributes:
        of: the training, RUN/STAGE.
        step: the checkpoint that said the text; None for the training's result.
        ids: all tokens of the text.
        mark: the first token that is asked about, and the one behind the last.
        words: those tokens as text: foreign.
    """

    of: str
    step: int | None
    ids: tuple[int, ...]
    mark: tuple[int, int]
    words: str

    def table(self) -> dict[str, Any]:
        """The recipe."""
        return where_from(self.of, self.step, self.words, {"ids": list(self.ids), "mark": list(self.mark)})


def where_from(of: str, step: int | None, words: str, query: dict[str, Any]) -> dict[str, Any]:
    """A recipe of one stage that asks one question.

    Args:
        of: the training, RUN/STAGE.
        step: the checkpoint that is asked; None for the training's result.
        words: what is asked about, for the run's name: foreign.
        query: as the recipe has it.
    """
    shown = printable(words.strip()) or printable(words).strip() or "blank"
    checkpoints = {} if step is None else {"checkpoints": [step]}
    return {
        "name": f"where from · {shorten(shown, _NAME)}",
        "kind": "influence",
        "of": f"run:{of}",
        **checkpoints,
        "query": [query],
    }


def question(home: "Home", model: str, trace: "TokenTrace", span: tuple[int, int]) -> Question:
    """A question about a span of a text.

    Args:
        home: whose runs are meant.
        model: who said the text, as the model service takes it.
        trace: the text.
        span: the first token, and the one behind the last.

    Raises:
        UsageError: no run trained the model, or it has not finished; or nothing stands before the tokens.
    """
    first, end = max(1, span[0]), span[1]
    if first >= end:
        raise UsageError("Nothing stands before a text's first token, so that nothing predicts it; mark a later one.")
    of, step = training_of(home, model)
    ids = tuple(map(int, trace.ids))
    return Question(of, step, ids, (first, end), text_of(ids[first:end], trace.pieces, trace.special))


def training_of(home: "Home", model: str) -> tuple[str, int | None]:
    """The training that made a model, RUN/STAGE, and the step of its checkpoint; None for its result.

    Args:
        home: whose runs are meant.
        model: RUN, RUN/STAGE, RUN@STEP, RUN/STAGE@STEP, a folder, or a name on the hub.

    Raises:
        UsageError: no run made it, or one that has not finished.
    """
    from ..core.history.queries import History
    from ..core.history.trained import MODEL, trained_stage

    if not model:
        raise UsageError("This run has left no model to ask yet; ask when it has finished.")
    found = None if _is_folder(model) else MODEL.fullmatch(model.removeprefix("run:"))
    if found is None or not home.database.exists():
        raise _Unknown(model)
    with closing(History(home)) as history:
        try:
            run = history.find(found["run"])
        except NotFoundError:
            raise _Unknown(model) from None
        stage = trained_stage(history, run, found["stage"], "of")
    if stage.outcome != "finished":
        raise UsageError(f"The training {run.uid}/{stage.name} has not finished; ask when it has.")
    return f"{run.uid}/{stage.name}", int(found["step"]) if found["step"] else None


class _Unknown(UsageError):
    """Nobody knows what a model was trained on."""

    def __init__(self, model: str):
        super().__init__(
            f"{printable(model)} comes from no run of lmwb, so that its training rows are not known; train it, or "
            "fine-tune it, with `lmwb run`, and ask the run's model."
        )  # fmt: skip


def _is_folder(model: str) -> bool:
    return not model.startswith("run:") and Path(model).expanduser().is_dir()
