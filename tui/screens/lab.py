"""The lab: what does a model say to this prompt, how sure is it of every token, and what would have followed if it had
said something else?

The session asks, panes show; nothing here waits.
"""

from collections.abc import Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from ...core.errors import UsageError
from ...core.text import printable
from ..actions import bindings_of
from ..lab import Branch, Opening, Said, command, whole
from ..lab_session import Session
from ..lab_settings import BEAMS, typed
from ..quirks import send_spans_only
from ..widgets.bars import KeysBar
from ..widgets.beams import BeamsPane
from ..widgets.entry import Entry
from ..widgets.lab_lines import SettingsChanged
from ..widgets.pane import Pane
from ..widgets.said import SaidPane
from .lab_board import BESIDE, STEPS, TEXT
from .lab_panes import LabPanes

_ENTRIES = {
    "prompt": "the prompt; ␊ stands for a line break",
    "model 0": "the model: a run, RUN/STAGE@STEP, a folder, a name on the hub",
    "model 1": "the second model: as the first one's; nothing for none",
}
"""What can be typed, and what stands there while nothing is."""


class LabScreen(LabPanes, inherit_bindings=False):
    """A prompt, one model or two, and everything they say."""

    BINDINGS = bindings_of("lab")

    def __init__(self, opening: Opening):
        super().__init__()
        send_spans_only(self)
        self._opening = opening
        self._session = Session(self.app.models, opening, self._show, self.app.say)
        self._typing = ""
        self._shown: dict[Pane, Said | None] = {}

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

    # -- speaking ---------------------------------------------------------------------------------

    def action_speak(self) -> None:
        """Everybody speaks, with the present settings."""
        self._speak(*range(len(self._session.speakers)))

    async def action_go(self) -> None:
        """Go on from the cursor of a text or a tree; type a value for a setting; from anywhere else, speak."""
        pane = self.focused_pane
        if pane is self._form:
            await self._type("setting", self._form.value())
            return
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

    def action_difference(self) -> None:
        """How the second model differs about the text at hand: all of it if one was said, else the prompt."""
        if len(self._session.speakers) < 2:
            self.app.say("There is no second model; m names one.")
        elif not self._session.known(self._active):
            self.app.say("The model is still being loaded.")
        elif self._may_speak():
            here = self._session.branch
            said = here.said.get(self._active)
            if said is not None and not said.scored:
                self._go_to_branch(whole(here, said, self._said[self._active].number))
            self._in_background(self._session.differ())
            self.go_to(BESIDE)

    def _speak(self, *places: int) -> None:
        if self._may_speak():
            if self._row.stale:
                self._session.forget_sizes()
            self._row.stale = False
            self._in_background(self._session.speak(places, self._row.settings))

    def _grow(self, branch: Branch) -> None:
        """Go to a new branch, and speak there."""
        self._go_to_branch(branch)
        self.action_speak()

    def _go_to_branch(self, branch: Branch) -> None:
        self._stop()
        self._session.grow(branch)
        self._show()

    def _may_speak(self) -> bool:
        if self._session.trouble:
            self.app.say(self._session.trouble)
        return not self._session.trouble

    def _stop(self) -> None:
        self.workers.cancel_group(self, "speak")
        self._session.quiet()

    def _in_background(self, deed: Coroutine[Any, Any, Any]) -> None:
        self.run_worker(deed, name="speak", group="speak", exclusive=True)

    def model_at_hand(self) -> tuple[str, str]:
        """Who said the text at hand."""
        return self._session.speakers[self._active].reference, ""

    # -- models and prompt ------------------------------------------------------------------------

    def _load(self, place: int) -> None:
        async def bring() -> None:
            said = self._session.branch.said.get(0)
            if not await self._session.load(place) or not place or said is None:
                return
            if said.scored:
                self._in_background(self._session.differ())
            else:
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
            entry = Entry(_ENTRIES.get(what) or f"{self._form.chosen.name}; nothing for the default", printable(value))
            await self.mount(entry)
            self.set_focus(entry)

    @on(Input.Submitted)
    async def _typed(self, message: Input.Submitted) -> None:
        if self._typing == "setting":
            await self._typed_setting(message.value)
            return
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
        self.set_focus(self._form if self._typing == "setting" else self._said[0])

    # -- settings ---------------------------------------------------------------------------------

    @on(SettingsChanged)
    def _changed(self, message: SettingsChanged) -> None:
        self._row.change(message.settings)
        self._form.change(message.settings)
        self._row.stale = any(not said.scored for said in self._session.branch.said.values())
        self._show()

    async def _typed_setting(self, text: str) -> None:
        """A value for the chosen setting; if it is none, the line stays, to be mended."""
        try:
            settings = typed(self._row.settings, self._form.chosen.key, text)
        except UsageError as error:
            self.app.say(str(error))
            return
        await self._end_typing()
        self._changed(SettingsChanged(settings))

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
        two, given = len(speakers) > 1, any(said.scored for said in branch.said.values())
        if (self._places.two, self._places.given) != (two, given):
            self._places.two, self._places.given = two, given
            self.board.rearrange()
            if self.focused is self._said[1] and not self._places.two:
                self.set_focus(self._said[0])
        for place, speaker in enumerate(speakers):
            self._said[place].tell(speaker.name, speaker.doing or session.trouble, speaker.bad)
            if self._is_news(self._said[place], branch.said.get(place)):
                self._said[place].show(branch.said.get(place))
        self.show_search()
        self._show_steps()

    def show_search(self) -> None:
        """The search behind the text that had the focus last."""
        said = self._session.branch.said.get(self._active)
        if self._is_news(self._tree, said):
            why_not = "No tree: this text was given, not searched for." if said and said.scored else "No tree yet."
            self._tree.show(said and said.generation, self._said[self._active].number, why_not)

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

    # -- leaving ----------------------------------------------------------------------------------

    async def action_close(self) -> None:
        """One step back: from typing, from the zoom, from the settings; then to the runs."""
        if await self.end_question() or self.text_at_hand().unmark():
            return
        if self.query(Entry):
            await self._end_typing()
        elif self.board.zoomed:
            self.board.zoom(None)
        elif self.focused in (self._row, self._form):
            self.go_to(TEXT)
        else:
            self.dismiss(None)
