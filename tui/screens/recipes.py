"""Recipes to start a run from: those that come with lmwb, and those in the current folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen

from ...core.errors import LmwbError
from ...core.history.queries import Run
from ...core.home import Home
from ...core.text import printable
from ..actions import bindings_of
from ..widgets.bars import KeysBar
from ..widgets.frame import Line, spread, width_of, wrapped
from ..widgets.pane import Pane
from ..widgets.texts import toml_lines

if TYPE_CHECKING:
    from ..app import LmwbApp

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


def start(home: Home, offer: Offer) -> Run:
    """Check the recipe and launch a run with it. Takes a moment: for a thread.

    Raises:
        RecipeError: with everything that is wrong with it.
        MachineError: the home folder cannot be written to.
    """
    import importlib.resources

    from ...core import recipe, runs

    if offer.path is not None:
        return runs.launch(home, recipe.load(offer.path))
    resource = importlib.resources.files("lmwb.recipes").joinpath(f"{offer.name}.toml")
    with importlib.resources.as_file(resource) as path:
        return runs.launch(home, recipe.load(path))


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
        self._text = ""
        self._problems: tuple[str, ...] = ()
        self._busy = False
        self._top = 0
        self._length = 0

    def show(self, text: str) -> None:
        """Another recipe."""
        self._text, self._problems, self._busy, self._top = text, (), False, 0
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
        """Problems, then the text."""
        width, height = size
        palette = self.palette
        lines: list[Line] = []
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


class RecipesScreen(Screen[Run | None], inherit_bindings=False):
    """Choose a recipe, read it, start it. Gives the run that was started, or None."""

    app: "LmwbApp"
    BINDINGS = bindings_of("recipes")
    DEFAULT_CSS = """
    RecipesScreen OffersPane { width: 30%; min-width: 24; max-width: 44; }
    RecipesScreen OfferPane { width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._offers = OffersPane()
        self._offer = OfferPane()

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
        """Show its text."""
        self._offer.show(message.offer.text)

    @work(exclusive=True, name="start a run")
    async def action_launch(self) -> None:
        """Check and start the selected recipe."""
        offer = self._offers.selected
        if offer is None:
            return
        self._offer.wait()
        try:
            run = await self.app.in_thread(start, self.app.home, offer)
        except LmwbError as error:
            self._offer.complain(str(error).split("\n"))
        else:
            self.dismiss(run)

    @property
    def _focused_pane(self) -> Pane:
        return self._offer if self.focused is self._offer else self._offers

    def action_move_up(self) -> None:
        """Up."""
        self._focused_pane.move(-1)

    def action_move_down(self) -> None:
        """Down."""
        self._focused_pane.move(1)

    def action_page_up(self) -> None:
        """A page up."""
        self._focused_pane.move(-self._focused_pane.page())

    def action_page_down(self) -> None:
        """A page down."""
        self._focused_pane.move(self._focused_pane.page())

    def action_move_first(self) -> None:
        """To the beginning."""
        self._focused_pane.move(-(10**9))

    def action_move_last(self) -> None:
        """To the end."""
        self._focused_pane.move(10**9)

    def action_next_pane(self) -> None:
        """From the list to the text and back."""
        self.set_focus(self._offers if self.focused is self._offer else self._offer)

    def action_previous_pane(self) -> None:
        """From the text to the list and back."""
        self.action_next_pane()

    def action_help(self) -> None:
        """All keys."""
        self.app.open_commands(search=False)

    def action_close(self) -> None:
        """Back to the runs."""
        self.dismiss(None)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError as error:
        return f"# {path.name} cannot be read: {error.strerror}"
