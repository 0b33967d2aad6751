"""Recipes to start a run from: those that come with lmwb, and those in the current folder."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.segment import Segment
from rich.style import Style
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input

from ...core.errors import LmwbError
from ...core.history.queries import Run
from ...core.text import printable
from ..actions import bindings_of
from ..deeds import split_changes, start
from ..widgets.bars import KeysBar
from ..widgets.entry import Entry
from ..widgets.frame import Line, spread, width_of, wrapped
from ..widgets.pane import Pane
from ..widgets.texts import toml_lines
from .panes import PaneScreen

_LARGEST = 200_000
"""Bytes of a recipe that are shown."""


@dataclass(frozen=True)
class Offer:
    """A recipe that can be chosen; `path` is None if it comes with lmwb."""

    name: str
    path: Path | None
    text: str


def find_offers(folder: Path) -> list[Offer]:
    """The shipped recipes, then the TOML files of a folder. Reads disk and imports the recipe loader: for a thread."""
    from ...core.recipe import recipe_names, recipe_text

    shipped = [Offer(name, None, recipe_text(name)) for name in recipe_names()]
    try:
        files = sorted(path for path in folder.glob("*.toml") if path.is_file() and path.name != "pyproject.toml")
    except OSError:
        files = []
    return shipped + [Offer(path.name, path, _text_of(path)) for path in files]


def command_of(offer: Offer, changes: str, smoke: bool) -> str:
    """What starts the same run from a shell."""
    name = offer.name if offer.path is None else str(offer.path)
    told = [name, *(["--smoke"] if smoke else [])]
    for change in split_changes(changes):
        told += ["--set", change]
    return shlex.join(["lmwb", "run", *told])


class OffersPane(Pane):
    """The list of recipes."""

    title = "Recipes"

    class Selected(Message):
        """Another recipe is selected."""

        def __init__(self, offer: Offer):
            super().__init__()
            self.offer = offer

    def __init__(self) -> None:
        super().__init__()
        self._offers: list[Offer] | None = None
        self._place = 0

    @property
    def selected(self) -> Offer | None:
        """The selected recipe."""
        return self._offers[self._place] if self._offers else None

    def show(self, offers: list[Offer]) -> None:
        """These can be chosen."""
        self._offers = offers
        self.move(0)

    def move(self, lines: int) -> None:
        """Select another."""
        if self._offers:
            self._place = min(max(self._place + lines, 0), len(self._offers) - 1)
            self.post_message(self.Selected(self._offers[self._place]))
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """The list under its two headings."""
        width, height = size
        lines: list[Line] = []
        chosen = 0
        heading = ""
        for place, offer in enumerate(self._offers or []):
            origin = "With lmwb" if offer.path is None else "In this folder"
            if origin != heading:
                heading = origin
                lines += [[]] if lines else []
                lines.append([Segment(f" {heading}", self.palette.accent)])
            if place == self._place:
                chosen = len(lines)
            lines.append(self._line(offer, place == self._place, width))
        if self._offers == []:
            return [[Segment(" There are no recipes here.", self.palette.dim)]]
        top = max(0, min(chosen - height // 2, len(lines) - height))
        return lines[top : top + height]

    def _line(self, offer: Offer, selected: bool, width: int) -> Line:
        name = [Segment(printable(offer.name), self.palette.strong if selected else self.palette.text)]
        line = spread(name, [], width - 3)
        if not selected:
            return [Segment("  "), *line]
        background = self.palette.selected if self.has_focus else self.palette.selected_away
        line = [Segment("▌ ", self.palette.accent), *line, Segment(" " * (width - 2 - width_of(line)))]
        return [Segment(text, (style or Style()) + background) for text, style, _ in line]


class OfferPane(Pane):
    """A recipe's text, under what is wrong with it."""

    title = "Recipe"

    def __init__(self) -> None:
        super().__init__()
        self._text = self._command = ""
        self._problems: tuple[str, ...] = ()
        self._busy = False
        self._top = 0
        self._length = 0

    def show(self, text: str) -> None:
        """Another recipe."""
        self._text, self._problems, self._busy, self._top = text, (), False, 0
        self.redraw()

    def tell(self, command: str) -> None:
        """How a shell would start it."""
        self._command = command
        self.redraw()

    def complain(self, problems: Sequence[str]) -> None:
        """The recipe cannot be started."""
        self._problems, self._busy, self._top = tuple(problems), False, 0
        self.redraw()

    def wait(self) -> None:
        """The recipe is being checked."""
        self._problems, self._busy = (), True
        self.redraw()

    def move(self, lines: int) -> None:
        """Scroll."""
        self._top = max(0, min(self._top + lines, self._length - self.size.height + 2))
        self.redraw()

    def notes(self) -> Line:
        """What happens."""
        return [Segment("checking …", self.palette.accent)] if self._busy else []

    def inside(self, size: Size) -> Sequence[Line]:
        """How it is started, problems, then the text."""
        width, height = size
        palette = self.palette
        lines: list[Line] = [*wrapped(printable(self._command), width - 2, palette.dim, indent=4), []]
        if self._problems:
            lines.append([Segment("This recipe cannot be started:", palette.bad)])
            for problem in self._problems:
                for part in wrapped(printable(problem), width - 4, palette.text, indent=2):
                    lines.append([Segment("  "), *part])
            lines.append([])
        lines += toml_lines(self._text, width - 2, palette)
        self._length = len(lines)
        self._top = max(0, min(self._top, self._length - height))
        return [[Segment(" "), *line] for line in lines[self._top : self._top + height]]

    def foot(self) -> Line:
        """Where in the text we are, if it doesn't fit."""
        height = self.size.height - 2
        if self._length <= height:
            return []
        return [Segment(f"{min(self._top + height, self._length)} of {self._length}", self.palette.dim)]


class RecipesScreen(PaneScreen[Run | None], inherit_bindings=False):
    """Choose a recipe, read it, change it, start it. Gives the run that was started, or None."""

    BINDINGS = bindings_of("recipes")
    DEFAULT_CSS = """
    RecipesScreen OffersPane { width: 30%; min-width: 24; max-width: 44; }
    RecipesScreen OfferPane { width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._offers = OffersPane()
        self._offer = OfferPane()
        self._changes = ""
        self._smoke = False

    def compose(self) -> ComposeResult:
        """List and text side by side."""
        yield Horizontal(self._offers, self._offer)
        yield KeysBar("recipes")

    def on_mount(self) -> None:
        """Look for recipes, in a thread: the loader is a heavy import."""
        self.set_focus(self._offers)
        self._find()

    @work(name="find recipes")
    async def _find(self) -> None:
        self._offers.show(await self.app.in_thread(find_offers, Path()))

    def on_offers_pane_selected(self, message: OffersPane.Selected) -> None:
        """Show its text, and how it would be started."""
        self._offer.show(message.offer.text)
        self._tell()

    def _tell(self) -> None:
        offer = self._offers.selected
        if offer is not None:
            self._offer.tell(command_of(offer, self._changes, self._smoke))

    async def action_change(self) -> None:
        """Type changes to the recipe, as after `--set`."""
        if not self.query(Entry):
            self.query_one(KeysBar).display = False
            entry = Entry("changes, such as  train.lr=1e-4  seeds=[0, 1]", self._changes)
            await self.mount(entry)
            self.set_focus(entry)

    @on(Input.Changed)
    def _changed(self, message: Input.Changed) -> None:
        self._changes = message.value
        self._tell()

    @on(Input.Submitted)
    async def _end_change(self) -> None:
        await self.query(Entry).remove()
        self.query_one(KeysBar).display = True
        self.set_focus(self._offers)

    def action_smoke(self) -> None:
        """Small, or as it is."""
        self._smoke = not self._smoke
        self._tell()

    @work(exclusive=True, name="start a run")
    async def action_launch(self) -> None:
        """Check and start the selected recipe."""
        offer = self._offers.selected
        if offer is None:
            return
        self._offer.wait()
        try:
            run = await self.app.in_thread(start, self.app.home, offer.path, offer.name, self._changes, self._smoke)
        except LmwbError as error:
            self._offer.complain(str(error).split("\n"))
        else:
            self.dismiss(run)

    @property
    def focused_pane(self) -> Pane:
        """The list, or the text."""
        return self._offer if self.focused is self._offer else self._offers

    def action_next_pane(self) -> None:
        """From the list to the text and back."""
        self.set_focus(self._offers if self.focused is self._offer else self._offer)

    def action_previous_pane(self) -> None:
        """From the text to the list and back."""
        self.action_next_pane()

    async def action_close(self) -> None:
        """From typing to the list; from there back to the runs."""
        if self.query(Entry):
            await self._end_change()
        else:
            self.dismiss(None)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError as error:
        return f"# {path.name} cannot be read: {error.strerror}"
