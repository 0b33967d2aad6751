"""The home screen: what is running, does it go well, what does the model say?

The screen owns the state (what is selected, which tab, which sample); the panes only show it. What the
history says arrives as `Seen`, from a thread; nothing here waits.
"""

from collections.abc import Callable
from dataclasses import replace

from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Input

from ...core.errors import LmwbError
from ...core.history.queries import OPEN_STATES, Run
from ...core.home import Home
from .. import deeds
from ..actions import bindings_of
from ..quirks import send_spans_only
from ..watcher import Detail, Request, Seen
from ..widgets.bars import KeysBar
from ..widgets.runs import MOST_MARKED, RunsPane
from .beside import company, wanted_beside
from .home_panes import HomePanes


class HomeScreen(HomePanes, inherit_bindings=False):
    """Runs, curves, tokens, and the text around them."""

    BINDINGS = bindings_of("home")

    def __init__(self) -> None:
        super().__init__()
        send_spans_only(self)
        self.request = Request()
        self._parent_id: int | None = None
        self._going_to: tuple[int, str, int] | None = None

    def compose(self) -> ComposeResult:
        """Title, panes, keys."""
        yield self.title_bar
        yield self.board
        yield KeysBar("home")

    def on_mount(self) -> None:
        """Begin with the runs."""
        self.set_focus(self.runs)

    # -- news -------------------------------------------------------------------------------------

    def show(self, seen: Seen) -> None:
        """The history has changed, or was asked about something else."""
        self.title_bar.show(seen.runs)
        self.runs.show(seen.runs)
        self._ask_for_others()
        if seen.detail is None or seen.detail.run.id == self.request.run_id:
            self._show_detail(seen.detail)

    def _show_detail(self, detail: Detail | None) -> None:
        self.curves.show(detail, company(self.runs.runs, self.runs.selected, self.runs.marked))
        self.tokens.show(detail, following=self.request.step is None)
        for pane in self.texts:
            pane.show(detail)
        if detail and self.request.metrics != self.curves.wanted():
            self._ask(metrics=self.curves.wanted())

    @on(RunsPane.Selected)
    def _another_run(self, message: RunsPane.Selected) -> None:
        run = message.run
        self.curves.mark(None)
        sibling = run is not None and run.parent_id is not None and run.parent_id == self._parent_id
        self._parent_id = run and (run.parent_id or run.id)
        stage = self.request.stage if sibling else None
        self._ask(run_id=run.id if run else None, step=None, stage=stage, others=self._wanted_beside())
        self._arrive()

    def _ask(self, **changes: object) -> None:
        """Want something else from the history."""
        self.request = replace(self.request, **changes)  # type: ignore[arg-type]
        self.app.ask(self.request)

    # -- several runs -----------------------------------------------------------------------------

    def _wanted_beside(self) -> tuple[int, ...]:
        return wanted_beside(self.runs.runs, self.runs.selected, self.runs.marked)

    def _ask_for_others(self) -> None:
        if self.request.others != (wanted := self._wanted_beside()):
            self._ask(others=wanted)

    def action_fold(self) -> None:
        """Show or hide the members of the selected run."""
        self.runs.fold()

    def action_mark(self) -> None:
        """Mark the selected run, or take its mark away; go on to the next."""
        if not self.runs.mark():
            self.app.say(f"{MOST_MARKED} runs are marked; more cannot be told apart. M takes all marks away.")
            return
        self._ask_for_others()
        if self.app.seen.detail:
            self._show_detail(self.app.seen.detail)

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.runs.unmark()
        self._ask_for_others()

    def action_compare(self) -> None:
        """Compare the marked runs, or the stages of the selected one over its members."""
        from .compare import CompareScreen

        run = self.runs.selected
        chosen = [one for one in self.runs.runs if one.id in self.runs.marked] or ([run] if run else [])
        if chosen:
            self.app.push_screen(CompareScreen(chosen))
        else:
            self.app.say("There is no run to compare.")

    def action_lab(self) -> None:
        """Let the selected run's model speak, from the prompt of the sample that is shown."""
        from ..lab import opening_of
        from .lab import LabScreen

        detail = self.app.seen.detail
        self.app.push_screen(LabScreen(opening_of(detail, following=self.request.step is None)))

    # -- where from -------------------------------------------------------------------------------

    def model_at_hand(self) -> tuple[str, str]:
        """The model that said the sample, as near as there is one."""
        from ..lab import opening_of

        opening = opening_of(self.app.seen.detail, following=self.request.step is None)
        return opening.model, opening.note

    def action_where_from(self) -> None:
        """Ask about the sample, if that is what one looks at; else look at the selected run's answer, if it has one."""
        from ..influence import stage_of
        from .influence import InfluenceScreen

        run, detail = self.runs.selected, self.app.seen.detail
        at_text = self.tokens.asked is not None and (self.tokens.has_mark or self.focused_pane is self.tokens)
        known = detail if run is not None and detail is not None and detail.run.id == run.id else None
        if run is not None and known is not None and not at_text and (stage := stage_of(known)):
            self.app.push_screen(InfluenceScreen(run, stage))
        else:
            super().action_where_from()

    def look_at(self, run: Run, stage: str, step: int) -> None:
        """Go to a step in a run's curves."""
        self.runs.sift("")
        self._going_to = run.id, stage, step
        self.runs.reveal(run.id)
        if self.request.run_id == run.id:
            self._arrive()
        self.go_to("Curves")

    def _arrive(self) -> None:
        """The run that one wanted to go to is selected: go to its step."""
        wanted, self._going_to = self._going_to, None
        if wanted is not None and wanted[0] == self.request.run_id:
            self._ask(stage=wanted[1], step=wanted[2])
            self.curves.mark(wanted[2])

    # -- runs -------------------------------------------------------------------------------------

    async def action_new(self) -> None:
        """Choose a recipe; go to the run that it starts."""
        from .recipes import RecipesScreen

        def launched(run: Run | None) -> None:
            if run is not None:
                self._follow(run)

        self.app.push_screen(RecipesScreen(), launched)

    @work(name="stop")
    async def action_stop(self) -> None:
        """Ask, then stop the selected run."""
        from .confirm import Confirm

        run = self.runs.selected
        if run is None or run.state not in OPEN_STATES:
            self.app.say("The selected run is not running." if run else "There is no run to stop.")
            return
        question = "It writes a checkpoint and ends; r goes on with it later."
        if await self.app.push_screen_wait(Confirm("Stop", run.name, question)):
            await self._carry_out(deeds.stop, run, f"{run.name} writes a checkpoint and stops.")

    @work(name="resume")
    async def action_resume(self) -> None:
        """Go on with the selected run."""
        run = self.runs.selected
        if run is None:
            self.app.say("There is no run to resume.")
        else:
            await self._carry_out(deeds.resume, run, f"{run.name} goes on where it was.")

    async def _carry_out(self, deed: Callable[[Home, Run], object], run: Run, done: str) -> None:
        """Do something to a run in a thread, and tell how it went."""
        try:
            await self.app.in_thread(deed, self.app.home, run)
        except LmwbError as error:
            self.app.say(str(error), error=True)
        else:
            self.app.say(done)
            self.app.ask(self.request, at_once=True)

    def _follow(self, run: Run) -> None:
        """Select a run that has just begun."""
        self.runs.sift("")
        self.app.ask(self.request, at_once=True)
        self.runs.expect(run.id)

    # -- filter -----------------------------------------------------------------------------------

    async def action_filter(self) -> None:
        """Type words that a run must have."""
        from ..widgets.entry import Entry

        if not self.query(Entry):
            self.query_one(KeysBar).display = False
            entry = Entry("filter runs: ", self.runs.filter)
            await self.mount(entry)
            self.set_focus(entry)

    @on(Input.Changed)
    def _sift(self, message: Input.Changed) -> None:
        self.runs.sift(message.value)

    @on(Input.Submitted)
    async def _sifted(self) -> None:
        await self._end_filter()

    async def _end_filter(self) -> None:
        from ..widgets.entry import Entry

        await self.query(Entry).remove()
        self.query_one(KeysBar).display = True
        self.set_focus(self.runs)

    async def action_back(self) -> None:
        """One step back: from typing, from the filter, from the zoom, from the marked step."""
        from ..widgets.entry import Entry

        if await self.end_question() or self.tokens.unmark():
            return
        if self.query(Entry):
            self.runs.sift("")
            await self._end_filter()
        elif self.runs.filter:
            self.runs.sift("")
        elif self.board.zoomed:
            self.board.zoom(None)
        else:
            self.go_to_step(None)

    # -- pictures ---------------------------------------------------------------------------------

    def action_next_metric(self) -> None:
        """Another group of curves."""
        self._turn_metric(1)

    def action_previous_metric(self) -> None:
        """The group of curves before."""
        self._turn_metric(-1)

    def _turn_metric(self, by: int) -> None:
        self.curves.turn(by)
        self._ask(metrics=self.curves.wanted())

    def action_next_stage(self) -> None:
        """The next of the run's stages."""
        self._turn_stage(1)

    def action_previous_stage(self) -> None:
        """The stage before."""
        self._turn_stage(-1)

    def _turn_stage(self, by: int) -> None:
        """Another stage in curves, tokens and details; it begins after the last again."""
        detail = self.app.seen.detail
        if detail is None or len(detail.stage_names) < 2:
            self.app.say("The selected run has one stage only." if detail else "There is no run.")
            return
        place = detail.stage_names.index(detail.stage_name) + by
        self.curves.mark(None)
        self._ask(stage=detail.stage_names[place % len(detail.stage_names)], step=None)

    def action_earlier_sample(self) -> None:
        """One sampling back."""
        self.go_to_step(self.tokens.neighbour(-1))

    def action_later_sample(self) -> None:
        """One sampling on; after the last, follow the training."""
        self.go_to_step(self.tokens.neighbour(1))

    def action_next_prompt(self) -> None:
        """The next prompt, the first after the last."""
        self._ask(prompt=self.tokens.next_prompt())

    def action_now(self) -> None:
        """Back to the latest step."""
        self.go_to_step(None)

    def go_to_step(self, step: int | None) -> None:
        """Look at one moment of the training, in curves and tokens; None follows the latest."""
        if step != self.request.step:
            self._ask(step=step)
            self.curves.mark(step)

    # -- the app ----------------------------------------------------------------------------------

    def action_theme(self) -> None:
        """Light or dark."""
        self.app.turn_light()
        for pane in (self.title_bar, self.query_one(KeysBar), *self.panes.values()):
            pane.repaint()

    def action_quit(self) -> None:
        """Leave."""
        self.app.exit()
