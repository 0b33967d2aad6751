"""A training that a later stage asks about: its rows, its plan, and its models, read again as they were."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import nn

from ..data.crops import Crops
from ..errors import LmwbError, UsageError, ValueInRecipeError
from ..history.queries import History, Run
from ..history.trained import trained_stage
from ..home import Home
from ..models.loading import make_model
from ..recipe import thaw
from ..recipe.problems import quoted
from ..recipe.schema import TRAIN_STAGES, PretrainedModel, Recipe, TrainStage
from ..references import resolved
from ..tasks.registry import task_of
from ..tasks.task import Material, Surroundings, Task, Tell
from ..training import checkpoints
from ..training.objectives.causal import CausalLM
from ..training.plan import Plan

if TYPE_CHECKING:
    import torch

KEY = "of"
"""The recipe's key that names the training."""


@dataclass(frozen=True)
class Studied:
    """A training, read again.

    Attributes:
        run: whose it is; None if lmwb has not trained the model.
        stage: the stage that trained, its model and data as folders and files.
        seed: of its run.
        folder: where it has left its model and checkpoints.
        task: knows its data.
        material: its rows.
        cache: a folder for what can be made again.
        tell: takes sentences about what is read.
    """

    run: Run | None
    stage: TrainStage
    seed: int
    folder: Path
    task: Task
    material: Material
    cache: Path
    tell: Tell

    @property
    def name(self) -> str:
        """What people call it: RUN/STAGE."""
        return self.stage.name if self.run is None else f"{self.run.uid}/{self.stage.name}"

    @property
    def trained(self) -> bool:
        """Whether lmwb has trained the model."""
        return self.run is not None

    @property
    def plan(self) -> Plan:
        """Which rows each of its steps saw, or would see."""
        return self.material.planned(self.stage.train, self.seed)

    def model(self, device: "torch.device", step: int | None = None) -> nn.Module:
        """What was trained, dropout off: the result, or the checkpoint of a step.

        Raises:
            ValueInRecipeError: there is none, or it is damaged.
        """
        source = self.stage.model
        if self.trained:
            source = PretrainedModel.model_validate({"from": str(self.weights(step))})
        material = self.material
        made = make_model(source, self.task.head, material.tokenizer, material.fields, self.tell, self.cache)
        return cast("nn.Module", made.to(device).eval())  # pyright: ignore[reportArgumentType]

    def weights(self, step: int | None = None) -> Path:
        """The folder of the result, or of the checkpoint of a step.

        Raises:
            ValueInRecipeError: there is none, or it is damaged.
        """
        if step is None:
            return self.folder / "model"
        kept = checkpoints.by_step(self.folder / "checkpoints")
        if step not in kept:
            there = ", ".join(map(str, kept)) or "none"
            raise ValueInRecipeError(
                "checkpoints",
                f"{quoted(self.name)} has no checkpoint of step {step}; there are: {there} (train.keep says how many)",
            )
        if trouble := checkpoints.damage(kept[step]):
            raise ValueInRecipeError("checkpoints", f"{quoted(self.name)}: checkpoint {step} is damaged: {trouble}")
        return kept[step]


def read_training(of: str, home: Home, cache: Path, tell: Tell) -> Studied:
    """Find a training and read its rows again.

    Args:
        of: `run:RUN` or `run:RUN/STAGE`, the last stage that trains if none is named.
        home: whose runs are meant.
        cache: a folder for what can be made again.
        tell: takes sentences about what is read.

    Raises:
        ValueInRecipeError: there is no such training, it has not finished, or its data are gone or have changed.
    """
    run, recipe, position = _find(of, home)
    stage = recipe.stage[position]
    folder = run.folder / stage.name
    if not (folder / "model").is_dir():
        raise ValueInRecipeError(KEY, f"{quoted(of)} has left no model behind; it must have finished")
    try:
        whole = resolved(recipe, position, run.folder, home)
        assert isinstance(whole, TRAIN_STAGES)
        task = task_of(whole, Surroundings(recipe.seed, cache, tell, folder / "model"))
        material = task.read()
    except UsageError as error:
        raise ValueInRecipeError(KEY, f"the training {quoted(of)} cannot be read again: {error}") from None
    _see_unchanged(of, folder, material)
    return Studied(run, whole, recipe.seed, folder, task, material, cache, tell)


def read_given(training: TrainStage, seed: int, cache: Path, tell: Tell) -> Studied:
    """Read the rows of a training that lmwb knows nothing of; its model is taken as it is.

    Raises:
        ValueInRecipeError: its data cannot be read; it names a key of the table `training`.
    """
    try:
        task = task_of(training, Surroundings(seed, cache, tell))
        return Studied(None, training, seed, Path(), task, task.read(), cache, tell)
    except ValueInRecipeError as error:
        raise ValueInRecipeError(f"training.{error.key}", str(error)) from None


def _find(of: str, home: Home) -> tuple[Run, Recipe, int]:
    """The run, its recipe, and the stage's place in it."""
    name, _, wanted = of.removeprefix("run:").partition("/")
    with closing(History(home)) as history:
        try:
            run = history.find(name)
        except LmwbError as error:
            raise ValueInRecipeError(KEY, str(error)) from None
        stage = trained_stage(history, run, wanted, KEY).name
        recipe = thaw(history.recipe(run.id))
    return run, recipe, [each.name for each in recipe.stage].index(stage)


def _see_unchanged(of: str, folder: Path, material: Material) -> None:
    """See that the rows are those that the training saw, as its newest checkpoint knows them."""
    kept = list(checkpoints.by_step(folder / "checkpoints").values())
    if kept and checkpoints.facts_of(kept[-1])["facts"]["rows"] != material.train.fingerprint:
        raise ValueInRecipeError(KEY, f"the data of {quoted(of)} have changed since it was trained; restore them")


def see_that_rows_are_few(studied: Studied) -> None:
    """Drawn contexts begin at every token: as many rows as there are tokens.

    Raises:
        ValueInRecipeError: the training drew its rows so.
    """
    train = studied.material.train
    if isinstance(train, CausalLM) and isinstance(train.rows, Crops):
        raise ValueInRecipeError(
            KEY,
            f"{studied.name} was trained on contexts drawn anywhere (packing 'crops'), too many to score; ask about "
            "one with packing 'blocks' or 'documents'",
        )
