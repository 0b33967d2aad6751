"""The process that does a run's work: reads the frozen recipe and walks through its stages.

It is started by the supervisor and holds the run's lock for as long as it lives. SIGTERM and SIGINT ask
it to write a checkpoint and end.
"""

import signal
import sys
import traceback
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from .errors import ExitCode, LmwbError, Stopped, ValueInRecipeError
from .history.database import open_database
from .history.ledger import begin_stage, describe_environment, end_attempt, end_stage
from .history.liveness import keep_from_children
from .history.queries import History, Run
from .history.recorder import Recorder
from .home import Home
from .recipe import Recipe, origins, thaw
from .recipe.schema import CompareStage
from .references import resolved
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
            print(f"error: {error}", flush=True)
            recorder.event("error", str(error), "error")
            recorder.close()
            return end("failed", error.exit_code, str(error))
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

    def work(self) -> None:
        from .device import choose_device, device_name
        from .environment import describe
        from .models.loading import quiet

        quiet()
        recipe = thaw(self._recipe_toml)
        device = choose_device(recipe.device)
        facts, diff = describe(self._code, device_name(device))
        describe_environment(self._connection, self._attempt_id, facts, diff)
        print(f"lmwb {facts['packages']['lmwb']}  run {self._run.uid}  on {facts['device']}", flush=True)
        for position, entry in enumerate(self._stages):
            if entry.outcome != "finished":
                self._do(recipe, position, entry.id, device)

    def _do(self, recipe: Recipe, position: int, stage_id: int, device: Any) -> None:
        from .stages import compare, train
        from .stages.context import StageContext

        if self._stop.wanted:
            raise Stopped
        stage = resolved(recipe, position, self._run.folder, self._home)
        context = StageContext(
            stage_id=stage_id,
            run_folder=self._run.folder,
            folder=self._run.folder / stage.name,
            cache=self._home.cache,
            seed=recipe.seed,
            device=device,
            recorder=self._recorder,
            begin=lambda total, after: begin_stage(self._connection, stage_id, total, self._attempt_id, after),
            stop_wanted=lambda: self._stop.wanted,
            tensorboard=recipe.log.tensorboard,
        )
        try:
            if isinstance(stage, CompareStage):
                summary = compare.run(stage, context, self._home, self._run)
            else:
                summary = train.run(stage, context)
        except ValueInRecipeError as error:
            raise origins.blame(origins.read(self._run.folder), position, error) from None
        self._recorder.flush()
        end_stage(self._connection, stage_id, summary)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
