"""Information-gain filtration: the table `[[method]]` that chooses contexts, and the stage that learns to.

A stage of kind `information-gain` measures, for pairs (X, IG(X)), how much one optimiser step on a context X lowers the
perplexity of a set of objective contexts, and trains a small learner to tell that from X alone. Stages that train
then name it, and take only contexts that the learner thinks well of.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .base import Fraction, NotEmpty, Positive, Share, StageName, Table, kind_of, rule_broken
from .data import BlockSize, DocumentKind
from .model import PretrainedModel
from .train import Rule

_Seed = Annotated[int, Field(ge=0, lt=2**63)]


# -- the method -----------------------------------------------------------------------------------


class ConstantThreshold(Table):
    """The same threshold for all steps."""

    kind: Literal["constant"] = "constant"
    value: float = 0.75
    """Contexts are taken from this predicted gain on, in standard deviations from the mean."""


class PublishedThreshold(Table):
    """A high threshold for the first steps and a low one for the rest (Antonello et al. 2021)."""

    kind: Literal["published"] = "published"
    first: float = 1.0
    """Threshold of the first steps, in standard deviations from the mean."""
    steps: Positive = 10
    """How many these are."""
    then: float = -1.0
    """Threshold of all later steps."""


class QuantileThreshold(Table):
    """The threshold that a share of all contexts reaches; found before training, on contexts drawn for that."""

    kind: Literal["quantile"] = "quantile"
    keep: Fraction = 0.25
    """Share of the contexts to be taken."""
    contexts: Positive = 2048
    """Contexts to find it on."""


Threshold = Annotated[
    Annotated[ConstantThreshold, Tag("constant")]
    | Annotated[PublishedThreshold, Tag("published")]
    | Annotated[QuantileThreshold, Tag("quantile")],
    Discriminator(lambda value: kind_of(value, "published")),
]
AnyThreshold = ConstantThreshold | PublishedThreshold | QuantileThreshold
LearnerName = Literal["convolutions", "published"]


class InformationGain(Table):
    """Train only on contexts that promise to help (Antonello et al. 2021); needs data.packing `crops`."""

    kind: Literal["information-gain"] = "information-gain"
    from_: NotEmpty = Field(alias="from")
    """The earlier stage of kind information-gain whose learner judges contexts; or the folder of such a stage."""
    learner: Literal["best", "convolutions", "published"] = "best"
    """Which of the stage's learners; `best` is the one with the least error on pairs held out."""
    select: Literal["filter", "random"] = "filter"
    """`filter`: contexts whose predicted gain reaches the threshold. `random`, to compare with: as many are passed
    over, but by lot: each is taken if another one, drawn beside it, reaches the threshold."""
    threshold: Threshold = PublishedThreshold()
    """From which predicted gain on contexts are taken."""


# -- the stage ------------------------------------------------------------------------------------


class GainData(Table):
    """Articles that contexts are drawn from, and others to measure the gain on."""

    train: NotEmpty
    """The source of the contexts X: that which other stages train on."""
    objective: NotEmpty
    """The source of the objective contexts; none of its articles may stand among those to train or to test on."""
    contexts: Positive = 100
    """Objective contexts, one from each article in the order drawn, then a second one, and so on."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    documents: DocumentKind = "paragraph"
    """What one article is in a .txt file: the whole file, a line, what blank lines separate, or what stands between
    headings as in WikiText."""
    block_size: BlockSize = 32
    """Tokens of a context."""
    min_tokens: Positive | None = None
    """Articles of fewer tokens are left out."""
    max_documents: Positive | None = None
    """Use only so many articles of each source, for trying things out."""


class GainStep(Rule):
    """The optimiser step on a context whose gain is measured: the first one of a fresh optimiser.

    An `eps` of 3.16e-7 gives the step of the old AdamW of transformers.
    """

    lr: Annotated[float, Field(gt=0, lt=100)] = 5e-5
    """Learning rate."""
    clip: Annotated[float, Field(ge=0)] = 3.0
    """Largest norm of the gradient; 0 for no limit."""
    dropout: bool = False
    """Leave the model's dropout on in the step, as published; it is noise: two draws differ by up to half a standard
    deviation of the gain."""


class Estimate(Table):
    """The gain to first order, −perplexity·⟨gradient of the objective, step⟩: much faster, and not always right."""

    calibration: Annotated[int, Field(ge=32)] = 64
    """The first pairs, which are measured exactly as well, to see whether the estimate ranks contexts as they do."""
    least: Annotated[float, Field(ge=0.95, le=1)] = 0.95
    """Spearman's rank correlation that it must reach there."""
    otherwise: Literal["exact", "error"] = "exact"
    """What to do if it does not: measure all pairs exactly, or give up."""


class PublishedLearner(Table):
    """The published learner: embeddings, one convolution, maximum over the tokens, three linear layers."""

    kind: Literal["published"] = "published"
    epochs: Positive = 15
    """Passes over the pairs."""
    batch_size: Positive = 128
    """Pairs to a step."""
    lr: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Adam's learning rate."""


class ConvolutionLearner(Table):
    """Two convolutions with a non-linearity behind each, mean and maximum over the tokens, and a hidden layer; the
    embeddings stay as they are."""

    kind: Literal["convolutions"] = "convolutions"
    epochs: Positive = 40
    """Passes over the pairs."""
    batch_size: Positive = 64
    """Pairs to a step."""
    lr: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """AdamW's learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """AdamW's weight decay."""
    width: Positive = 64
    """Channels."""
    dropout: Share = 0.3
    """Share of activations dropped in training."""


Learner = Annotated[
    Annotated[PublishedLearner, Tag("published")] | Annotated[ConvolutionLearner, Tag("convolutions")],
    Discriminator(lambda value: kind_of(value, "convolutions")),
]
AnyLearner = PublishedLearner | ConvolutionLearner


class GainStage(Table):
    """Measure the information gain of contexts and learn to predict it, for methods of kind `information-gain`."""

    kind: Literal["information-gain"] = "information-gain"
    name: StageName = "information-gain"
    """Names the stage's folder, and the learner for methods: `from = "information-gain"`."""
    model: PretrainedModel
    """The causal language model that other stages go on training."""
    data: GainData
    """What contexts are drawn from."""
    seed: _Seed | None = None
    """Where the draws of contexts and learners start; the run's seed if not given. Runs that have it, and all else, in
    common measure the pairs only once."""
    pairs: Annotated[int, Field(ge=16)] = 10_000
    """Contexts to measure the gain of; with a higher number, measuring goes on from those known already."""
    step: GainStep = GainStep()
    """The step whose gain is measured."""
    estimate: Estimate | None = None
    """Estimate the gain to first order; each is measured exactly if this is not given."""
    holdout: Fraction = 0.2
    """Share of the pairs that learners do not learn from, to choose and compare them by."""
    learner: Annotated[list[Learner], Field(min_length=1)] = [ConvolutionLearner(), PublishedLearner()]
    """What learns to predict the gain."""

    @model_validator(mode="after")
    def _fits(self) -> "GainStage":
        kinds = [each.kind for each in self.learner]
        if len(set(kinds)) < len(kinds):
            raise rule_broken("learner", "two learners are of the same kind; give each kind once")
        if self.estimate is not None and self.estimate.calibration > self.pairs:
            raise rule_broken("estimate", "there are fewer 'pairs' than the estimate needs for its calibration")
        return self
