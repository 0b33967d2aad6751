"""The panes of the home screen: how one moves from one to another and looks at curves and tokens in other ways. It asks
the history nothing."""

from ..widgets.bars import TitleBar
from ..widgets.curves import CurvesPane
from ..widgets.pane import Pane
from ..widgets.runs import RunsPane
from ..widgets.samples import SamplesPane
from ..widgets.texts import DetailsPane, EventsPane, LogPane, RecipePane
from .asking import AskingScreen
from .board import ALL_TABS, LOWER, HomeBoard


class HomePanes(AskingScreen, inherit_bindings=False):
    """Runs, curves, tokens, and the text around them."""

    def __init__(self) -> None:
        super().__init__()
        self.title_bar = TitleBar(self.app.home.root)
        self.runs = RunsPane()
        self.curves = CurvesPane()
        self.tokens = SamplesPane()
        self.texts = (LogPane(), EventsPane(), RecipePane(), DetailsPane())
        self.panes: dict[str, Pane] = {p.title: p for p in (self.runs, self.curves, self.tokens, *self.texts)}
        self.board = HomeBoard(self.panes.values())

    def go_to_step(self, step: int | None) -> None:
        """Look at one moment of the training; None follows the latest."""
        raise NotImplementedError

    def text_at_hand(self) -> SamplesPane:
        """The sample."""
        return self.tokens

    # -- looking ----------------------------------------------------------------------------------

    def action_log_scale(self) -> None:
        """Logarithmic or plain."""
        self.curves.toggle_log()

    def action_smooth(self) -> None:
        """The next degree of smoothing."""
        self.curves.smooth()

    def action_zoom_in(self) -> None:
        """Half of the x axis."""
        self.curves.zoom(2)

    def action_zoom_out(self) -> None:
        """Twice of the x axis."""
        self.curves.zoom(0.5)

    def action_zoom_reset(self) -> None:
        """All of the x axis."""
        self.curves.zoom(None)

    def action_pan_left(self) -> None:
        """A quarter of the picture back."""
        self.curves.pan(-0.25)

    def action_pan_right(self) -> None:
        """A quarter of the picture on."""
        self.curves.pan(0.25)

    def action_scale(self) -> None:
        """What the colours of the tokens mean."""
        self.tokens.cycle_scale()

    # -- moving -----------------------------------------------------------------------------------

    @property
    def focused_pane(self) -> Pane:
        """The pane that the keys act on."""
        return self.focused if isinstance(self.focused, Pane) else self.runs

    def action_move_left(self) -> None:
        """Left in the pane, or to the tab on the left."""
        self._sideways(-1)

    def action_move_right(self) -> None:
        """Right in the pane, or to the tab on the right."""
        self._sideways(1)

    def _sideways(self, by: int) -> None:
        pane = self.focused_pane
        if pane.title in LOWER and pane.tabs != (pane.title,):
            place = pane.tabs.index(pane.title) + by
            self.go_to(pane.tabs[place % len(pane.tabs)])
        elif pane is self.curves:
            self.go_to_step(self.curves.step_beside(by))
        else:
            pane.slide(by)

    def action_pane_runs(self) -> None:
        """To the runs."""
        self.go_to("Runs")

    def action_pane_curves(self) -> None:
        """To the curves."""
        self.go_to(ALL_TABS[0])

    def action_pane_tokens(self) -> None:
        """To the tokens."""
        self.go_to(ALL_TABS[1])

    def action_pane_log(self) -> None:
        """To the log."""
        self.go_to(LOWER[0])

    def action_pane_events(self) -> None:
        """To the events."""
        self.go_to(LOWER[1])

    def action_pane_recipe(self) -> None:
        """To the recipe."""
        self.go_to(LOWER[2])

    def action_pane_details(self) -> None:
        """To the details."""
        self.go_to(LOWER[3])
