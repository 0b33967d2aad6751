"""Screens on which a text can be marked, and asked where it comes from."""

from textual import on, work
from textual.message import Message
from textual.widgets import Input

from ...core.errors import LmwbError
from ...core.history.queries import Run
from ..widgets.bars import KeysBar
from ..widgets.entry import Entry
from ..widgets.inspected import InspectedTokens
from .panes import BoardScreen

_ADVICE = 'changes, such as  scores.top=20  strategies=["ekfac", "identity"]  factors.share=0.25'


class QuestionEntry(Entry):
    """A line for changes to the question; what is typed concerns nobody else on the screen."""

    class Done(Message):
        """The changes are as they shall be."""

        def __init__(self, changes: str):
            super().__init__()
            self.changes = changes

    def on_input_changed(self, message: Input.Changed) -> None:
        """Keep it."""
        message.stop()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Pass it on."""
        message.stop()
        self.post_message(self.Done(message.value))


class AskingScreen(BoardScreen[None], inherit_bindings=False):
    """A screen with texts of models."""

    def text_at_hand(self) -> InspectedTokens:
        """The pane whose tokens are asked about."""
        raise NotImplementedError

    def model_at_hand(self) -> tuple[str, str]:
        """The model that said what the pane shows, as the model service takes it, and what a person should know."""
        raise NotImplementedError

    def action_span(self) -> None:
        """Begin a span at the token at the cursor, end it there, or begin a new one."""
        pane = self.text_at_hand()
        if pane.asked is None:
            self.app.say("There is no text to mark.")
            return
        self.go_to(pane.title)
        pane.mark()

    def action_where_from(self) -> None:
        """Ask about what is marked, or about the token at the cursor."""
        if self._may_ask():
            self._ask_where_from("")

    async def action_where_from_with(self) -> None:
        """Type how to ask, then ask."""
        if self._may_ask() and not self.query(Entry):
            self.query_one(KeysBar).display = False
            entry = QuestionEntry(_ADVICE)
            await self.mount(entry)
            self.set_focus(entry)

    @on(QuestionEntry.Done)
    async def _asked(self, message: QuestionEntry.Done) -> None:
        await self.end_question()
        self._ask_where_from(message.changes)

    async def end_question(self) -> bool:
        """Back from typing changes to the question; whether somebody did."""
        entries = self.query(QuestionEntry)
        if not entries:
            return False
        await entries.remove()
        self.query_one(KeysBar).display = True
        self.set_focus(self.text_at_hand())
        return True

    def _may_ask(self) -> bool:
        """There is a text, and its reader meant to ask: a mark, or the focus on the tokens, says so."""
        pane = self.text_at_hand()
        if pane.asked is None:
            self.app.say("There is no text to ask about.")
        elif not (pane.has_mark or self.focused_pane is pane):
            self.go_to(pane.title)
            self.app.say("Go to a token, or mark some: f begins and ends a span; then w asks where it comes from.")
        else:
            return True
        return False

    @work(exclusive=True, group="ask", name="ask where from")
    async def _ask_where_from(self, changes: str) -> None:
        """Start a run that answers, and look at it."""
        from ..deeds import ask_where_from
        from .influence import InfluenceScreen

        asked = self.text_at_hand().asked
        if asked is None:
            return
        model, note = self.model_at_hand()
        try:
            run: Run = await self.app.in_thread(ask_where_from, self.app.home, model, *asked, changes)
        except LmwbError as error:
            self.app.say(str(error), error=True)
            return
        if note:
            self.app.say(note)
        self.app.push_screen(InfluenceScreen(run))
