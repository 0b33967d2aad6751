"""The panes of the lab: how one moves from one to another and looks around in them. Nothing here asks a model."""

from textual import on

from ..widgets.beams import BeamsPane
from ..widgets.lab_form import SettingsForm
from ..widgets.lab_lines import CommandLine, LabBar, SettingsRow
from ..widgets.pane import Pane
from ..widgets.said import SaidPane
from ..widgets.steps import StepsPane
from .asking import AskingScreen
from .lab_board import BESIDE, FORM, STEPS, TEXT, TREE, LabBoard


class LabPanes(AskingScreen, inherit_bindings=False):
    """Texts, tree, steps, settings."""

    def __init__(self) -> None:
        super().__init__()
        self._active = 0
        self._bar, self._row, self._command = LabBar(), SettingsRow(), CommandLine()
        self._said = (SaidPane(TEXT), SaidPane(BESIDE))
        self._tree, self._steps, self._form = BeamsPane(), StepsPane(), SettingsForm()
        on_board = (*self._said, self._tree, self._steps, self._form)
        self.panes: dict[str, Pane] = {pane.title: pane for pane in (self._row, *on_board)}
        self.board = self._places = LabBoard(on_board)

    @property
    def focused_pane(self) -> Pane:
        """The pane that the keys act on."""
        return self.focused if isinstance(self.focused, Pane) else self._said[0]

    def text_at_hand(self) -> SaidPane:
        """The text that had the focus last."""
        return self._said[self._active]

    # -- looking ----------------------------------------------------------------------------------

    def action_alternative(self) -> None:
        """Choose the next alternative."""
        self._said[self._active].choose(1)

    def action_previous_alternative(self) -> None:
        """Choose the one before."""
        self._said[self._active].choose(-1)

    def action_next_text(self) -> None:
        """The next of the texts, and where it ends in the tree."""
        self._turn(1)

    def action_previous_text(self) -> None:
        """The text before."""
        self._turn(-1)

    def _turn(self, by: int) -> None:
        pane = self._said[self._active]
        pane.turn(by)
        self._tree.show(pane.said and pane.said.generation, pane.number)

    def action_scale(self) -> None:
        """What the colours of the tokens mean; where the difference of two opinions is shown, in one of the texts."""
        compared = any(pane.said is not None and pane.said.against is not None for pane in self._said)
        for pane in (self._said[self._active],) if compared else self._said:
            pane.cycle_scale()

    def action_log_scale(self) -> None:
        """The whole range of probabilities, or what the data fill."""
        self._steps.toggle_log()

    def action_show_command(self) -> None:
        """All of the command."""
        self.app.say(self._command.command)

    def action_move_left(self) -> None:
        """Left in the pane."""
        self.focused_pane.slide(-1)

    def action_move_right(self) -> None:
        """Right in the pane."""
        self.focused_pane.slide(1)

    # -- moving -----------------------------------------------------------------------------------

    def stops(self) -> list[str]:
        """The settings, then the panes."""
        return [self._row.title, *super().stops()]

    def go_to(self, title: str) -> None:
        """Bring a pane to the screen; what is told of one text is told of the one that had the focus last."""
        super().go_to(title)
        if title in (TEXT, BESIDE) and self._active != (TEXT, BESIDE).index(title):
            self._active = (TEXT, BESIDE).index(title)
            self.show_search()

    def show_search(self) -> None:
        """The search behind the text that had the focus last."""
        raise NotImplementedError

    def action_all_settings(self) -> None:
        """All settings, or back to the text."""
        self.go_to(TEXT if self.focused is self._form else FORM)

    def action_settings(self) -> None:
        """To the settings, or back to the text."""
        self.go_to(TEXT if self.focused is self._row else self._row.title)

    def action_pane_text(self) -> None:
        """To the text."""
        self.go_to(TEXT)

    def action_pane_tree(self) -> None:
        """To the tree."""
        self.go_to(TREE)

    def action_pane_steps(self) -> None:
        """To the chart."""
        self.go_to(STEPS)

    def action_pane_beside(self) -> None:
        """To the second model's text."""
        if self._places.two:
            self.go_to(BESIDE)
        else:
            self.app.say("There is no second model; m names one.")

    @on(SaidPane.Looked)
    def _look_beside(self, message: SaidPane.Looked) -> None:
        """Mark the step; of two opinions of one text, both are shown about the same token."""
        self._steps.mark(message.step)
        others = [pane for pane in self._said if pane is not message.pane]
        both = [pane.said for pane in self._said]
        if both[1] is not None and both[0] is not None and both[1].against is both[0].traces[0]:
            others[0].look_at(message.step)

    @on(BeamsPane.Walked)
    def _mark_walked(self, message: BeamsPane.Walked) -> None:
        self._steps.mark(message.step)

    def action_zoom(self) -> None:
        """The whole screen for the focused pane, or back."""
        if self.focused is not self._row:
            super().action_zoom()
