"""Lines of styled text, cut and padded to the cell, and the frames around panes. Pure functions.

A line is a list of rich segments. Foreign text must have passed `printable` before it becomes one.
"""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from ..theme import Palette

Line = list[Segment]
"""One line of a picture."""


def width_of(line: Iterable[Segment]) -> int:
    """How many cells the line takes."""
    return sum(cell_len(segment.text) for segment in line)


def cut(line: Line, width: int) -> Line:
    """The line, no wider than `width` cells; ``…`` stands where something is missing."""
    if width_of(line) <= width:
        return line
    if width <= 0:
        return []
    kept = list(Strip(line).crop(0, width - 1))
    return [*kept, Segment("…", line[-1].style)]


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line; the left one is cut where there is no room for both."""
    right = cut(right, width)
    space = width - width_of(right)
    left = cut(left, space - 1 if right else space)
    return [*left, Segment(" " * (space - width_of(left))), *right]


def wrapped(text: str, width: int, style: Style | None = None, indent: int = 0) -> list[Line]:
    """The text on as many lines as it needs, broken at spaces where possible, later ones indented."""
    lines: list[Line] = []
    rest, lead = text, ""
    while cell_len(rest) > max(1, width - len(lead)):
        room = max(1, width - len(lead))
        fitting = _prefix(rest, room)
        at_space = rest.rfind(" ", room // 2, len(fitting) + 1)
        end = at_space if at_space > 0 else max(1, len(fitting))
        lines.append([Segment(lead + rest[:end], style)])
        rest, lead = rest[end:].lstrip(" "), " " * min(indent, width // 2)
    return [*lines, [Segment(lead + rest, style)]]


def framed(
    lines: Sequence[Line],
    width: int,
    height: int,
    palette: Palette,
    tabs: Sequence[str],
    active: str,
    focused: bool,
    notes: Line | None = None,
    foot: Line | None = None,
) -> list[Line]:
    """The lines in a frame of `width` × `height` cells, with tabs and notes in the upper rule.

    Args:
        lines: what is inside, of `width` - 2 cells at the most.
        width: of the frame, in cells.
        height: of the frame.
        palette: the colours.
        tabs: titles in the upper left corner.
        active: the one that is shown.
        focused: the pane has the focus.
        notes: in the upper right corner; left out where there is no room.
        foot: in the lower right corner.
    """
    rule = palette.accent if focused else palette.faint
    top = _rule("╭", "╮", width, rule, _titles(tabs, active, focused, palette, width - 4), notes)
    bottom = _rule("╰", "╯", width, rule, [], foot)
    side = Segment("│", rule)
    inside = [[side, *spread(line, [], width - 2), side] for line in lines[: height - 2]]
    blank = [side, Segment(" " * (width - 2)), side]
    return [top, *inside, *[blank] * (height - 2 - len(inside)), bottom]


def joined(line: Line) -> Line:
    """The line in fewer segments: spaces take the style before them where that looks the same."""
    pieces: Line = []
    for segment in line:
        before = pieces[-1].style if pieces else None
        if segment.style and before and (segment.style == before or _same_on_spaces(segment, before)):
            pieces[-1] = Segment(pieces[-1].text + segment.text, before)
        else:
            pieces.append(segment)
    return pieces


def changed(old: Sequence[Strip], new: Sequence[Strip]) -> list[Region]:
    """The least spans of cells, one a line, in which two pictures of one size differ."""
    regions: list[Region] = []
    for y, (before, after) in enumerate(zip(old, new, strict=True)):
        if before is after or before == after:
            continue
        cells, others = _cells(before), _cells(after)
        first = next((x for x, pair in enumerate(zip(cells, others, strict=False)) if pair[0] != pair[1]), 0)
        last = len(others)
        while last > first + 1 and len(cells) == len(others) and cells[last - 1] == others[last - 1]:
            last -= 1
        regions.append(Region(first, y, max(1, last - first), 1))
    return regions


def _same_on_spaces(segment: Segment, style: Style) -> bool:
    return (
        segment.text.isspace()
        and segment.style is not None
        and segment.style.bgcolor == style.bgcolor
        and not (style.underline or style.reverse or segment.style.underline or segment.style.reverse)
    )


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    """One entry for each cell; a wide character's second cell is empty."""
    cells: list[tuple[str, Style | None]] = []
    for text, style, _ in strip:
        if text.isascii():
            cells.extend([(character, style) for character in text])
            continue
        for character in text:
            width = cell_len(character)
            if width == 0 and cells:
                cells[-1] = (cells[-1][0] + character, style)
            elif width:
                cells.append((character, style))
                cells.extend([("", style)] * (width - 1))
    return cells


def _prefix(text: str, width: int) -> str:
    """The longest beginning of the text that fits."""
    taken = 0
    for position, character in enumerate(text):
        taken += cell_len(character)
        if taken > width:
            return text[:position]
    return text


def _titles(tabs: Sequence[str], active: str, focused: bool, palette: Palette, width: int) -> Line:
    """All tabs, or where there is no room the active one and how many there are."""
    if len(tabs) > 1 and sum(map(len, tabs)) + 2 * len(tabs) > width:
        chosen = _titles((active,), active, focused, palette, width)
        return [*chosen, Segment(f" {tabs.index(active) + 1} of {len(tabs)} ", palette.dim)]
    title: Line = []
    for tab in tabs:
        chosen = tab == active
        style = (palette.accent if focused else palette.text) + Style(bold=True) if chosen else palette.dim
        title += [Segment(" ") if not title else Segment("  "), Segment(tab, style)]
    return [*title, Segment(" ")] if title else []


def _rule(left: str, right: str, width: int, style: Style, title: Line, notes: Line | None) -> Line:
    """A horizontal rule with corners; the title after its beginning, the notes before its end."""
    title = cut(title, max(0, width - 4))
    space = width - 4 - width_of(title)
    tail: Line = []
    if notes and (note_width := width_of(notes)) and note_width + 3 <= space:
        tail = [Segment(" "), *notes, Segment(" ")]
        space -= note_width + 2
    return [Segment(left + "─", style), *title, Segment("─" * space, style), *tail, Segment("─" + right, style)]
