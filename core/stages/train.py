"""The stage that trains a model."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..decoding.sampling import complete
from ..errors import MachineError, Stopped, TrainingError, ValueInRecipeError
from ..models.causal import save_model
from ..recipe.schema import TrainStage
from ..training import checkpoints
from ..training.evaluation import evaluate
from ..training.loop import Loop, Step
from ..training.objectives import CausalLM
from ..training.randomness import derived_seed
from .context import StageContext
from .preparation import Prepared, prepare

_REPORT_SECONDS = 0.25
"""Measurements are fetched from the device this often: each fetch waits for it."""


def run(stage: TrainStage, context: StageContext) -> dict[str, Any]:
    """Train, or go on training from the newest whole checkpoint; returns the stage's results.

    Raises:
        ValueInRecipeError: the recipe does not fit the data, the model or the disk.
        TrainingError: training cannot go on.
        Stopped: the user asked for it; a checkpoint holds everything.
    """
    return _Training(stage, context).run()


@dataclass
class _Facts:
    """What a checkpoint remembers besides weights and optimiser."""

    rows: str  # a fingerprint of the training rows
    best_step: int | None = None
    best_loss: float | None = None
    first: dict[str, float] = field(default_factory=dict[str, float])  # the first evaluation
    bad_steps: int = 0
    tokens: int = 0


class _Training:
    def __init__(self, stage: TrainStage, context: StageContext):
        self._stage = stage
        self._settings = stage.train
        self._context = context
        self._checkpoints = context.folder / "checkpoints"
        resumed = checkpoints.newest(self._checkpoints, context.tell)
        if resumed is not None:
            context.tell(f"going on from checkpoint {resumed.folder.name}")
        checkpoint = None if resumed is None else resumed.folder
        self._ready: Prepared = prepare(stage, context.seed, context.tell, checkpoint)
        self._facts = _Facts(rows=self._ready.rows.train.fingerprint)
        self._model = self._ready.model.to(context.device)  # pyright: ignore[reportArgumentType]
        self._plan = self._ready.plan
        self._loop = Loop(self._model, CausalLM(self._ready.rows.train), self._settings, self._plan, context.device)
        self._after = 0
        self._last_saved: int | None = None
        self._began_at: float | None = None  # the first step of this attempt, on the monotonic clock
        self._began_after = 0
        if resumed is not None:
            self._take_up(resumed)
        self._measured: list[Step] = []
        self._reported_at = 0.0
        self._bad_in_a_row = 0

    def run(self) -> dict[str, Any]:
        self._check_space()
        self._context.begin(self._plan.total, self._after)
        self._progress(self._after)
        if self._after == 0:
            self._look(0)
        self._began_at, self._began_after = time.monotonic(), self._after
        for step in self._loop.steps(self._after):
            self._measured.append(step)
            self._facts.tokens += step.tokens
            if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
                self._report()
            self._after_step(step.number)
        self._report()
        return self._finish()

    # -- after each step --------------------------------------------------------------------------

    def _after_step(self, step: int) -> None:
        last = step == self._plan.total
        improved = False
        if last or step % self._eval_every == 0:
            self._report()
            improved = self._look(step)
        elif self._is_due(step, self._stage.sample.every):
            self._report()
            self._sample(step)
        stop = self._context.stop_wanted() and not last
        if last or stop or improved or step % (self._settings.checkpoint_every or self._eval_every) == 0:
            self._report()
            self._save(step)
        if stop:
            self._context.tell("stopped as asked; a checkpoint holds everything", step, "stopped")
            raise Stopped

    @property
    def _eval_every(self) -> int:
        return self._settings.eval_every or max(1, self._plan.total // 10)

    @staticmethod
    def _is_due(step: int, every: int | None) -> bool:
        return every is not None and step % every == 0

    def _report(self) -> None:
        """Fetch what was measured from the device, in one go, and record it."""
        self._reported_at = time.monotonic()
        if not self._measured:
            return
        steps, self._measured = self._measured, []
        numbers: Tensor = torch.stack([torch.stack([s.loss, s.gradient_norm.float(), s.bad.float()]) for s in steps])
        for step, (loss, norm, bad) in zip(steps, numbers.tolist(), strict=True):
            if step.number % self._settings.log_every == 0:
                self._context.recorder.metrics(
                    self._context.stage_id,
                    step.number,
                    {
                        "train/loss": loss,
                        "train/gradient_norm": norm,
                        "train/lr": step.learning_rate,
                        "train/tokens_per_second": step.tokens / step.seconds,
                    },
                )
            self._count_bad(step.number, bool(bad))
        self._progress(steps[-1].number)

    def _count_bad(self, step: int, bad: bool) -> None:
        """A step whose loss or gradient was not finite was skipped; several in a row end the run."""
        if not bad:
            self._bad_in_a_row = 0
            return
        self._bad_in_a_row += 1
        self._facts.bad_steps += 1
        context = self._context
        context.recorder.metrics(context.stage_id, step, {"train/bad_steps": float(self._facts.bad_steps)})
        context.tell("skipped: loss or gradient was not finite", step, "bad-step", "warning")
        if self._bad_in_a_row >= self._settings.max_bad_steps:
            rows = [row for micro in self._plan.micro_batches(step) for row in micro]
            raise TrainingError(
                f"step {step}: loss or gradient was not finite {self._bad_in_a_row} times in a row, last on the rows "
                f"{rows[:16]}; try a lower lr, a smaller clip, or precision 'fp32'"
            )

    def _progress(self, step: int, phase: str = "training") -> None:
        done = step - self._began_after
        speed = None if self._began_at is None or done == 0 else done / (time.monotonic() - self._began_at)
        self._context.recorder.progress(self._context.stage_id, step, self._plan.total, phase, speed)

    # -- looking at the model ---------------------------------------------------------------------

    def _look(self, step: int) -> bool:
        """Evaluate and sample; whether the validation loss is the lowest so far."""
        improved = False
        if self._ready.rows.validation is not None:
            self._progress(step, "evaluating")
            figures = self._figures("validation")
            self._context.recorder.metrics(
                self._context.stage_id, step, {f"validation/{name}": value for name, value in figures.items()}
            )
            improved = self._facts.best_loss is None or figures["loss"] < self._facts.best_loss
            if step == 0:
                self._facts.first = figures
                improved = False
            elif improved:
                self._facts.best_step, self._facts.best_loss = step, figures["loss"]
            self._context.tell(
                f"validation loss {figures['loss']:.4f}  perplexity {figures['perplexity']:.2f}"
                + ("  best so far" if improved else ""),
                step,
                "evaluation",
            )
        self._sample(step)
        self._progress(step)
        return improved and self._settings.result == "best"

    def _figures(self, part: str) -> dict[str, float]:
        rows = self._ready.rows.validation if part == "validation" else self._ready.rows.test
        assert rows is not None
        return evaluate(
            self._model,
            CausalLM(rows),
            len(rows),
            self._settings.eval_batch_size,
            self._context.device,
            self._settings.precision,
        )

    def _sample(self, step: int) -> None:
        """Let the model complete the recipe's prompts; each prompt draws alike at every step."""
        for index, prompt in enumerate(self._stage.sample.prompts):
            seed = derived_seed(self._context.seed, "sample", index)
            try:
                trace = complete(self._ready.model, self._ready.tokenizer, prompt, self._stage.sample, seed)
            except ValueError as error:
                self._context.tell(f"no sample: {error}", step, "sample", "warning")
                return
            self._context.recorder.sample(self._context.stage_id, step, index, prompt, trace)

    # -- what is kept -----------------------------------------------------------------------------

    def _check_space(self) -> None:
        """Refuse to start what the disk cannot hold."""
        parameters = sum(weight.numel() for weight in self._model.parameters())
        need = checkpoints.expected_bytes(parameters, self._settings) * (self._settings.keep + 2) + 4 * parameters
        self._context.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._context.folder).free
        if free < need:
            raise ValueInRecipeError(
                "train.keep",
                f"{self._settings.keep + 2} checkpoints and the result need {need / 2**20:,.0f} MiB, the disk has "
                f"{free / 2**20:,.0f} MiB free; lower 'keep' or choose another home",
            )

    def _save(self, step: int) -> None:
        """Write a checkpoint; a full disk costs older ones, and if that is not enough, this one."""
        if self._last_saved == step:
            return
        self._progress(step, "saving")
        self._context.recorder.flush()  # a run that resumes here measures what comes after, not what came before
        try:
            saved = self._write_checkpoint(step)
        except OSError as error:
            self._context.tell(f"no checkpoint: {error.strerror}; trying again", step, "checkpoint", "warning")
            self._prune(keep=1)
            try:
                saved = self._write_checkpoint(step)
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
            {"validation/loss": self._facts.best_loss} if best and self._facts.best_loss is not None else {},
        )
        self._prune(self._settings.keep)
        self._progress(step)

    def _write_checkpoint(self, step: int) -> checkpoints.Saved:
        return checkpoints.save(
            self._checkpoints, step, self._write_model, self._loop.state(), {"facts": vars(self._facts)}
        )

    def _write_model(self, folder: Path) -> None:
        save_model(self._ready.model, self._ready.tokenizer, folder)

    def _prune(self, keep: int) -> None:
        best = self._facts.best_step if self._settings.result == "best" else None
        for removed in checkpoints.prune(self._checkpoints, keep, best):
            path = str(removed.relative_to(self._context.run_folder))
            self._context.recorder.checkpoint_deleted(self._context.stage_id, path)

    def _take_up(self, resumed: checkpoints.Saved) -> None:
        known = checkpoints.facts_of(resumed.folder)
        facts = _Facts(**known["facts"])
        if facts.rows != self._facts.rows:
            raise TrainingError(
                "the training data is not what it was when the checkpoint was made; restore it, or start a new run"
            )
        self._facts = facts
        self._loop.load_state(checkpoints.state_of(resumed.folder))
        self._after = self._last_saved = resumed.step

    def _finish(self) -> dict[str, Any]:
        """Write the result and tell how it went."""
        last, best = self._plan.total, self._facts.best_step
        chosen = best if self._settings.result == "best" and best is not None else last
        if chosen != last:
            self._load_weights(self._checkpoints / f"step-{chosen:06d}")
        self._progress(last, "finishing")
        target = self._context.folder / "model"
        _replace_folder(target, self._write_model)
        results: dict[str, Any] = {
            "steps": last,
            "result_step": chosen,
            "parameters": sum(weight.numel() for weight in self._model.parameters()),
            "tokens": self._facts.tokens,
            "bad_steps": self._facts.bad_steps,
            "model": str(target.relative_to(self._context.run_folder)),
        }
        if self._ready.rows.validation is not None:
            results["validation/before"] = self._facts.first
            results["validation"] = self._figures("validation")
        if self._ready.rows.test is not None:
            results["test"] = self._figures("test")
        self._context.tell(f"done: the weights of step {chosen} are in {target}", last, "finished")
        return results

    def _load_weights(self, folder: Path) -> None:
        loaded = type(self._ready.model).from_pretrained(folder, dtype=torch.float32)
        self._model.load_state_dict(loaded.state_dict())


def _replace_folder(target: Path, write: Any) -> None:
    """Write a folder that is whole or not there."""
    unfinished = target.with_name(f".unfinished-{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        write(unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    except OSError as error:
        raise MachineError(f"cannot write the result {target}: {error.strerror}") from None
