"""What the model said while it learned: samples as coloured tokens, and what it thought of the one at the cursor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Size

from ...core.text import printable
from .frame import Line, cut, width_of
from .inspected import InspectedTokens

if TYPE_CHECKING:
    from ...core.history.queries import SampleEntry
    from ..watcher import Detail

_TRACK = 24
"""Cells of the slider, at the most."""


class SamplesPane(InspectedTokens):
    """A sample's tokens between a slider over the training and an inspector of the token at the cursor."""

    title = "Tokens"

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._samples: tuple[SampleEntry, ...] = ()
        self._sample: SampleEntry | None = None
        self._following = True
        self._trouble = ""

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

    def inside(self, size: Size) -> Sequence[Line]:
        """Slider, room for the tokens, inspector."""
        width, height = size
        if self._sample is None:
            return [*[[]] * (height // 2), [Segment("no samples yet".center(width), self.palette.dim)]]
        if self._trouble:
            return [self._slider(width), [], [Segment(" " + printable(self._trouble), self.palette.bad)]]
        return self.tokens_inside(size)

    def above(self, width: int) -> Sequence[Line]:
        """The slider."""
        return [self._slider(width) if self._sample is not None else []]

    # -- the slider -------------------------------------------------------------------------------

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
