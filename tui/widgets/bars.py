"""The first and the last line of a screen: what there is, and which keys to press."""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size

from ...core.history.queries import OPEN_STATES, Run
from ...core.text import printable
from ..actions import Action, Scope, actions_of, shown_key
from .frame import Line, spread, width_of
from .pane import Picture


class TitleBar(Picture):
    """The name, how many runs there are, and where they are kept."""

    def __init__(self, where: Path, id: str | None = None):
        super().__init__(id=id)
        self._where = _short_path(where)
        self._counts = ""
        self._trouble = ""

    def show(self, runs: Sequence[Run]) -> None:
        """Count the runs."""
        going = sum(run.state in OPEN_STATES for run in runs)
        total = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        self._counts = f"{going} running · {total}" if going else total
        self.redraw()

    def warn(self, trouble: str) -> None:
        """Say that the history cannot be read; an empty text takes it back."""
        if trouble != self._trouble:
            self._trouble = trouble
            self.redraw()

    def paint(self, size: Size) -> Sequence[Line]:
        """One line."""
        palette = self.palette
        left = [Segment(" lmwb", palette.accent + Style(bold=True)), Segment(f"   {self._counts}", palette.text)]
        if self._trouble:
            left = [left[0], Segment(f"   {printable(self._trouble)}", palette.bad)]
        right = [Segment(f"{printable(self._where)} ", palette.dim)]
        return [spread(left, right if width_of(left) + width_of(right) < size.width else [], size.width)]


class KeysBar(Picture):
    """The keys worth knowing on a screen, as many as fit; the last two always do."""

    def __init__(self, scope: Scope, id: str | None = None):
        super().__init__(id=id)
        self._scope: Scope = scope

    def paint(self, size: Size) -> Sequence[Line]:
        """One line."""
        shown = [action for action in actions_of(self._scope) if action.footer]
        parts = [self._part(label, list(same)) for label, same in groupby(shown, key=lambda action: action.label)]
        while len(parts) > 2 and sum(map(width_of, parts)) > size.width:
            del parts[-3]
        return [[segment for part in parts for segment in part]]

    def _part(self, label: str, actions: list[Action]) -> Line:
        keys = " ".join(shown_key(action.keys[0]) for action in actions)
        return [
            Segment(" "),
            Segment(keys, self.palette.accent + Style(bold=True)),
            Segment(f" {label} ", self.palette.dim),
        ]


def _short_path(path: Path) -> str:
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() fails where there is none
    text = str(path)
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text
