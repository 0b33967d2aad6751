"""The lab: what does a model say to this prompt, how sure is it of every token, and what would have followed if it had
said something else?

The session asks, panes show; nothing here waits.
"""

from collections.abc import Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from ...core.text import printable
from ..actions import bindings_of
from ..lab import BEAMS, Branch, Opening, Said, command
from ..lab_session import Session
from ..quirks import send_spans_only
from ..widgets.bars import KeysBar
from ..widgets.beams import BeamsPane
from ..widgets.entry import Entry
from ..widgets.lab_lines import CommandLine, LabBar, SettingsRow
from ..widgets.pane import Pane
from ..widgets.said import SaidPane
from ..widgets.steps import StepsPane
from .lab_board import BESIDE, STEPS, TEXT, TREE, LabBoard
from .panes import BoardScreen

_ENTRIES = {
    "prompt": "the prompt; ␊ stands for a line break",
    "model 0": "the model: a run, RUN/STAGE@STEP, a folder, a name on the hub",
    "model 1": "the second model: as the first one's; nothing for none",
}
"""What can be typed, and what stands there while nothing is."""


class LabScreen(BoardScreen[None], inherit_bindings=False):
    """A prompt, one model or two, and everything they say."""

    BINDINGS = bindings_of("lab")

    def __init__(self, opening: Opening):
        super().__init__()
        send_spans_only(self)
        self._opening = opening
        self._session = Session(self.app.models, opening, self._show, self.app.say)
        self._active = 0
        self._typing = ""
        self._shown: dict[Pane, Said | None] = {}
        self._bar, self._row, self._command = LabBar(), SettingsRow(), CommandLine()
        self._said = (SaidPane(TEXT), SaidPane(BESIDE))
        self._tree, self._steps = BeamsPane(), StepsPane()
        on_board = (*self._said, self._tree, self._steps)
        self.panes: dict[str, Pane] = {pane.title: pane for pane in (self._row, *on_board)}
        self.board = self._places = LabBoard(on_board)

    def compose(self) -> ComposeResult:
        """Models and prompt, settings, panes, the command, keys."""
        yield self._bar
        yield self._row
        yield self.board
        yield self._command
        yield KeysBar("lab")

    def on_mount(self) -> None:
        """Show what was recorded at once; load the model meanwhile."""
        self.app.keep_models()
        self.set_focus(self._said[0])
        self._show()
        if self._opening.note:
            self.app.say(self._opening.note)
        if self._opening.model:
            self._load(0)

    def on_unmount(self) -> None:
        """The models may rest."""
        self.app.let_models_rest()

    @property
    def focused_pane(self) -> Pane:
        """The pane that the keys act on."""
        return self.focused if isinstance(self.focused, Pane) else self._said[0]

    # -- speaking ---------------------------------------------------------------------------------

    def action_speak(self) -> None:
        """Everybody speaks, with the present settings."""
        self._speak(*range(len(self._session.speakers)))

    def action_go(self) -> None:
        """Go on from the cursor of a text or a tree; from anywhere else, speak."""
        pane = self.focused_pane
        if not isinstance(pane, SaidPane | BeamsPane) or self._shown.get(pane) is None:
            self.action_speak()
            return
        if not self._session.known(self._active):
            self.app.say("The model is still being loaded.")
            return
        here = self._session.branch
        branch = pane.branch(here, here.said[self._active].vocabulary)
        if branch is None:
            self.app.say("There is nothing here to go on from.")
        else:
            self._grow(branch)

    def action_undo(self) -> None:
        """Back to the branch before."""
        if len(self._session.branches) == 1:
            self.app.say("This is the first branch.")
            return
        self._stop()
        self._session.branches.pop()
        self._show()

    def action_cancel(self) -> None:
        """Silence."""
        self._stop()

    def action_sizes(self) -> None:
        """The same prompt with other numbers of beams, for the chart."""
        if self._may_speak():
            self.board.open(STEPS)
            self._in_background(self._session.speak_in_sizes(self._row.settings))

    def action_score(self) -> None:
        """Colour the prompt itself by what the models think of it."""
        if self._may_speak():
            self._in_background(self._session.score(range(len(self._session.speakers))))

    def _speak(self, *places: int) -> None:
        if self._may_speak():
            if self._row.stale:
                self._session.forget_sizes()
            self._row.stale = False
            self._in_background(self._session.speak(places, self._row.settings))

    def _grow(self, branch: Branch) -> None:
        """Go to a new branch, and speak there."""
        self._stop()
        self._session.grow(branch)
        self._show()
        self.action_speak()

    def _may_speak(self) -> bool:
        if self._session.trouble:
            self.app.say(self._session.trouble)
        return not self._session.trouble

    def _stop(self) -> None:
        self.workers.cancel_group(self, "speak")
        self._session.quiet()

    def _in_background(self, deed: Coroutine[Any, Any, Any]) -> None:
        self.run_worker(deed, name="speak", group="speak", exclusive=True)

    # -- models and prompt ------------------------------------------------------------------------

    def _load(self, place: int) -> None:
        async def bring() -> None:
            if await self._session.load(place) and place and self._session.branch.said:
                self._speak(place)

        self.run_worker(bring(), name="load a model", group=f"load {place}", exclusive=True)

    async def action_edit(self) -> None:
        """Type another prompt."""
        await self._type("prompt", self._session.branch.prompt)

    async def action_first_model(self) -> None:
        """Name another model."""
        await self._type("model 0", self._session.speakers[0].reference)

    async def action_other_model(self) -> None:
        """Name a second model."""
        await self._type("model 1", self._session.speakers[1].reference if len(self._session.speakers) > 1 else "")

    async def _type(self, what: str, value: str) -> None:
        if not self.query(Entry):
            self._typing = what
            self.query_one(KeysBar).display = False
            entry = Entry(_ENTRIES[what], printable(value))
            await self.mount(entry)
            self.set_focus(entry)

    @on(Input.Submitted)
    async def _typed(self, message: Input.Submitted) -> None:
        await self._end_typing()
        if self._typing == "prompt":
            prompt = self._session.branch.prompt
            if message.value != printable(prompt):
                self._grow(Branch(message.value.replace("␊", "\n").replace("␉", "\t")))
            else:
                self.action_speak()
            return
        place = int(self._typing[-1])
        self._stop()
        if self._session.name_model(place, message.value.strip()):
            self._load(place)

    async def _end_typing(self) -> None:
        await self.query(Entry).remove()
        self.query_one(KeysBar).display = True
        self.set_focus(self._said[0])

    # -- settings ---------------------------------------------------------------------------------

    def action_settings(self) -> None:
        """To the settings, or back to the text."""
        self.go_to(TEXT if self.focused is self._row else self._row.title)

    @on(SettingsRow.Changed)
    def _changed(self) -> None:
        self._row.stale = bool(self._session.branch.said)
        self._show()

    # -- showing ----------------------------------------------------------------------------------

    def _show(self) -> None:
        """Bring everything on the screen up to date; panes repaint only what differs."""
        if not self.is_attached:
            return
        session, branch = self._session, self._session.branch
        speakers = session.speakers
        self._active = min(self._active, len(speakers) - 1)
        at_work = next((one for one in speakers if one.bad), None) or next((one for one in speakers if one.doing), None)
        depth = f"branch {len(session.branches)}" if len(session.branches) > 1 else ""
        way = ", ".join(part for part in (depth, branch.way) if part)
        doing, bad = (at_work.doing, at_work.bad) if at_work is not None else (session.trouble, bool(session.trouble))
        doing = doing or ("settings changed: r speaks" if self._row.stale else "")
        self._bar.show([one.name for one in speakers], doing, bad, branch.prompt, way)
        self._command.show(command(speakers[0].reference, self._other(), branch, self._row.settings))
        if self._places.two != (len(speakers) > 1):
            self._places.two = len(speakers) > 1
            self.board.rearrange()
            if self.focused is self._said[1] and not self._places.two:
                self.set_focus(self._said[0])
        for place, speaker in enumerate(speakers):
            self._said[place].tell(speaker.name, speaker.doing or session.trouble, speaker.bad)
            if self._is_news(self._said[place], branch.said.get(place)):
                self._said[place].show(branch.said.get(place))
        self._show_tree()
        self._show_steps()

    def _show_tree(self) -> None:
        """The search behind the text that had the focus last."""
        said = self._session.branch.said.get(self._active)
        if self._is_news(self._tree, said):
            self._tree.show(said and said.generation, self._said[self._active].number)

    def _show_steps(self) -> None:
        branch, speakers = self._session.branch, self._session.speakers
        shown: dict[str, Said] = {}
        for place, said in sorted(branch.said.items()):
            if place < len(speakers):
                shown[said.words + (", beside" if place else "")] = said
        for beams, said in sorted(branch.sizes.items()):
            shown.setdefault(f"{BEAMS}{beams}", said)
        if branch.sizes:  # their names must be short
            self._steps.show({name.removeprefix(BEAMS): said for name, said in shown.items()}, "p, beams")
        else:
            self._steps.show(shown)

    def _is_news(self, pane: Pane, said: Said | None) -> bool:
        """A pane does not show this yet; from now on it does."""
        known = pane in self._shown and self._shown[pane] is said
        self._shown[pane] = said
        return not known

    def _other(self) -> str:
        return self._session.speakers[1].reference if len(self._session.speakers) > 1 else ""

    @on(SaidPane.Looked)
    def _mark_step(self, message: SaidPane.Looked) -> None:
        self._steps.mark(message.step)

    @on(BeamsPane.Walked)
    def _mark_walked(self, message: BeamsPane.Walked) -> None:
        self._steps.mark(message.step)

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
        """What the colours of the tokens mean."""
        for pane in self._said:
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
        """Bring a pane to the screen; the tree is that of the text that had the focus last."""
        super().go_to(title)
        if title in (TEXT, BESIDE):
            self._active = (TEXT, BESIDE).index(title)
            self._show_tree()

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

    def action_zoom(self) -> None:
        """The whole screen for the focused pane, or back."""
        if self.focused is not self._row:
            super().action_zoom()

    async def action_close(self) -> None:
        """One step back: from typing, from the zoom, from the settings; then to the runs."""
        if self.query(Entry):
            await self._end_typing()
        elif self.board.zoomed:
            self.board.zoom(None)
        elif self.focused is self._row:
            self.go_to(TEXT)
        else:
            self.dismiss(None)
