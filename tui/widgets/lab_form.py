"""All settings of the lab, one a line, and what the chosen one does."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size

from ...core.text import printable
from ..lab_settings import Choice, Settings, explanation, shown
from .frame import Line, cut, spread, wrapped
from .lab_lines import SettingsChanged
from .pane import Pane

_NAMES = 16
_LIST = 34
"""Cells of names and values where the explanation stands beside them."""
_BELOW = 4
"""Lines of an explanation that stands below."""
_LEFT_OUT = "exact and batch_size are about many prompts; there is one here"


class SettingsForm(Pane):
    """Settings to walk over: arrow keys change the chosen one, enter types a value."""

    title = "All settings"

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()
        self._key = "search"

    @property
    def chosen(self) -> Choice:
        """The setting at the cursor."""
        choices = self._settings.choices()
        return next((each for each in choices if each.key == self._key), choices[0])

    def change(self, settings: Settings) -> None:
        """Other settings."""
        self._settings = settings
        self.redraw()

    def move(self, lines: int) -> None:
        """To another setting."""
        choices = self._settings.choices()
        place = choices.index(self.chosen) + lines
        self._key = choices[min(max(place, 0), len(choices) - 1)].key
        self.redraw()

    def slide(self, cells: int) -> None:
        """The next value of the chosen setting, or the one before."""
        changed = self._settings.turned(self.chosen.key, 1 if cells > 0 else -1)
        if changed != self._settings:
            self.post_message(SettingsChanged(changed))

    def value(self) -> str:
        """The chosen setting's value, as it may be typed."""
        value = getattr(self._settings, self.chosen.key)
        return "" if value is None or value == () else shown(value)

    def inside(self, size: Size) -> Sequence[Line]:
        """The list; beside it or below it the explanation."""
        width, height = size
        if width >= 2 * _LIST:
            left = self._list(_LIST, height)
            right = self._told(width - _LIST - 5, height)
            right += [[]] * (height - len(right))
            rule = Segment(" │ ", self.palette.faint)
            return [[*spread(line, [], _LIST), rule, *told] for line, told in zip(left, right, strict=True)]
        below = min(_BELOW, max(0, height - 3))
        rule = [Segment("─" * width, self.palette.faint)]
        told = [[Segment(" "), *line] for line in self._told(width - 2, below)]
        return [*self._list(width, height - below - 1), rule, *told]

    def foot(self) -> Line:
        """What the keys do here."""
        keys = (("← →", "change"), ("enter", "type a value"), ("r", "speak"))
        parts = [
            (Segment(f"{key} ", self.palette.accent), Segment(f"{words}  ", self.palette.dim)) for key, words in keys
        ]
        return [segment for part in parts for segment in part]

    def _list(self, width: int, height: int) -> list[Line]:
        """The lines around the cursor, `height` of them."""
        choices = self._settings.choices()
        place = choices.index(self.chosen)
        first = min(max(0, place - height // 2), max(0, len(choices) - height))
        lines = [self._line(each, each == self.chosen, width) for each in choices[first : first + height]]
        return lines + [[]] * (height - len(lines))

    def _line(self, choice: Choice, chosen: bool, width: int) -> Line:
        value, palette = getattr(self._settings, choice.key), self.palette
        style = palette.dim if value == choice.default else palette.strong
        if chosen:
            style += palette.accent + Style(reverse=self.has_focus, bold=True)
        name = Segment(f" {choice.name:<{_NAMES}}", palette.strong if chosen else palette.text)
        return cut([name, Segment(printable(shown(value)), style)], width)

    def _told(self, width: int, height: int) -> list[Line]:
        """What the chosen setting does, its default, and what cannot be set here."""
        choice, palette = self.chosen, self.palette
        default = Segment(f"  default {shown(choice.default)}", palette.dim)
        lines: list[Line] = [[Segment(choice.name, palette.strong), default]]
        lines += wrapped(explanation(choice.key), width, palette.text)
        if choice.values and isinstance(choice.values[0], str):
            lines += [[], [Segment(" · ".join(choice.values), palette.dim)]]
        left_out = wrapped(_LEFT_OUT, width, palette.dim)
        if len(lines) + len(left_out) < height:
            lines += [[]] * (height - len(lines) - len(left_out)) + left_out
        return lines[:height]
