"""What depends on the inside of Textual. If a later version changes it, only bytes are lost, nothing breaks.

Textual rewrites a changed span from the left edge of its widget; over SSH, in a live chart, that is most of the
traffic. Here a span is cut at both ends.
"""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.control import Control

if TYPE_CHECKING:
    from textual.screen import Screen


def send_spans_only(screen: "Screen[Any]") -> None:
    """Let a screen that was just made send changed cells and nothing beside them."""
    try:
        from textual._compositor import ChopsUpdate, Compositor

        class Spans(ChopsUpdate):
            """Pieces of lines, cut at both ends."""

            def render_segments(self, console: Console) -> str:
                """The pieces, each after a movement of the cursor."""
                parts: list[str] = []
                for y, x1, x2 in self.spans:
                    for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                        if strip is not None and x < x2 and end > x1:
                            first, last = max(x, x1), min(end, x2)
                            parts.append(Control.move_to(first, y).segment.text)
                            parts.append(strip.crop(first - x, last - x).render(console))
                return "".join(parts)

        class SpanCompositor(Compositor):
            """Renders partial updates as `Spans`."""

            def render_partial_update(self) -> ChopsUpdate | None:
                """What has changed since the last time."""
                update = super().render_partial_update()
                return None if update is None else Spans(update.chops, update.spans, update.chop_ends)

        screen._compositor = SpanCompositor()
    except (ImportError, AttributeError):
        return
