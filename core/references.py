"""Models and tables that a recipe names by the stage or the run that made them."""

from contextlib import closing
from pathlib import Path
from typing import Any

from .errors import LmwbError, ValueInRecipeError
from .history.queries import History
from .history.trained import trained_stage
from .home import Home
from .recipe.problems import quoted
from .recipe.schema import (
    INFLUENCE_STAGES,
    MADE_BY,
    TRAIN_STAGES,
    AnyAugmenter,
    AnyMethod,
    AugmentStage,
    CompareStage,
    Distillation,
    EvaluateStage,
    GainStage,
    GenerateStage,
    InfluenceStage,
    InformationGain,
    PredictStage,
    PretrainedModel,
    Recipe,
    Stage,
    TrainStage,
)


def resolved(recipe: Recipe, position: int, run_folder: Path, home: Home) -> Stage:
    """A stage of a recipe whose model is a folder or a name on the hub, whatever the recipe called it.

    Raises:
        ValueInRecipeError: there is no such run or stage, or it has no result.
    """
    stage = _with_rows(recipe, position, run_folder)
    if isinstance(stage, AugmentStage):
        return _with_translators(stage, home)
    earlier = [each.name for each in recipe.stage[:position]]
    if isinstance(stage, EvaluateStage):
        models = {name: _measured(name, of, earlier, run_folder, home) for name, of in stage.models.items()}
        return stage.model_copy(update={"models": models})
    if isinstance(stage, CompareStage):
        return stage
    if isinstance(stage, InfluenceStage) and stage.training is not None:
        return stage.model_copy(update={"training": _with_model(stage.training, earlier, run_folder, home)})
    if isinstance(stage, INFLUENCE_STAGES):
        return stage.model_copy(update={"of": f"run:{run_folder.name}/{stage.of}"}) if stage.of in earlier else stage
    if isinstance(stage, TRAIN_STAGES):
        stage = _with_learners(_with_teachers(stage, earlier, run_folder, home), earlier, run_folder)
    if not isinstance(stage.model, PretrainedModel):
        return stage
    source = _model(stage.model.from_, "model.from", _purpose(stage), earlier, run_folder, home)
    return stage.model_copy(update={"model": stage.model.model_copy(update={"from_": source})})


def _with_model(training: TrainStage, earlier: list[str], run_folder: Path, home: Home) -> TrainStage:
    """A training that is asked about, with its model as a folder or a name on the hub."""
    model = training.model
    assert isinstance(model, PretrainedModel)
    source = _model(model.from_, "training.model.from", _purpose(training), earlier, run_folder, home)
    return training.model_copy(update={"model": model.model_copy(update={"from_": source})})


def _with_learners(stage: TrainStage, earlier: list[str], run_folder: Path) -> TrainStage:
    """The stage, with the folders of the stages that have learned to choose for its methods."""

    def there(method: AnyMethod) -> AnyMethod:
        if not isinstance(method, InformationGain) or method.from_ not in earlier:
            return method
        return method.model_copy(update={"from_": str(run_folder / method.from_)})

    return stage.model_copy(update={"method": [there(each) for each in stage.method]})


def _model(source: str, key: str, purpose: str, earlier: list[str], run_folder: Path, home: Home) -> str:
    """A folder, whatever the recipe called it; or the name on the hub as it is."""
    if source in earlier:
        folder = run_folder / source / "model"
    elif source.startswith("smoke:"):
        folder = _stand_in(source, purpose, home)
    elif source.startswith("run:"):
        folder = _result_of(source.removeprefix("run:"), home, key)
    else:
        return source
    if not folder.is_dir():
        raise ValueInRecipeError(key, f"{quoted(source)} has left no model behind in {folder}")
    return str(folder)


def _with_teachers(stage: TrainStage, earlier: list[str], run_folder: Path, home: Home) -> TrainStage:
    """The stage, with its methods' teachers as folders or names on the hub."""

    def there(number: int, method: AnyMethod) -> AnyMethod:
        if not isinstance(method, Distillation):
            return method
        purpose = "text-classification" if stage.objective == "classification" else stage.objective
        source = _model(method.teacher, f"method.{number}.teacher", purpose, earlier, run_folder, home)
        return method.model_copy(update={"teacher": source})

    return stage.model_copy(update={"method": [there(number, each) for number, each in enumerate(stage.method)]})


def _purpose(stage: TrainStage | PredictStage | GenerateStage | GainStage) -> str:
    """What a model that stands in must be able to do: an objective or a task."""
    if isinstance(stage, PredictStage):
        return stage.task
    return "causal-lm" if isinstance(stage, GenerateStage | GainStage) else stage.objective


def _measured(name: str, source: str, earlier: list[str], run_folder: Path, home: Home) -> str:
    """A folder, or `hub:NAME`, for one of the models that a stage measures."""
    if source in earlier:
        folder = run_folder / source / "model"
    elif source.startswith("smoke:"):
        folder = _stand_in(source, "causal-lm", home)
    elif source.startswith("run:"):
        folder = _result_of(source.removeprefix("run:"), home)
    else:
        return source if Path(source).is_absolute() else f"hub:{source}"
    if not folder.is_dir():
        raise ValueInRecipeError(f"models.{name}", f"{quoted(source)} has left no model behind in {folder}")
    return str(folder)


def builds_on(recipe: Recipe, position: int) -> str | None:
    """The earlier stage whose model or table a stage starts from or learns from, by name; None if it stands alone."""
    stage, earlier = recipe.stage[position], [each.name for each in recipe.stage[:position]]
    model = getattr(stage, "model", None)
    if isinstance(model, PretrainedModel) and model.from_ in earlier:
        return model.from_
    for method in getattr(stage, "method", ()):
        if isinstance(method, Distillation) and method.teacher in earlier:
            return method.teacher
    made = [source.removeprefix(MADE_BY) for source in _made_sources(stage).values()]
    return next((name for name in made if name in earlier), None)


def _made_sources(stage: Stage) -> dict[str, str]:
    """By key of the stage's data, the sources that earlier stages write."""
    data = getattr(stage, "data", None)
    keys = ("train", "validation", "test", "predict", "source")
    found = {key: getattr(data, key, None) for key in keys}
    return {key: source for key, source in found.items() if isinstance(source, str) and source.startswith(MADE_BY)}


def _with_rows(recipe: Recipe, position: int, run_folder: Path) -> Stage:
    """The stage, with the tables of earlier stages as files."""
    stage = recipe.stage[position]
    tables = {each.name: each.file for each in recipe.stage[:position] if isinstance(each, AugmentStage)}
    files: dict[str, str] = {}
    for key, source in _made_sources(stage).items():
        name = source.removeprefix(MADE_BY)
        if name not in tables:
            raise ValueInRecipeError(f"data.{key}", f"no earlier stage of kind augment is called {quoted(name)}")
        files[key] = str(run_folder / name / tables[name])
    if not files:
        return stage
    data: Any = getattr(stage, "data")  # noqa: B009 - a comparison has none
    return stage.model_copy(update={"data": data.model_copy(update=files)})


def _with_translators(stage: AugmentStage, home: Home) -> AugmentStage:
    """The stage, with folders for the tiny models that stand in for translators."""

    def there(each: AnyAugmenter) -> AnyAugmenter:
        named = {key: getattr(each, key, None) for key in ("there", "back")}
        smoke = {key: name for key, name in named.items() if isinstance(name, str) and name.startswith("smoke:")}
        return each.model_copy(update={key: str(_stand_in(name, "text-to-text", home)) for key, name in smoke.items()})

    return stage.model_copy(update={"augmenter": [there(each) for each in stage.augmenter]})


def _stand_in(source: str, purpose: str, home: Home) -> Path:
    from .models.stand_ins import stand_in_model

    return stand_in_model(source.removeprefix("smoke:"), purpose, home.smoke)


def _result_of(reference: str, home: Home, key: str = "model.from") -> Path:
    """The folder of a run's result: of the stage named after a slash, or else of its last stage that trained."""
    name, _, stage = reference.partition("/")
    with closing(History(home)) as history:
        try:
            run = history.find(name)
        except LmwbError as error:
            raise ValueInRecipeError(key, str(error)) from None
        return run.folder / trained_stage(history, run, stage, key).name / "model"
