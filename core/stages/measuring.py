"""What a training stage measures while it trains, and tells the history."""

import time

import psutil
import torch
from torch import Tensor

from ..errors import TrainingError
from ..recipe.schema import TrainStage
from ..training.loop import Step
from ..training.plan import Plan
from .context import StageContext
from .keeping import Facts

_REPORT_SECONDS = 0.25
"""Measurements are fetched from the device this often: each fetch waits for it."""


class Measurer:
    """Gathers steps and reports them."""

    def __init__(self, stage: TrainStage, context: StageContext, plan: Plan, facts: Facts, after: int):
        """Training goes on after step `after`."""
        self._settings = stage.train
        self._context = context
        self._plan = plan
        self._facts = facts
        self._measured: list[Step] = []
        self._reported_at = 0.0
        self._bad_in_a_row = 0
        self._began_at: float | None = None  # the first step of this attempt, on the monotonic clock
        self._began_after = after
        self._process = psutil.Process()

    def start(self) -> None:
        """The first step is about to be made."""
        self._began_at = time.monotonic()

    def add(self, step: Step) -> None:
        """A step was made."""
        self._measured.append(step)
        self._facts.tokens += step.tokens
        self._facts.seconds += step.seconds
        if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self.report()

    def report(self) -> None:
        """Fetch what was measured from the device, in one go, and record it."""
        self._reported_at = time.monotonic()
        if not self._measured:
            return
        steps, self._measured = self._measured, []
        self._facts.peak_bytes = max(self._facts.peak_bytes, self._memory())
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
                        **{name: float(value) for name, value in step.figures.items()},
                    },
                )
            self._count_bad(step.number, bool(bad))
        self.progress(steps[-1].number)

    def progress(self, step: int, phase: str = "training") -> None:
        """Say how far the stage is."""
        done = step - self._began_after
        speed = None if self._began_at is None or done == 0 else done / (time.monotonic() - self._began_at)
        self._context.recorder.progress(self._context.stage_id, step, self._plan.total, phase, speed)

    def _memory(self) -> int:
        if self._context.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._context.device)
        return self._process.memory_info().rss

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
