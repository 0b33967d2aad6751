"""Models that a recipe names by the stage or the run that made them."""

from contextlib import closing
from pathlib import Path

from .errors import LmwbError, ValueInRecipeError
from .history.queries import History
from .home import Home
from .recipe.problems import quoted
from .recipe.schema import CompareStage, PretrainedModel, Recipe, Stage


def resolved(recipe: Recipe, position: int, run_folder: Path, home: Home) -> Stage:
    """A stage of a recipe whose model is a folder or a name on the hub, whatever the recipe called it.

    Raises:
        ValueInRecipeError: there is no such run or stage, or it has no result.
    """
    stage = recipe.stage[position]
    if isinstance(stage, CompareStage) or not isinstance(stage.model, PretrainedModel):
        return stage
    source = stage.model.from_
    if source in [earlier.name for earlier in recipe.stage[:position]]:
        folder = run_folder / source / "model"
    elif source.startswith("smoke:"):
        from .models.stand_ins import stand_in_model

        folder = stand_in_model(source.removeprefix("smoke:"), stage.objective, home.smoke)
    elif source.startswith("run:"):
        folder = _result_of(source.removeprefix("run:"), home)
    else:
        return stage
    if not folder.is_dir():
        raise ValueInRecipeError("model.from", f"{quoted(source)} has left no model behind in {folder}")
    return stage.model_copy(update={"model": stage.model.model_copy(update={"from_": str(folder)})})


def _result_of(reference: str, home: Home) -> Path:
    """The folder of a run's result: of the stage named after a slash, or else of its last stage that trained."""
    name, _, stage = reference.partition("/")
    with closing(History(home)) as history:
        try:
            run = history.find(name)
        except LmwbError as error:
            raise ValueInRecipeError("model.from", str(error)) from None
        members = history.members(run.id)
        stages = [each.name for each in history.stages(run.id) if each.kind == "train"]
    if members:
        names = ", ".join(f"{each.uid} ({each.member})" for each in members)
        raise ValueInRecipeError("model.from", f"run {run.uid} has several members; name one of them: {names}")
    if not stages:
        raise ValueInRecipeError("model.from", f"run {run.uid} has no stage that trains a model")
    if stage and stage not in stages:
        raise ValueInRecipeError(
            "model.from", f"run {run.uid} has no stage {quoted(stage)}; it has {', '.join(stages)}"
        )
    return run.folder / (stage or stages[-1]) / "model"
