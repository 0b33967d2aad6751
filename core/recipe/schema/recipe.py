"""The recipe as a whole."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import MADE_BY, Expected, Positive, Table, rule_broken
from .evaluation import EvaluateStage
from .influence import INFLUENCE_STAGES
from .stage import CompareStage, Stage
from .training import TRAIN_STAGES

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Log(Table):
    """What is written besides the history."""

    tensorboard: bool = False
    """Also write event files that TensorBoard reads, into each stage's folder; needs the package tensorboard."""


class Recipe(Table):
    """A run: a name, a seed, and stages, one after the other.

    A recipe of one stage may leave out `[[stage]]` and write the stage's keys at the top. With several `seeds`, or with
    a `sweep`, the run has members: each is a run of its own with one seed and one value of each key.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    """What lists call the run."""
    description: str = ""
    """What it is good for, in a sentence or two."""
    seed: Seed = 0
    """Where all randomness starts: data order, new weights, dropout, sampling."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    """Do everything once with each of these seeds."""
    sweep: dict[str, Any] = {}
    """Keys, written as for `--set`, with a list of values each; every combination is tried."""
    jobs: Positive | None = None
    """Members that run at the same time; one per GPU if not given, or one on a machine without."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"), Expected("'auto', 'cpu', 'mps', 'cuda' or 'cuda:1'")
    ] = "auto"
    """`auto` takes a GPU if there is one; else `cpu`, `cuda`, `cuda:1` or `mps`."""
    processes: Annotated[Positive | Literal["gpus"], Expected("a whole number from 1 on, or 'gpus'")] = 1
    """Processes that train a model together, each with a GPU or a share of the cores to itself, or `gpus`: one for each
    GPU. They share the rows of each step, so that the training is the same with any number."""
    log: Log = Log()
    """For other programs."""
    defaults: dict[str, Any] = {}
    """What every stage that trains takes if it does not say otherwise, such as `defaults.data.train`. The keys of data,
    train, sample and masking are taken one by one, other tables as a whole."""
    stage: Annotated[list[Stage], Field(min_length=1)]
    """What to do, in order."""

    @model_validator(mode="after")
    def _names_differ(self) -> "Recipe":
        names = [stage.name for stage in self.stage]
        for name in names:
            if names.count(name) > 1:
                raise rule_broken("stage", f"two stages are called '{name}'; give each a 'name' of its own")
        return self

    @model_validator(mode="after")
    def _compares_what_is_there(self) -> "Recipe":
        trained = [stage.name for stage in self.stage if isinstance(stage, (*TRAIN_STAGES, EvaluateStage))]
        if not trained and any(isinstance(stage, CompareStage) for stage in self.stage):
            raise rule_broken("stage", "there is nothing to compare; the recipe needs a stage that trains")
        for stage in self.stage:
            if isinstance(stage, CompareStage):
                wanted = [*(stage.stages or []), *([stage.baseline] if stage.baseline else [])]
                for name in wanted:
                    if name not in trained:
                        raise rule_broken(
                            "stage",
                            f"stage '{stage.name}' compares '{name}', but the recipe trains {', '.join(trained)}",
                        )
        return self

    @model_validator(mode="after")
    def _asks_about_what_is_there(self) -> "Recipe":
        trained: list[str] = []
        for stage in self.stage:
            if isinstance(stage, TRAIN_STAGES):
                trained.append(stage.name)
            if not isinstance(stage, INFLUENCE_STAGES) or stage.of is None or stage.of.startswith("run:"):
                continue
            if stage.of not in trained:
                there = f"there is {', '.join(trained)}" if trained else "there is none; of another run: 'run:RUN'"
                raise rule_broken(
                    "stage", f"stage '{stage.name}' asks about '{stage.of}', no earlier stage that trains; {there}"
                )
        return self

    @model_validator(mode="after")
    def _made_rows_are_not_split(self) -> "Recipe":
        for stage in self.stage:
            if not isinstance(stage, TRAIN_STAGES) or not str(stage.data.train).startswith(MADE_BY):
                continue
            if not isinstance(stage.data.validation, str) and stage.data.validation != 0:
                raise rule_broken(
                    "stage",
                    f"stage '{stage.name}': rows made of one text would stand on both sides; name a source for "
                    "data.validation, or say 0 for none",
                )
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> "Recipe":
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise rule_broken("seeds", "a seed stands twice in 'seeds'; the same seed gives the same result")
        return self

    @property
    def has_members(self) -> bool:
        """The run is several runs: one for each seed and each combination of the sweep."""
        return self.seeds is not None or bool(self.sweep)
