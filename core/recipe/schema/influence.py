"""Stages that ask which training rows made a model say what it says, and stages that test whether the answer holds.

All of them name a training: an earlier stage of the recipe, or one of another run. Its model, data and objective are
what is asked about.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from .base import Fraction, NotEmpty, Positive, StageName, Table, rule_broken
from .model import PretrainedModel
from .training import AnyTraining, TrainStage

Strategy = Literal["identity", "diagonal", "kfac", "ekfac"]
Numbers = Literal["float32", "bfloat16"]
Baseline = Literal["tf-idf", "embeddings"]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Query(Table):
    """Something that a language model says."""

    prompt: str = ""
    """What stands before it; only conditions it."""
    text: str = ""
    """What is asked about."""
    ids: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2)] | None = None
    """The tokens by their numbers, instead of `prompt` and `text`."""
    mark: Annotated[tuple[int, int], Field(strict=False)] | None = None
    """With `ids`: the first token that is asked about, and the one behind the last; all if not given."""

    @model_validator(mode="after")
    def _says_something(self) -> "Query":
        if (self.ids is None) == (not self.text):
            raise rule_broken("text", "a query is either a 'text', with a 'prompt' or without, or 'ids'")
        if self.ids is not None and self.prompt:
            raise rule_broken("prompt", "with 'ids' the prompt is among them; mark what is asked about")
        if self.mark is None:
            return self
        if self.ids is None:
            raise rule_broken("mark", "'mark' counts tokens, so it needs 'ids'; a 'text' is asked about as a whole")
        if not 1 <= self.mark[0] < self.mark[1] <= len(self.ids):
            raise rule_broken(
                "mark", f"must be [first, end] with 1 ≤ first < end ≤ {len(self.ids)}, the number of ids; nothing "
                "predicts token 0"
            )  # fmt: skip
        return self


class QueryRows(Table):
    """Rows that the training read, as queries."""

    part: Literal["validation", "test", "train"] = "validation"
    """From which of its rows."""
    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Their numbers, from 0 on; the first `count` if not given."""
    count: Positive = 10
    """How many, if `rows` does not name them."""


class Factors(Table):
    """How the model's curvature is worked out; it is kept, and serves all later questions about the same training."""

    labels: Literal["sampled", "data"] = "sampled"
    """`sampled` from the model's predictions, the true Fisher matrix, or those of the `data`, the empirical one."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training rows that it is worked out on; a quarter costs a quarter and hardly changes scores."""
    parts: Positive = 4
    """Parts of the rows; after a stop, work goes on behind the last one that was finished."""
    memory: Annotated[float, Field(gt=0)] = 8.0
    """GiB that sums of one pass may take; layers are taken in groups to stay below."""
    seed: _Seed = 0
    """Where sampling starts."""


class Scores(Table):
    """How training rows are scored."""

    damping: Annotated[float, Field(ge=0)] | None = None
    """Added to the curvature; a tenth of each layer's mean eigenvalue if not given. Weight decay is no part of it."""
    memory: Annotated[float, Field(gt=0)] = 4.0
    """GiB that the queries' gradients may take."""
    rank: Positive | Literal["full", "auto"] = "auto"
    """Rank that queries' gradients are kept at; `auto` takes the most that the memory holds."""
    numbers: Literal["auto", "float32", "bfloat16"] = "auto"
    """The type that they are kept in."""
    top: Annotated[int, Field(ge=0)] = 10
    """How many of the best and how many of the worst rows are shown for each query."""
    tokens: Literal["none", "top", "all"] = "top"
    """Also score tokens: of the rows at the top, or of all rows."""
    keep_all: bool = True
    """Keep the scores of all rows, not only of those at the top."""
    aggregated: bool = False
    """Ask for the sum of all queries instead of each."""
    part: Positive = 1024
    """Rows between two points to go on from."""


class _Asking(Table):
    """What all stages here are told."""

    strategies: Annotated[list[Strategy], Field(min_length=1)] = ["ekfac"]
    """Approximations of the curvature: `identity` takes none, `diagonal` its diagonal, `kfac` and `ekfac` one
    Kronecker product for each layer, without and with corrected eigenvalues (George et al. 2018)."""
    query: list[Query] = []
    """What is asked about, in words."""
    queries: QueryRows | None = None
    """What is asked about, as rows that the training read."""
    embeddings: bool = False
    """Look at the table of embeddings, too."""
    head: bool = False
    """Look at a language model's last layer, too."""
    factors: Factors = Factors()
    """How the curvature is worked out."""
    scores: Scores = Scores()
    """How the rows are scored, and which scores are kept."""

    @model_validator(mode="after")
    def _asks_something(self) -> "_Asking":
        if not self.query and self.queries is None:
            raise rule_broken("query", "there is no query; add [[stage.query]] tables or a [stage.queries] table")
        if self.query and self.queries is not None:
            raise rule_broken("queries", "queries are either 'query' tables or rows of the training; leave one out")
        if len(set(self.strategies)) < len(self.strategies):
            raise rule_broken("strategies", "a strategy stands twice in 'strategies'")
        return self


class _Testing(_Asking):
    """What stages are told that test whether scores are true."""

    of: NotEmpty
    """The training that is asked about: an earlier stage, `run:RUN` or `run:RUN/STAGE`."""


def _is_only_asked(training: TrainStage) -> TrainStage:
    if not isinstance(training.model, PretrainedModel):
        raise rule_broken("model", "nothing is trained, so training.model must say 'from' where it is")
    if training.method:
        raise rule_broken("method", "nothing is trained, so no method is of use; leave out training.method")
    return training


class InfluenceStage(_Asking):
    """Find the training rows that made the model say what it says, or say it less, and their tokens."""

    kind: Literal["influence"] = "influence"
    name: StageName = "influence"
    """Names the stage's folder."""
    of: NotEmpty | None = None
    """The training that is asked about: an earlier stage, `run:RUN` or `run:RUN/STAGE`."""
    training: Annotated[AnyTraining, AfterValidator(_is_only_asked)] | None = None
    """Instead of `of`: the objective, the model and the data of a training that lmwb knows nothing of, as for a stage
    that trains. Nothing is trained."""
    checkpoints: Annotated[list[Positive], Field(min_length=1)] | None = None
    """Steps of the training whose checkpoints are asked; scores are the means. Its result if not given."""
    numbers: Numbers = "float32"
    """The type of the inputs of matrix products; sums are always float32."""
    self_scores: bool = False
    """Also score each training row with itself: rows that only they themselves explain, such as mislabelled ones, come
    out on top."""

    @model_validator(mode="after")
    def _fits(self) -> "InfluenceStage":
        self._see_what_is_asked_about()
        if self.scores.aggregated and self.scores.tokens == "top":
            raise rule_broken(
                "scores",
                "scores of tokens at the top are those of single queries; with 'aggregated', tokens is 'none' or 'all'",
            )
        if self.scores.tokens == "all" and len(self.checkpoints or ()) > 1:
            raise rule_broken("checkpoints", "scores of all tokens are those of one checkpoint; say tokens = 'top'")
        if self.checkpoints and len(set(self.checkpoints)) < len(self.checkpoints):
            raise rule_broken("checkpoints", "a step stands twice in 'checkpoints'")
        return self

    def _see_what_is_asked_about(self) -> None:
        if (self.of is None) == (self.training is None):
            raise rule_broken("of", "say either 'of', a training of lmwb's, or 'training', a model and its data")
        if self.training is not None and self.checkpoints:
            raise rule_broken("checkpoints", "only a training of lmwb's has checkpoints; leave them out, or say 'of'")


class HalfPrecisionStage(_Testing):
    """See how far scores with bfloat16 products are from those with float32: for each query, the rank correlation."""

    kind: Literal["half-precision"] = "half-precision"
    name: StageName = "half-precision"
    """Names the stage's folder."""
    figures: list[Literal["svg", "png", "pdf", "jpg"]] = ["svg", "png"]
    """File types of the picture."""


class Variant(Table):
    """A strategy with settings of its own, to be told from the plain ones on the same ground."""

    strategy: Strategy = "ekfac"
    """The approximation of the curvature."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the training rows that the curvature is worked out on; `factors.share` if not given."""
    numbers: Numbers = "float32"
    """The type of the inputs of matrix products; sums are always float32."""
    checkpoints: Annotated[list[Positive], Field(min_length=1)] | None = None
    """Steps of the training whose checkpoints are asked; scores are the means. Its result if not given."""

    @property
    def label(self) -> str:
        """What tables call it: ``ekfac, share 0.25``."""
        parts = [self.strategy]
        parts += [] if self.share is None else [f"share {self.share:g}"]
        parts += [] if self.numbers == "float32" else [self.numbers]
        parts += [] if self.checkpoints is None else [f"checkpoints {' '.join(map(str, self.checkpoints))}"]
        return ", ".join(parts)


class _Retraining(_Testing):
    seeds: Annotated[list[_Seed], Field(min_length=1)] = [0, 1, 2]
    """Each set of rows is trained on once with each of these seeds."""
    jobs: Positive = 1
    """Trainings at the same time, each with its share of the cores, or with one of the GPUs."""
    baselines: list[Baseline] = ["tf-idf"]
    """Scores without gradients to compare with: how alike rows are in their tokens, or in the means of the model's own
    embeddings of them."""
    figures: list[Literal["svg", "png", "pdf", "jpg"]] = ["svg", "png"]
    """File types of the picture."""

    @model_validator(mode="after")
    def _named_once(self) -> "_Retraining":
        if len(set(self.seeds)) < len(self.seeds):
            raise rule_broken("seeds", "a seed stands twice in 'seeds'; the same seed gives the same result")
        if len(set(self.baselines)) < len(self.baselines):
            raise rule_broken("baselines", "a baseline stands twice in 'baselines'")
        return self


class CounterfactualStage(_Retraining):
    """Train again without the rows that score highest, and see how much the queries' loss rises; and without as many
    rows chosen by lot."""

    kind: Literal["counterfactual"] = "counterfactual"
    name: StageName = "counterfactual"
    """Names the stage's folder."""
    baselines: list[Baseline] = []
    """Scores without gradients to compare with: how alike rows are in their tokens, or in the means of the model's own
    embeddings of them."""
    shares: Annotated[list[Fraction], Field(min_length=1)] = [0.05, 0.1, 0.2]
    """Shares of the training rows that are left out. Rows are ranked by the sum of their scores over the queries."""

    @model_validator(mode="after")
    def _shares_differ(self) -> "CounterfactualStage":
        if len(set(self.shares)) < len(self.shares):
            raise rule_broken("shares", "a share stands twice in 'shares'")
        return self


class DatamodelStage(_Retraining):
    """Linear datamodeling score (Park et al. 2023): how well the summed scores of the rows of random subsets rank the
    losses of models trained on these subsets."""

    kind: Literal["datamodel"] = "datamodel"
    name: StageName = "datamodel"
    """Names the stage's folder."""
    subsets: Annotated[int, Field(ge=8)] = 50
    """Random subsets of the training rows."""
    share: Fraction = 0.5
    """Share of the rows in each."""
    variants: list[Variant] = []
    """Strategies with settings of their own, such as another share, number type, or several checkpoints."""
    seed: _Seed = 0
    """Where subsets are drawn from, and the bootstrap."""

    @model_validator(mode="after")
    def _variants_differ(self) -> "DatamodelStage":
        labels = [*self.strategies, *(variant.label for variant in self.variants)]
        if len(set(labels)) < len(labels):
            raise rule_broken("variants", "a variant stands twice, or says the same as one of 'strategies'")
        return self


AnyInfluence = InfluenceStage | HalfPrecisionStage | CounterfactualStage | DatamodelStage
Study = HalfPrecisionStage | CounterfactualStage | DatamodelStage
STUDIES = (HalfPrecisionStage, CounterfactualStage, DatamodelStage)
INFLUENCE_STAGES = (InfluenceStage, *STUDIES)
