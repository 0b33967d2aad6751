"""The stage that trains a model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ..errors import Stopped, ValueInRecipeError
from ..methods import Place, activate, adapt, update_spectrum
from ..models.loading import make_model
from ..recipe.schema import TrainStage
from ..recipe.schema.method import Adaptation
from ..tasks.registry import task_of
from ..tasks.task import Material, Surroundings, Task
from ..training import checkpoints
from ..training.distribution import ALONE, Team
from ..training.evaluation import evaluate
from ..training.loop import Loop
from ..training.probe import probe
from ..training.randomness import derived_seed
from .context import StageContext
from .keeping import Facts, Keeper
from .measuring import Measurer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def run(stage: TrainStage, context: StageContext) -> dict[str, Any]:
    """Train, or go on training from the newest whole checkpoint; returns the stage's results.

    Raises:
        ValueInRecipeError: the recipe does not fit the data, the model or the disk.
        TrainingError: training cannot go on.
        Stopped: the user asked for it; a checkpoint holds everything.
    """
    return _Training(stage, context).run()


def follow(stage: TrainStage, context: StageContext) -> None:
    """Do the share of a process beside the first, which decides, measures and writes.

    Raises:
        LmwbError: what `run` raises too.
        Stopped: the first process was asked to stop.
    """
    _Training(stage, context).follow()


class _Training:
    def __init__(self, stage: TrainStage, context: StageContext):
        self._stage = stage
        self._settings = stage.train
        self._context = context
        self._team: Team = context.team or ALONE
        resumed = self._newest()
        self._task: Task = task_of(
            stage, Surroundings(context.seed, context.cache, context.tell, resumed.folder if resumed else None)
        )
        with self._team.first_first():
            self._material: Material = self._task.read()
        self._team.meet()
        train = self._material.train
        self._team.agree("training rows", train.fingerprint)
        self._plan = self._material.planned(self._settings, context.seed)
        torch.manual_seed(derived_seed(context.seed, "weights"))
        material = self._material
        model = make_model(
            stage.model, self._task.head, material.tokenizer, material.fields, context.tell, context.cache
        )
        self._task.check_model(model)
        with self._team.first_first():
            self._methods = activate(stage.method, self._place_of(model))
        groups = adapt(model, stage.method, context.tell)
        self._model = cast("nn.Module", model.to(context.device))  # pyright: ignore[reportArgumentType]
        context.tell(f"{self._plan.total:,} steps, {self._plan.steps_per_epoch:,} to an epoch")
        self._loop = Loop(
            self._model, train, self._settings, self._plan, context.device, groups, self._methods, self._team
        )
        self._facts = Facts(rows=train.fingerprint)
        self._keeper = Keeper(stage, context, model, self._material.tokenizer, self._loop, self._facts)
        self._after = 0 if resumed is None else self._keeper.take_up(resumed)
        self._note_team()
        self._loop.equalise()
        self._measurer = Measurer(stage, context, self._plan, self._facts, self._after)

    def _newest(self) -> checkpoints.Saved | None:
        """The checkpoint to go on from, as the first process finds it."""
        folder = self._context.folder / "checkpoints"
        found = checkpoints.newest(folder, self._context.tell) if self._team.leads else None
        name = self._team.announced(None if found is None else found.folder.name)
        if name is not None:
            self._context.tell(f"going on from checkpoint {name}")
        return None if name is None else checkpoints.saved_at(folder / name)

    def _note_team(self) -> None:
        """Say what sharing the work changes, and remember how many share it."""
        size, before = self._team.size, self._facts.processes
        if self._after and size != before:
            self._context.tell(
                f"the checkpoint was made with processes = {before}, now there are {size}: the rows of each step are "
                "the same, sums are rounded in another order, and dropout draws otherwise"
            )
        if size > 1 and any(_averages_batches(module) for module in self._model.modules()):
            self._context.tell(
                f"the model normalises over the rows of a batch: with {size} processes over those of one process"
            )
        self._facts.processes = size

    def _place_of(self, model: "PreTrainedModel") -> Place:
        context, material = self._context, self._material
        return Place(
            model,
            material.tokenizer,
            material.train,
            self._plan,
            self._settings,
            context.seed,
            context.device,
            context.cache,
            context.folder,
            context.tell,
            {**material.validation, **material.test},
        )

    def run(self) -> dict[str, Any]:
        self._keeper.check_space()
        if self._after == 0:
            adapted = any(isinstance(method, Adaptation) for method in self._stage.method)
            probe(self._model, self._material.train, self._context.device, self._context.tell, adapted)
        self._context.begin(self._plan.total, self._after)
        self._measurer.progress(self._after)
        if self._after == 0:
            self._look(0)
        self._measurer.start()
        for step in self._loop.steps(self._after):
            self._measurer.add(step)
            self._after_step(step.number)
        self._measurer.report()
        return self._finish()

    def follow(self) -> None:
        """What a process beside the first does: its share of each step and of each evaluation."""
        if self._after == 0:
            self._figures("validation", self._team)
        for step in self._loop.steps(self._after):
            if self._evaluates_at(step.number):
                self._figures("validation", self._team)
            if self._team.decision(False):
                raise Stopped
        chosen = self._team.announced(None)
        if not self._methods:
            self._keeper.take_weights(chosen, self._plan.total)
            self._figures("validation", self._team)
            self._figures("test", self._team)

    def _after_step(self, step: int) -> None:
        last = step == self._plan.total
        improved = False
        if self._evaluates_at(step):
            self._measurer.report()
            improved = self._look(step)
        elif self._sample_every is not None and step % self._sample_every == 0:
            self._measurer.report()
            self._sample(step)
        stop = self._team.decision(self._context.stop_wanted() and not last)
        if last or stop or improved or step % (self._settings.checkpoint_every or self._eval_every) == 0:
            self._measurer.report()
            self._measurer.progress(step, "saving")
            self._keeper.save(step)
            self._measurer.progress(step)
        if stop:
            self._context.tell("stopped as asked; a checkpoint holds everything", step, "stopped")
            raise Stopped

    def _evaluates_at(self, step: int) -> bool:
        return step == self._plan.total or step % self._eval_every == 0

    @property
    def _eval_every(self) -> int:
        return self._settings.eval_every or max(1, self._plan.total // 10)

    @property
    def _sample_every(self) -> int | None:
        return self._stage.sample.every if hasattr(self._stage, "sample") else None  # type: ignore[union-attr]

    # -- looking at the model ---------------------------------------------------------------------

    def _look(self, step: int) -> bool:
        """Evaluate and sample; whether the weights are to be kept as the best so far."""
        improved = False
        if self._material.validation:
            self._measurer.progress(step, "evaluating")
            figures = self._figures("validation", self._team)
            self._context.recorder.metrics(
                self._context.stage_id,
                step,
                {f"{part}/{name}": v for part, of in figures.items() for name, v in of.items()},
            )
            first = next(iter(figures.values()))
            improved = self._judge(step, figures, first)
            told = "  ".join(f"{name} {value:.4g}" for name, value in first.items())
            self._context.tell(f"validation {told}" + ("  best so far" if improved else ""), step, "evaluation")
        self._sample(step)
        self._measurer.progress(step)
        return improved and self._settings.result == "best"

    def _judge(self, step: int, figures: Mapping[str, dict[str, float]], first: dict[str, float]) -> bool:
        """Whether the figures are the best so far; those before training are only remembered."""
        wanted = self._settings.best
        if wanted not in first:
            raise ValueInRecipeError("train.best", f"validation gives no '{wanted}'; it gives {', '.join(first)}")
        if step == 0:
            self._facts.first = dict(figures)
            return False
        value = first[wanted] if wanted in ("loss", "perplexity", "mse") else -first[wanted]
        if self._facts.best_value is not None and not value < self._facts.best_value:
            return False
        self._facts.best_step, self._facts.best_value = step, value
        return True

    def _figures(self, part: str, team: Team) -> dict[str, dict[str, float]]:
        """The figures of all objectives of a part, by their names; the processes of the team share the rows."""
        parts = self._material.validation if part == "validation" else self._material.test
        if parts:
            team.spread(
                buffer for module in self._model.modules() if _averages_batches(module) for buffer in module.buffers()
            )
        settings, device = self._settings, self._context.device
        return {
            name: evaluate(self._model, rows, settings.eval_batch_size, device, settings.precision, team)
            for name, rows in parts.items()
        }

    def _sample(self, step: int) -> None:
        """Let the model answer the recipe's prompts; each prompt draws alike at every step."""
        for index, prompt in enumerate(self._task.prompts):
            seed = derived_seed(self._context.seed, "sample", index)
            try:
                trace = self._task.speak(self._model, prompt, seed)
            except ValueError as error:
                self._context.tell(f"no sample: {error}", step, "sample", "warning")
                return
            self._context.recorder.sample(self._context.stage_id, step, index, prompt, trace)

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        """Write the result and tell how it went."""
        last, best = self._plan.total, self._facts.best_step
        chosen = best if self._settings.result == "best" and best is not None else last
        self._measurer.progress(last, "finishing")
        self._team.announced(chosen)
        self._keeper.take_weights(chosen, last)
        of_methods = {
            f"{method.name}/{name}": value
            for method in self._methods
            for name, value in method.finish(self._model, self._context.folder).items()
        }
        target = self._keeper.write_result()
        results: dict[str, Any] = {
            "steps": last,
            "result_step": chosen,
            **self._sizes(),
            "tokens": self._facts.tokens,
            "bad_steps": self._facts.bad_steps,
            "seconds": self._facts.seconds,
            "seconds_per_step": self._facts.seconds / last,
            "peak_bytes": self._facts.peak_bytes,
            "model": str(target.relative_to(self._context.run_folder)),
        }
        if self._facts.first:
            results |= {f"{part}/before": figures for part, figures in self._facts.first.items()}
        # methods have made the model another one, which the other processes do not have
        team = ALONE if self._methods else self._team
        results |= self._figures("validation", team) | self._figures("test", team)
        if spectrum := update_spectrum(self._model):
            results["spectrum"] = spectrum
        results |= of_methods
        results |= self._task.finish(self._model, self._context.folder)
        self._context.tell(f"done: the weights of step {chosen} are in {target}", last, "finished")
        return results

    def _sizes(self) -> dict[str, Any]:
        total = sum(weight.numel() for weight in self._model.parameters())
        trained = sum(weight.numel() for weight in self._model.parameters() if weight.requires_grad)
        return {"parameters": total, "trained": trained, "trained_percent": 100 * trained / total}


def _averages_batches(module: nn.Module) -> bool:
    """Whether it is a batch norm, whose running averages differ from process to process."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
