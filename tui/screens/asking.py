"""Screens on which a text can be marked, and asked where it comes from."""

from typing import TYPE_CHECKING, NamedTuple

from textual import on, work
from textual.message import Message
from textual.widgets import Input

from ...core.errors import LmwbError
from ..widgets.bars import KeysBar
from ..widgets.entry import Entry
from ..widgets.inspected import InspectedTokens
from .panes import BoardScreen

if TYPE_CHECKING:
    from ...core.tokens import TokenTrace

_ADVICE = 'changes, such as  scores.top=20  strategies=["ekfac", "identity"]  factors.share=0.25'


class Asked(NamedTuple):
    """What is asked about, as it was when somebody asked: a text may give way to another meanwhile.

    Attributes:
        text: all tokens.
        span: the first of those that are asked about, and the one behind the last.
        model: who said them, as the model service takes it.
        note: what a person should know of the model.
    """

    text: "TokenTrace"
    span: tuple[int, int]
    model: str
    note: str


class QuestionEntry(Entry):
    """A line for changes to a question; what is typed concerns nobody else on the screen."""

    class Done(Message):
        """The changes are as they shall be."""

        def __init__(self, asked: Asked, changes: str):
            super().__init__()
            self.asked = asked
            self.changes = changes

    def __init__(self, asked: Asked):
        super().__init__(_ADVICE)
        self._asked = asked

    def on_input_changed(self, message: Input.Changed) -> None:
        """Keep it."""
        message.stop()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Pass it on."""
        message.stop()
        self.post_message(self.Done(self._asked, message.value))


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
        if (asked := self._asked()) is not None:
            self._ask_where_from(asked, "")

    async def action_where_from_with(self) -> None:
        """Type how to ask, then ask."""
        if not self.query(Entry) and (asked := self._asked()) is not None:
            self.query_one(KeysBar).display = False
            entry = QuestionEntry(asked)
            await self.mount(entry)
            self.set_focus(entry)

    @on(QuestionEntry.Done)
    async def _typed_question(self, message: QuestionEntry.Done) -> None:
        await self.end_question()
        self._ask_where_from(message.asked, message.changes)

    async def end_question(self) -> bool:
        """Back from typing changes to the question; whether somebody did."""
        entries = self.query(QuestionEntry)
        if not entries:
            return False
        await entries.remove()
        self.query_one(KeysBar).display = True
        self.set_focus(self.text_at_hand())
        return True

    def _asked(self) -> Asked | None:
        """What is asked about; None unless its reader meant to ask: a mark, or the focus on the tokens, says so."""
        pane = self.text_at_hand()
        if pane.asked is None:
            self.app.say("There is no text to ask about.")
        elif not (pane.has_mark or self.focused_pane is pane):
            self.go_to(pane.title)
            self.app.say("Go to a token, or mark some: f begins and ends a span; then w asks where it comes from.")
        else:
            return Asked(*pane.asked, *self.model_at_hand())
        return None

    @work(exclusive=True, group="ask", name="ask where from")
    async def _ask_where_from(self, asked: Asked, changes: str) -> None:
        """Start a run that answers, and look at it."""
        from ..deeds import ask_where_from
        from .influence import InfluenceScreen

        home = self.app.home
        try:
            run = await self.app.in_thread(ask_where_from, home, asked.model, asked.text, asked.span, changes)
        except LmwbError as error:
            self.app.say(str(error), error=True)
            return
        if asked.note:
            self.app.say(asked.note)
        self.app.push_screen(InfluenceScreen(run))
