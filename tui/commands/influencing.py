"""The command that asks a training where something comes from that its model says."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import ExitCode, UsageError
from ...core.text import printable
from .inspecting import TopOption, answer_facts, found_by, report_lines
from .options import DetachOption, EventsOption, SetOption
from .painting import ColorOption, Sheet
from .texts import given_text

if TYPE_CHECKING:
    from ...core.home import Home

_TOKENS = 64


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(influence)


def influence(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A training: RUN, RUN/STAGE, or RUN@STEP for one of its checkpoints.",
            show_default=False,
        ),
    ],
    text: Annotated[str, typer.Option(help="What the model says, or might say.", show_default=False)],
    prompt: Annotated[str, typer.Option(help="What stands before it; only conditions it.")] = "",
    mark: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Ask only about these words of the text.", show_default=False),
    ] = None,
    strategy: Annotated[
        Literal["identity", "diagonal", "kfac", "ekfac"], typer.Option(help="The approximation of the curvature.")
    ] = "ekfac",
    top: TopOption = 5,
    changes: SetOption = None,
    detach: DetachOption = False,
    as_json: EventsOption = False,
    color: ColorOption = "auto",
) -> None:
    """Find the training rows that made a model say a text. A run of its own; `lmwb inspect` shows its answer again."""
    from ..deeds import launch_question
    from .following import follow
    from .output import print_json_line

    home: Home = context.obj
    document = _recipe(home, model, given_text(prompt), given_text(text), mark, strategy, top)
    uid = launch_question(home, document, changes or []).uid
    if detach:
        print_json_line({"event": "launched", "id": uid}) if as_json else print(uid)
        return
    code = follow(home, uid, as_json)
    if code == ExitCode.OK:
        _answer(home, uid, top, as_json, color)
    raise typer.Exit(code)


def _recipe(
    home: "Home", model: str, prompt: str, text: str, mark: str | None, strategy: str, top: int
) -> dict[str, Any]:
    """The question as a recipe of one stage."""
    from ..asking import training_of, where_from

    if mark is not None:
        prompt, text = _marked(prompt, text, mark)
    if not text:
        raise UsageError("there is nothing to ask about; give a --text")
    of, step = training_of(home, model)
    asked = where_from(of, step, text, {"prompt": prompt, "text": text})
    return {**asked, "strategies": [strategy], "scores": {"top": max(top, 1)}}


def _marked(prompt: str, text: str, mark: str) -> tuple[str, str]:
    """Prompt and text so that only the marked words are asked about; what stands behind them does not matter."""
    if not mark or text.count(mark) != 1:
        times = "empty" if not mark else f"in the text {text.count(mark)} times"
        raise UsageError(f"--mark '{printable(mark)}' is {times}; give words that stand in --text once")
    before, mark, _ = text.partition(mark)
    return prompt + before, mark


def _answer(home: "Home", uid: str, top: int, as_json: bool, color: Any) -> None:
    from .output import print_json_line

    report = found_by(home, uid)
    if as_json:
        print_json_line({"event": "answer", **answer_facts(report, list(report.answers), None, top)})
        return
    sheet = Sheet(color)
    print()
    sheet.print(report_lines(report, list(report.answers), None, top, sheet.pen("probability", "rdylbu"), _TOKENS))
