"""The chart widget: shows `Series`, zooms, follows new points, and repaints only what changed."""

from collections.abc import Sequence

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ..pictures.chart import Frame, Grid, Part, View, blank, changes, draw
from ..pictures.colours import series_inks
from ..pictures.ink import colour_depth, rich_style
from ..pictures.series import Series, value_at


class Chart(Widget, can_focus=True):
    """Curves over a common x axis. Its actions are plain methods, for the app to bind keys to."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; min-height: 4; }
    """

    def __init__(
        self, *, empty: str = "no data yet", ascii_only: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        """An empty chart.

        Args:
            empty: what to say while there is nothing to draw.
            ascii_only: draw with ASCII characters.
            id, classes: of the widget.
        """
        super().__init__(id=id, classes=classes)
        self.view = View()
        self.cursor: float | None = None
        self.bounds: tuple[float, float] | None = None
        self._empty = empty
        self._ascii_only = ascii_only
        self._series: tuple[Series, ...] = ()
        self._title = self._x_label = ""
        self._x_end: float | None = None
        self._duration = False
        self._grid = blank(0, 0)
        self._styles: dict[int, Style] = {}

    @property
    def frame(self) -> Frame | None:
        """What the chart shows at present; None if there is nothing."""
        return self._grid.frame

    def show(
        self,
        series: Sequence[Series],
        *,
        title: str = "",
        x_label: str = "",
        x_end: float | None = None,
        duration: bool = False,
        bounds: tuple[float, float] | None = None,
        empty: str | None = None,
    ) -> None:
        """Draw these curves from now on. If the view reached to the latest point it goes on doing so.

        Args:
            series: later ones are painted over earlier ones.
            title: before the legend.
            x_label: what x counts.
            x_end: where x will end, such as the planned number of steps.
            duration: x is in seconds.
            bounds: the y axis shows this range, of a metric that has one, until `toggle_log` fits it to the data.
            empty: what to say while there is nothing to draw; as before if None.
        """
        old, new = _last_x(self._series), _last_x(series)
        x0, x1 = self.view.x0, self.view.x1
        if x0 is not None and x1 is not None and old is not None and new is not None and old <= x1 < new:
            self._set_x(new - (x1 - x0), new)
        self.bounds = bounds
        self._empty = self._empty if empty is None else empty
        same = title == self._title and {s.name for s in series} == {s.name for s in self._series}
        self._series = tuple(series)
        self._title, self._x_label, self._x_end, self._duration = title, x_label, x_end, duration
        self._redraw(fit=not same)

    def zoom(self, factor: float) -> None:
        """Show a `factor`-th of the x axis, around the cursor if there is one, else keeping the right end."""
        frame = self.frame
        if frame is None or factor <= 0:
            return
        length = (frame.x1 - frame.x0) / factor
        low, high = self._whole()
        if length < 1e-6 * (high - low):
            return
        if length >= high - low:
            self._set_x(None, None)
        else:
            right = frame.x1 if self.cursor is None else self.cursor + (frame.x1 - self.cursor) / factor
            right = min(max(right, low + length), high)
            self._set_x(right - length, right)
        self._redraw(fit=True)

    def pan(self, fraction: float) -> None:
        """Move the view by a fraction of its width, positive to the right; stops at the data's ends."""
        frame = self.frame
        if frame is None or self.view.x0 is None:
            return
        length = frame.x1 - frame.x0
        low, high = self._whole()
        x0 = min(max(frame.x0 + fraction * length, low), max(low, high - length))
        self._set_x(x0, x0 + length)
        self._redraw(fit=True)

    def reset_view(self) -> None:
        """Show everything."""
        self._set_x(None, None)
        self._redraw(fit=True)

    def toggle_log(self) -> None:
        """Logarithmic y axis on and off; with `bounds`, one that is fitted to the data."""
        self.view = View(self.view.x0, self.view.x1, log_y=not self.view.log_y)
        self._redraw(fit=True)

    def move_cursor(self, columns: int) -> None:
        """Move the marked x value by so many columns, from sample to sample; at first it is the latest."""
        frame = self.frame
        if frame is None:
            return
        densest = max(self._series, key=len)
        if self.cursor is None:
            target = float(densest.x[-1])
        else:
            step = columns * (frame.x1 - frame.x0) / frame.columns
            target = _sample_beside(densest, self.cursor, step)
        self.cursor = min(max(target, frame.x0), frame.x1)
        self._redraw()

    def set_cursor(self, x: float | None) -> None:
        """Mark an x value, or none."""
        self.cursor = x
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One row of the grid."""
        if y >= len(self._grid.parts):
            return Strip.blank(self.size.width, self.rich_style)
        strip = Strip([Segment(text, self._styles.get(part)) for text, part in self._grid.runs(y)], self.size.width)
        return strip.apply_style(self.rich_style)

    def on_resize(self, _: Resize) -> None:
        """The grid has the size of the widget."""
        self._redraw()

    def notify_style_update(self) -> None:
        """The theme has changed, and with it the colours."""
        super().notify_style_update()
        self._set_styles()

    def _set_x(self, x0: float | None, x1: float | None) -> None:
        self.view = View(x0, x1, log_y=self.view.log_y)

    def _whole(self) -> tuple[float, float]:
        """The first and the last x of the data."""
        full = [s for s in self._series if len(s)]
        return min(float(s.x[0]) for s in full), max(float(s.x[-1]) for s in full)

    def _set_styles(self) -> None:
        background = self.background_colors[1]
        depth = colour_depth(no_color=self.app.no_color)
        inks = series_inks(depth, dark=background.brightness < 0.5, background=background.hex6)
        self._styles = {part: rich_style(ink) for part, ink in inks.items()}

    def _redraw(self, fit: bool = False) -> None:
        """Draw, and repaint the cells that look different; with `fit` on a y axis that is chosen afresh."""
        if not self.is_attached or not self.size:
            return
        old, self._grid = self._grid, self._drawn(None if fit else self._grid.frame)
        spans = changes(old, self._grid)
        if spans is None:
            self.refresh()
        elif spans:
            self.refresh(*(Region(x0, y, x1 - x0, 1) for y, x0, x1 in spans))

    def _shown_view(self) -> View:
        """The view, with the y axis of a metric that has bounds: never logarithmic."""
        view, bounds = self.view, self.bounds
        if bounds is None:
            return view
        return View(view.x0, view.x1) if view.log_y else View(view.x0, view.x1, *bounds)

    def _drawn(self, kept: Frame | None) -> Grid:
        width, height = self.size
        grid = draw(
            self._series,
            width,
            height,
            self._shown_view(),
            title=self._title,
            x_label=self._x_label,
            x_end=self._x_end,
            duration=self._duration,
            kept=kept,
            cursor=self.cursor,
            ascii_only=self._ascii_only,
        )
        if not any(len(s) for s in self._series):
            grid.put(height // 2, max(0, (width - len(self._empty)) // 2), self._empty, Part.NOTE)
        return grid


def _sample_beside(series: Series, x: float, distance: float) -> float:
    """The x of the measurement nearest to x + distance, or else of the next one in that direction."""
    here, there = value_at(series, x), value_at(series, x + distance)
    if here is None or there is None:
        return x
    if here.x != there.x or distance == 0:
        return there.x
    side = "right" if distance > 0 else "left"
    index = int(np.searchsorted(series.x, here.x, side)) - (distance < 0)
    return float(series.x[min(max(index, 0), len(series) - 1)])


def _last_x(series: Sequence[Series]) -> float | None:
    return max((float(s.x[-1]) for s in series if len(s)), default=None)
