"""What a training stage keeps on disk: checkpoints to go on from, and its result."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MachineError, TrainingError, ValueInRecipeError
from ..models.storage import load_weights, save_model, stored_weights
from ..recipe.schema import TrainStage
from ..training import checkpoints
from ..training.loop import Loop
from .context import StageContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Facts:
    """What a checkpoint remembers besides weights and optimiser.

    Attributes:
        rows: a fingerprint of the training rows.
        best_step, best_value: the best weights so far; lower values are better.
        first: the figures before training, by part.
        bad_steps: skipped because something was not finite.
        tokens: read in all.
        seconds: spent on steps, evaluations left out.
        peak_bytes: the most memory that the training held, of the device, or of the process on a CPU; of several
            processes, the first one's.
        processes: that trained together.
    """

    rows: str
    best_step: int | None = None
    best_value: float | None = None
    first: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    bad_steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    processes: int = 1


class Keeper:
    """Saves, prunes and takes up checkpoints; writes the result."""

    def __init__(
        self,
        stage: TrainStage,
        context: StageContext,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase | None",
        loop: Loop,
        facts: Facts,
    ):
        """`model` is the one that `loop` trains."""
        self._settings = stage.train
        self._context = context
        self._model = model
        self._tokenizer = tokenizer
        self._loop = loop
        self._facts = facts
        self._folder = context.folder / "checkpoints"
        self._last_saved: int | None = None

    def check_space(self) -> None:
        """Refuse to start what the disk cannot hold.

        Raises:
            ValueInRecipeError: it cannot.
        """
        stored = stored_weights(self._model)
        trained = sum(weight.numel() for weight in self._model.parameters() if weight.requires_grad)
        need = checkpoints.expected_bytes(stored, trained, self._settings) * (self._settings.keep + 2) + 4 * stored
        self._context.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._context.folder).free
        if free < need:
            raise ValueInRecipeError(
                "train.keep",
                f"{self._settings.keep + 2} checkpoints and the result need {need / 2**20:,.0f} MiB, the disk has "
                f"{free / 2**20:,.0f} MiB free; lower 'keep' or choose another home",
            )

    def take_up(self, resumed: checkpoints.Saved) -> int:
        """Give model and loop the state of a checkpoint; returns the step after which it was made.

        Raises:
            TrainingError: the training rows have changed since.
        """
        load_weights(self._model, resumed.folder)
        known = checkpoints.facts_of(resumed.folder)["facts"]
        if known["rows"] != self._facts.rows:
            raise TrainingError(
                "the training data is not what it was when the checkpoint was made; restore it, or start a new run"
            )
        vars(self._facts).update(known)
        self._loop.load_state(checkpoints.state_of(resumed.folder))
        self._last_saved = resumed.step
        return resumed.step

    def save(self, step: int) -> None:
        """Write a checkpoint; a full disk costs older ones, and if that is not enough, this one."""
        if self._last_saved == step:
            return
        self._context.recorder.flush()  # a run that resumes here measures what comes after, not what came before
        try:
            saved = self._write(step)
        except OSError as error:
            self._context.tell(f"no checkpoint: {error.strerror}; trying again", step, "checkpoint", "warning")
            self._prune(keep=1)
            try:
                saved = self._write(step)
            except OSError as again:
                text = f"no checkpoint: {again.strerror}; the run goes on and tries again at the next one"
                self._context.tell(text, step, "checkpoint", "error")
                return
        self._last_saved = step
        best = self._facts.best_step == step
        self._context.recorder.checkpoint(
            self._context.stage_id,
            step,
            str(saved.folder.relative_to(self._context.run_folder)),
            saved.size,
            best,
            {f"validation/{self._settings.best}": self._facts.best_value}
            if best and self._facts.best_value is not None
            else {},
        )
        self._prune(self._settings.keep)

    def take_weights(self, chosen: int, last: int) -> None:
        """Give the model the weights of step `chosen`; it has those of step `last`."""
        if chosen != last:
            folder = self._folder / f"step-{chosen:06d}"
            load_weights(self._model, folder)
            self._loop.load_methods(checkpoints.state_of(folder))

    def write_result(self) -> Path:
        """Write the model as the stage's result; returns its folder.

        Raises:
            MachineError: the disk does not take it.
        """
        target = self._context.folder / "model"
        unfinished = target.with_name(f".unfinished-{target.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            self._write_model(unfinished)
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
        except OSError as error:
            raise MachineError(f"cannot write the result {target}: {error.strerror}") from None
        return target

    def _write(self, step: int) -> checkpoints.Saved:
        facts: dict[str, Any] = {"facts": vars(self._facts)}
        return checkpoints.save(self._folder, step, self._write_model, self._loop.state(), facts)

    def _write_model(self, folder: Path) -> None:
        save_model(self._model, self._tokenizer, folder)

    def _prune(self, keep: int) -> None:
        best = self._facts.best_step if self._settings.result == "best" else None
        for removed in checkpoints.prune(self._folder, keep, best):
            path = str(removed.relative_to(self._context.run_folder))
            self._context.recorder.checkpoint_deleted(self._context.stage_id, path)
