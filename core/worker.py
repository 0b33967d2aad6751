"""The process that does a run's work: reads the frozen recipe and walks through its stages.

It is started by the supervisor and holds the run's lock for as long as it lives. SIGTERM and SIGINT ask
it to write a checkpoint and end.
"""

import os
import signal
import sys
import traceback
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .children import ProcessEnded
from .crew import Crew
from .errors import ExitCode, LmwbError, Stopped, TrainingError, ValueInRecipeError
from .history.database import open_database
from .history.ledger import Outcome, begin_stage, describe_environment, end_attempt, end_stage
from .history.liveness import keep_from_children
from .history.queries import History, Run
from .history.recorder import Recorder
from .history.tensorboard import EventFiles, check_installed
from .home import Home
from .recipe import Recipe, origins, thaw
from .recipe.schema import (
    STUDIES,
    TRAIN_STAGES,
    AugmentStage,
    CompareStage,
    CounterfactualStage,
    DatamodelStage,
    EvaluateStage,
    GainStage,
    GenerateStage,
    InfluenceStage,
    PredictStage,
    Stage,
    Study,
)
from .references import resolved
from .runs import comparisons
from .stages.context import StageContext, StagePlace
from .supervisor import STOP_SIGNALS


def main(arguments: list[str]) -> int:
    """Do one attempt: HOME UID RUN_ID ATTEMPT_ID LOCK_DESCRIPTOR; returns the exit code."""
    root, uid, run_id, attempt_id, lock = arguments
    keep_from_children(int(lock))
    home = Home(Path(root))
    stop = _StopSwitch()
    with closing(open_database(home)) as connection:

        def end(outcome: Any, code: int, message: str | None = None) -> int:
            end_attempt(connection, int(attempt_id), outcome, exit_code=code, message=message)
            return code

        recorder = Recorder(home, int(run_id), int(attempt_id), warn=partial(print, flush=True))
        try:
            _Attempt(home, uid, int(attempt_id), connection, recorder, stop).work()
        except LmwbError as error:
            _tell_end(recorder, error)
            code = end(_outcome(error), error.exit_code, str(error))
            if isinstance(error, ProcessEnded):  # a sum begun with it may keep the interpreter from ending
                os._exit(code)
            return code
        except Stopped:
            recorder.close()
            return end("stopped", ExitCode.RUN_STOPPED)
        except BaseException as error:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
            recorder.event("error", message, "error")
            recorder.close()
            return end("failed", ExitCode.BUG, message)
        recorder.close()
        return end("finished", ExitCode.OK)


def _tell_end(recorder: Recorder, error: LmwbError) -> None:
    print(f"error: {error}", flush=True)
    recorder.event("error", str(error), "error")
    recorder.close()


def _outcome(error: LmwbError) -> Outcome:
    return "killed" if error.exit_code == ExitCode.RUN_DIED else "failed"


class _StopSwitch:
    """Remembers that somebody asked the run to stop."""

    def __init__(self) -> None:
        self.wanted = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the supervisor held them back

    def _ask(self, *_: object) -> None:
        self.wanted = True


class _Attempt:
    """The walk through the stages."""

    def __init__(self, home: Home, uid: str, attempt_id: int, connection: Any, recorder: Recorder, stop: _StopSwitch):
        self._home = home
        with closing(History(home)) as history:
            self._run: Run = history.find(uid)
            self._stages = history.stages(self._run.id)
            self._recipe_toml = history.recipe(self._run.id)
            recipe_path = history.recipe_path(self._run.id)
        self._code = Path.cwd() if recipe_path is None else recipe_path.parent
        self._attempt_id = attempt_id
        self._connection = connection
        self._recorder = recorder
        self._stop = stop
        self._crew: Crew | None = None

    def work(self) -> None:
        recipe = thaw(self._recipe_toml)
        self._check_tensorboard(recipe)
        if recipe.has_members:
            self._do_members(recipe)
        else:
            self._do_stages(recipe)

    def _do_stages(self, recipe: Recipe) -> None:
        from .device import choose_device, device_name
        from .models.loading import quiet
        from .training.distribution import device_of, share_cores, team_size

        quiet()
        device = choose_device(recipe.device)
        size = team_size(recipe.processes, recipe.device)
        if size > 1:
            device = device_of(0, device)
            share_cores(size, device)
        self._describe(device_name(device) if size == 1 else f"{size} processes, the first on {device_name(device)}")
        with closing(Crew(self._home, self._run.uid, size, device, self._give_up)) as self._crew:
            for position, entry in enumerate(self._stages):
                if entry.outcome != "finished":
                    stage = resolved(recipe, position, self._run.folder, self._home)
                    self._do(position, stage, entry.id, recipe, device)

    def _do_members(self, recipe: Recipe) -> None:
        """Run the members and compare them, anew in every attempt; needs no torch."""
        from .experiment import Experiment, make_slots
        from .recipe import members

        slots = make_slots(recipe)
        self._describe(f"members, {len(slots)} at a time")
        wanted = lambda: self._stop.wanted  # noqa: E731
        experiment = Experiment(self._home, self._run, members.read(self._run.folder), slots, self._recorder, wanted)
        unfinished = experiment.run()
        places = {stage.name: position for position, stage in enumerate(recipe.stage)}
        for entry, stage in zip(self._stages, comparisons(recipe), strict=True):
            self._do(places.get(stage.name, 0), stage, entry.id, recipe, None)
        if unfinished is not None:
            raise TrainingError(unfinished)

    def _describe(self, device: str) -> None:
        from .environment import describe

        facts, diff = describe(self._code, device)
        describe_environment(self._connection, self._attempt_id, facts, diff)
        print(f"lmwb {facts['packages']['lmwb']}  run {self._run.uid}  on {facts['device']}", flush=True)

    def _do(self, position: int, stage: Stage, stage_id: int, recipe: Recipe, device: Any) -> None:
        if self._stop.wanted:
            raise Stopped
        folder = self._run.folder / stage.name
        events = self._event_files() if recipe.log.tensorboard else None

        def begin(total: int | None, after: int) -> None:
            begin_stage(self._connection, stage_id, total, self._attempt_id, after)
            if events is not None:
                events.open(folder, after)

        place: dict[str, Any] = {
            "stage_id": stage_id,
            "run_folder": self._run.folder,
            "folder": folder,
            "recorder": self._recorder,
            "begin": begin,
            "stop_wanted": lambda: self._stop.wanted,
        }
        try:
            if isinstance(stage, CompareStage):
                from .stages import compare

                if not recipe.has_members:  # a run with members goes on to tell how many are through
                    self._recorder.progress(stage_id, 0, None, "comparing")
                summary = compare.run(stage, StagePlace(**place), self._home, self._run)
            else:
                context = StageContext(**place, cache=self._home.cache, seed=recipe.seed, device=device)
                summary = self._work_of(position, stage, context)
        except ValueInRecipeError as error:
            raise origins.blame(origins.read(self._run.folder), position, error) from None
        finally:
            if events is not None:
                events.close()
        self._recorder.flush()
        end_stage(self._connection, stage_id, summary)

    def _work_of(self, position: int, stage: Stage, context: StageContext) -> dict[str, Any]:
        """Do a stage's work; returns its results."""
        if isinstance(stage, AugmentStage):
            from .stages import augment

            return augment.run(stage, context, self._home)
        if isinstance(stage, PredictStage):
            from .stages import predict

            return predict.run(stage, context, self._home)
        if isinstance(stage, GainStage):
            from .stages import information_gain

            return information_gain.run(stage, context)
        if isinstance(stage, GenerateStage):
            from .stages import generate

            return generate.run(stage, context, self._home)
        if isinstance(stage, EvaluateStage):
            from .stages import evaluate

            return evaluate.run(stage, context, self._home)
        if isinstance(stage, STUDIES):
            return self._study(stage, context)
        assert self._crew is not None
        if isinstance(stage, InfluenceStage):
            from .stages import influence

            with self._crew.at_work(position) as team:
                return influence.run(stage, replace(context, team=team), self._home)
        assert isinstance(stage, TRAIN_STAGES)
        from .stages import train

        with self._crew.at_work(position) as team:
            return train.run(stage, replace(context, team=team))

    def _study(self, stage: Study, context: StageContext) -> dict[str, Any]:
        """Test whether influence's scores are true; returns the results."""
        if isinstance(stage, DatamodelStage):
            from .stages import datamodel

            return datamodel.run(stage, context, self._home)
        if isinstance(stage, CounterfactualStage):
            from .stages import counterfactual

            return counterfactual.run(stage, context, self._home)
        from .stages import half_precision

        return half_precision.run(stage, context, self._home)

    def _give_up(self, error: ProcessEnded) -> None:
        """End this process, which waits in vain for another one of the team; from another thread."""
        _tell_end(self._recorder, error)
        with closing(open_database(self._home)) as connection:
            end_attempt(connection, self._attempt_id, _outcome(error), exit_code=error.exit_code, message=str(error))
        os._exit(error.exit_code)

    def _event_files(self) -> EventFiles:
        events = EventFiles()
        self._recorder.also = events.add
        return events

    def _check_tensorboard(self, recipe: Recipe) -> None:
        if recipe.log.tensorboard:
            check_installed(origins.read(self._run.folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
