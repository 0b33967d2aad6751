"""Where does this come from? How a run that was asked goes on, and its answer: the training rows, their tokens, and the
steps that saw them.

The screen owns what is looked at; panes show it. The answer is read in a thread, once the run has it.
"""

import sqlite3
from collections.abc import Callable

from textual import on, work
from textual.app import ComposeResult

from ...core.errors import LmwbError
from ...core.history.queries import OPEN_STATES, Run
from ...core.home import Home
from .. import deeds
from ..actions import bindings_of
from ..influence import Answered, Look, read_answer
from ..quirks import send_spans_only
from ..widgets.bars import KeysBar
from ..widgets.influence_batch import BatchPane
from ..widgets.influence_lists import ProfilePane, RowsPane
from ..widgets.influence_texts import AskedPane, RowPane
from ..widgets.influence_work import InfluenceBar, WorkPane
from ..widgets.pane import Pane
from .influence_board import ASKED, BATCH, PROFILE, ROW, ROWS, WORK, InfluenceBoard
from .panes import BoardScreen

_LOOK_SECONDS = 1.0


class InfluenceScreen(BoardScreen[None], inherit_bindings=False):
    """One run's answer."""

    BINDINGS = bindings_of("influence")

    def __init__(self, run: Run, stage: str = ""):
        """Look at a run.

        Args:
            run: the run.
            stage: which of its stages answers; the last one of that kind if empty.
        """
        super().__init__()
        send_spans_only(self)
        self._run, self._stage = run, stage
        self._answered = Answered(run)
        self._look: Look | None = None
        self._known: object = None
        self._bar, self._work = InfluenceBar(), WorkPane()
        self._rows, self._asked, self._row = RowsPane(), AskedPane(), RowPane()
        self._batch, self._profile = BatchPane(), ProfilePane()
        on_board = (self._work, self._rows, self._asked, self._row, self._batch, self._profile)
        self.panes: dict[str, Pane] = {pane.title: pane for pane in on_board}
        self.board = self._places = InfluenceBoard(on_board)

    def compose(self) -> ComposeResult:
        """Title, panes, keys."""
        yield self._bar
        yield self.board
        yield KeysBar("influence")

    def on_mount(self) -> None:
        """Look at once, and then now and again whether the run has gone on."""
        self.set_focus(self._work)
        self.app.look_again()
        self._watch()
        self.set_interval(_LOOK_SECONDS, self._watch)

    @property
    def focused_pane(self) -> Pane:
        """The pane that the keys act on."""
        return self.focused if isinstance(self.focused, Pane) else self.panes[ROWS if self._look else WORK]

    # -- looking ----------------------------------------------------------------------------------

    def action_see_batch(self) -> None:
        """To the batch that saw the selected row."""
        self._open(BATCH)

    def action_other_end(self) -> None:
        """The worst rows, or the best."""
        self._change(Look.to_other_end)

    def action_next_strategy(self) -> None:
        """What another strategy says."""
        if self._look is not None and len(self._look.strategies) < 2:
            self.app.say('There is one strategy only; W asks with several: strategies=["ekfac", "identity"].')
        self._change(lambda look: look.to_strategy(1))

    def action_next_query(self) -> None:
        """The next query."""
        self._change(lambda look: look.to_query(1))

    def action_previous_query(self) -> None:
        """The query before."""
        self._change(lambda look: look.to_query(-1))

    def action_later_time(self) -> None:
        """The next time that the row was seen."""
        self._change(lambda look: look.to_time(1))

    def action_earlier_time(self) -> None:
        """The time before."""
        self._change(lambda look: look.to_time(-1))

    def action_see_run(self) -> None:
        """Back to the runs, to the step in the curves of the run that was asked."""
        seen, asked = self._look and self._look.seen, self._answered.asked_run
        if self._look is None or seen is None:
            self.app.say("It is not known which step saw the row.")
        elif asked is None:
            self.app.say("The run that was asked is no longer there.")
        else:
            self.app.show_step(asked, self._look.report.of.partition("/")[2], seen[0])

    @on(RowsPane.Walked)
    def _walk_rows(self, message: RowsPane.Walked) -> None:
        self._change(lambda look: look.to_rank(message.by))

    def _change(self, how: Callable[[Look], Look]) -> None:
        """Look at something else."""
        if self._look is not None:
            self._look = how(self._look)
            self._show_look(self._look)

    # -- moving -----------------------------------------------------------------------------------

    def action_move_left(self) -> None:
        """Left in the pane."""
        self.focused_pane.slide(-1)

    def action_move_right(self) -> None:
        """Right in the pane."""
        self.focused_pane.slide(1)

    def action_pane_rows(self) -> None:
        """To the rows."""
        self._open(ROWS)

    def action_pane_asked(self) -> None:
        """To what is asked about."""
        self._open(ASKED)

    def action_pane_row(self) -> None:
        """To the row's tokens."""
        self._open(ROW)

    def action_pane_batch(self) -> None:
        """To the batch."""
        self._open(BATCH)

    def action_pane_profile(self) -> None:
        """To what the work took."""
        self._open(PROFILE)

    def action_zoom(self) -> None:
        """The whole screen for the focused pane, or back."""
        if self._look is not None:
            super().action_zoom()

    def _open(self, title: str) -> None:
        if self._look is None:
            self.app.say("There is no answer yet.")
        else:
            self.go_to(title)

    # -- the run ----------------------------------------------------------------------------------

    @work(name="stop")
    async def action_stop_asking(self) -> None:
        """Stop the work, after a question."""
        from .confirm import Confirm

        run = self._run
        if run.state not in OPEN_STATES:
            self.app.say("The run is not at work.")
        elif await self.app.push_screen_wait(Confirm("Stop", run.name, "Finished parts are kept; r goes on later.")):
            await self._carry_out(deeds.stop, run)

    @work(name="resume")
    async def action_resume_asking(self) -> None:
        """Let the work go on."""
        await self._carry_out(deeds.resume, self._run)

    async def _carry_out(self, deed: Callable[[Home, Run], object], run: Run) -> None:
        try:
            await self.app.in_thread(deed, self.app.home, run)
        except LmwbError as error:
            self.app.say(str(error), error=True)
        else:
            self.app.look_again()

    async def action_close(self) -> None:
        """One step back: from the zoom; then to where one came from."""
        if self.board.zoomed:
            self.board.zoom(None)
        else:
            self.dismiss(None)

    # -- news -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Show how the run is; read again if it has gone on to another stage or has ended."""
        self._run = next((run for run in self.app.seen.runs if run.id == self._run.id), self._run)
        if self._look is None:
            self._work.show(self._run, self._answered.trouble if self._run.state not in OPEN_STATES else "")
            self._bar.show(self._run, None)
        state = (self._run.state, self._run.stage_id)
        if state != self._known:
            self._known = state
            self._read()

    @work(exclusive=True, name="read an answer")
    async def _read(self) -> None:
        try:
            self._answered = await self.app.in_thread(read_answer, self.app.home, self._run.id, self._stage)
        except (LmwbError, sqlite3.Error, OSError) as error:
            self._answered = Answered(self._run, trouble=str(error))
        report = self._answered.report
        if report is None:
            self._work.show(self._answered.run, self._answered.trouble)
            return
        self._look = Look(report)
        self._places.answered = True
        self._show_look(self._look)
        self.go_to(ROWS)

    def _show_look(self, look: Look) -> None:
        self._bar.show(self._run, look)
        for pane in (self._rows, self._asked, self._row, self._profile):
            pane.show(look)
        self._batch.show(look, self._answered)
