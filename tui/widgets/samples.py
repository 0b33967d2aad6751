"""What the model said while it learned: samples as coloured tokens, and what it thought of the one at the cursor."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.geometry import Size

from ...core.text import printable
from .frame import Line, cut, width_of
from .pane import Pane
from .tokens import TokenView

if TYPE_CHECKING:
    from ...core.history.queries import SampleEntry
    from ..pictures.ink import Line as InkLine
    from ..watcher import Detail

_TRACK = 24
"""Cells of the slider, at the most."""

_BESIDE = 110
"""From this width on, the inspector stands beside the tokens, with a bar for each alternative."""

_INSPECTOR = 44
"""Cells of an inspector that stands beside."""


class SamplesPane(Pane):
    """A sample's tokens between a slider over the training and an inspector of the token at the cursor."""

    title = "Tokens"
    DEFAULT_CSS = "SamplesPane TokenView { margin: 2 2 4 2; }"

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._view = TokenView()
        self._view.can_focus = False
        self._samples: tuple[SampleEntry, ...] = ()
        self._sample: SampleEntry | None = None
        self._following = True
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """The tokens; the pane itself paints what is above and below."""
        yield self._view

    def on_resize(self) -> None:
        """Make room for the inspector."""
        width, height = self.size.width - 2, self.size.height - 2
        if width >= _BESIDE:
            self._view.styles.margin = (2, _INSPECTOR + 3, 1, 2)
        else:
            self._view.styles.margin = (2, 2, 1 + self._inspector_height(height), 2)

    def show(self, detail: "Detail | None", following: bool) -> None:
        """Another sample, or none; `following`: it is the latest there is."""
        self._samples = detail.samples if detail else ()
        self._sample = detail.sample if detail else None
        self._following = following
        self._trouble = detail.trouble if detail else ""
        trace = detail.trace if detail else None
        self._view.visible = trace is not None
        if trace is not self._view.trace:
            self._view.show(trace)
        self.redraw()

    def neighbour(self, by: int) -> int | None:
        """The step of the sampling before or after; None for the latest."""
        steps = self._steps()
        if self._sample is None or not steps:
            return None
        place = steps.index(self._sample.step) + by
        return None if place >= len(steps) - 1 else steps[max(0, place)]

    def next_prompt(self) -> int:
        """The index of the prompt after the present one."""
        prompts = sorted({sample.prompt_index for sample in self._samples})
        if self._sample is None or not prompts:
            return 0
        return prompts[(prompts.index(self._sample.prompt_index) + 1) % len(prompts)]

    def cycle_scale(self) -> None:
        """The next meaning of the colours."""
        self._view.cycle_scale()
        self.redraw()

    def move(self, lines: int) -> None:
        """The cursor walks from line to line."""
        self._view.move(0, lines)

    def slide(self, cells: int) -> None:
        """The cursor walks over the tokens."""
        self._view.move(cells, 0)

    def page(self) -> int:
        """As many lines of tokens as fit."""
        return max(1, self._view.size.height - 1)

    def inside(self, size: Size) -> Sequence[Line]:
        """Slider, room for the tokens, inspector."""
        width, height = size
        if self._sample is None:
            return [*[[]] * (height // 2), [Segment("no samples yet".center(width), self.palette.dim)]]
        if self._trouble:
            return [self._slider(width), [], [Segment(" " + printable(self._trouble), self.palette.bad)]]
        if width >= _BESIDE:
            return self._with_inspector_beside(width, height)
        below = self._inspector_height(height)
        inspector = [[Segment(" "), *line] for line in self._inspect(width - 2, below)]
        lines: list[Line] = [self._slider(width)]
        lines += [[]] * (height - 1 - below)
        return [*lines, *inspector]

    def foot(self) -> Line:
        """What the colours mean."""
        return _rich(self._view.header()) if self._sample is not None else []

    @on(TokenView.Moved)
    def _inspect_another(self) -> None:
        self.redraw()

    # -- above and below --------------------------------------------------------------------------

    def _steps(self) -> list[int]:
        """The steps at which the present prompt was sampled."""
        index = self._sample.prompt_index if self._sample else 0
        return [sample.step for sample in self._samples if sample.prompt_index == index]

    def _slider(self, width: int) -> Line:
        """Which sampling of which prompt, on a track from the first to the latest."""
        assert self._sample is not None
        palette = self.palette
        steps = self._steps()
        place = steps.index(self._sample.step)
        prompts = len({sample.prompt_index for sample in self._samples})
        told = [Segment("step ", palette.dim), Segment(str(self._sample.step), palette.strong)]
        told += [Segment("  latest" if self._following else f"  of {steps[-1]}", palette.dim)]
        prompt = [Segment(f"prompt {self._sample.prompt_index + 1} of {prompts}", palette.dim)]
        length = min(_TRACK, width - width_of(told) - width_of(prompt) - 12)
        if length < 4:
            return cut([Segment(" "), *told, Segment("   "), *prompt], width)
        at = round(place / max(1, len(steps) - 1) * (length - 1))
        track = [
            Segment("◂ ", palette.accent if place else palette.faint),
            Segment("━" * at, palette.dim),
            Segment("●", palette.accent),
            Segment("─" * (length - 1 - at), palette.faint),
            Segment(" ▸", palette.faint if self._following else palette.accent),
        ]
        return [Segment(" "), *track, Segment("  "), *told, Segment("   "), *prompt]

    def _with_inspector_beside(self, width: int, height: int) -> list[Line]:
        rule = Segment("│ ", self.palette.faint)
        right = [rule, Segment(" " * _INSPECTOR)]
        facts = [[rule, *fact] for fact in self._facts(_INSPECTOR)]
        left: list[Line] = [self._slider(width - _INSPECTOR - 2), *[[]] * (height - 1)]
        facts += [right] * (height - len(facts))
        return [
            [*cut(line, width - _INSPECTOR - 3), Segment(" " * (width - _INSPECTOR - 3 - width_of(line))), *fact]
            for line, fact in zip(left, facts, strict=False)
        ]

    def _inspector_height(self, inside: int) -> int:
        """A rule and the facts: on two lines, or with a bar for each alternative where there is room."""
        if inside < 8:
            return 2
        return 3 if inside < 26 else 11

    def _inspect(self, width: int, height: int) -> list[Line]:
        facts, cluster = self._facts(width), self._view.cluster
        if not facts or cluster is None:
            return []
        rule: Line = [Segment("─" * width, self.palette.faint)]
        if height > 3:
            return [rule, *facts[: height - 1]]
        return [rule, facts[0], cut(self._rivals(cluster.first), width)][:height]

    def _facts(self, width: int) -> list[Line]:
        """The tokens at the cursor, each with its alternatives below it."""
        from ..pictures.tokens import inspect_lines

        trace, cluster = self._view.trace, self._view.cluster
        if trace is None or cluster is None:
            return []
        return [_rich(line) for line in inspect_lines(trace, cluster, width, self._view.depth)]

    def _rivals(self, position: int) -> Line:
        """What else the model thought of, in one line."""
        from ..pictures.tokens import short_probability, token_name

        trace = self._view.trace
        if trace is None or math.isnan(trace.logprob[position]):
            return []
        palette = self.palette
        line: Line = []
        for token_id, logprob in zip(trace.alternative_ids[position], trace.alternative_logprob[position], strict=True):
            style = palette.strong if token_id == trace.ids[position] else palette.text
            line += [Segment("   ")] if line else []
            line.append(Segment(token_name(trace, int(token_id)), style))
            line.append(Segment(f" {short_probability(math.exp(logprob))}", palette.dim))
        return line


def _rich(line: "InkLine") -> Line:
    from ..pictures.ink import rich_style

    return [Segment(segment.text, rich_style(segment.ink)) for segment in line]
