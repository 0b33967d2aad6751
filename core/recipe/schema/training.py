"""The stages that train, one kind for each objective."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ..lines import is_table
from .base import Fraction, StageName, Table, rule_broken
from .data import ChoiceData, ImageData, InstructionData, LabelData, MaskedData, TextData
from .method import Method
from .model import ImageModel, LanguageModel, PretrainedModel, TextModel
from .tokenizer import PretrainedTokenizer, Tokenizer
from .train import Sample, Train


class _TrainStage(Table):
    """Train a model."""

    kind: Literal["train"] = "train"
    name: StageName = "train"
    """Names the stage's folder and its line in tables."""
    train: Train = Train()
    """How to learn."""
    method: list[Method] = []
    """How the model is adapted; all of its weights are trained without."""


class _TextStage(_TrainStage):
    tokenizer: Tokenizer | None = None
    """How text becomes tokens; a pretrained model brings its own."""

    @model_validator(mode="after")
    def _has_tokenizer(self) -> "_TextStage":
        pretrained = isinstance(getattr(self, "model", None), PretrainedModel)
        if not pretrained and self.tokenizer is None:
            raise rule_broken(
                "model", 'a model from scratch needs a tokenizer; add tokenizer = { kind = "bpe" } or { from = "..." }'
            )
        if pretrained and self.tokenizer is not None and not isinstance(self.tokenizer, PretrainedTokenizer):
            raise rule_broken(
                "tokenizer", "a pretrained model needs the tokenizer that it was trained with; leave 'tokenizer' out"
            )
        return self


class CausalStage(_TextStage):
    """Train a causal language model: each token is predicted from those before it."""

    objective: Literal["causal-lm"] = "causal-lm"
    """What is learned."""
    model: LanguageModel
    """The model to start from."""
    data: TextData
    """What to learn from."""
    sample: Sample = Sample()
    """What to say meanwhile."""


class InstructionStage(_TextStage):
    """Train a causal language model to answer: only the tokens of the answers count."""

    objective: Literal["instruction-tuning"] = "instruction-tuning"
    """What is learned."""
    model: LanguageModel
    """The model to start from."""
    data: InstructionData
    """What to learn from."""
    sample: Sample = Sample()
    """What to answer before, in between and after; with format `dialogue` each prompt is one human turn."""


class Masking(Table):
    """Which tokens are hidden from a masked language model (Devlin et al. 2019), drawn anew each time a row is seen."""

    share: Fraction = 0.15
    """Share of the tokens to be predicted."""
    mask: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Of these, the share that the mask token stands for."""
    random: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of these, the share that a random token stands for; the rest stays as it is."""
    whole_words: bool = False
    """Hide all tokens of a word or none."""
    smoothing: Annotated[float, Field(ge=0, le=10)] = 0.0
    """In training, hide rare tokens more often: of every row ⌈share · tokens⌉ of them, drawn with a chance in
    proportion to (occurrences in the training rows)^−smoothing. DistilBERT's is 0.7; 0 draws all alike. Validation and
    test always draw all alike, so that their figures compare with those of other runs."""

    @model_validator(mode="after")
    def _adds_up(self) -> "Masking":
        if self.mask + self.random > 1 + 1e-9:  # 0.7 + 0.2 + 0.1 is not quite 1, nor need it be
            raise rule_broken("random", "'mask' and 'random' are shares of the same tokens; together at most 1")
        if self.smoothing and self.whole_words:
            raise rule_broken("smoothing", "tokens are weighed one by one, whole words are not; leave one of them out")
        return self


class MaskedStage(_TextStage):
    """Train a masked language model: hidden tokens are predicted from all others."""

    objective: Literal["masked-lm"] = "masked-lm"
    """What is learned."""
    model: LanguageModel
    """The model to start from."""
    data: MaskedData
    """What to learn from."""
    masking: Masking = Masking()
    """Which tokens are hidden."""
    sample: Sample = Sample()
    """Texts with `[MASK]` in them, to be filled meanwhile."""


class ClassificationStage(_TextStage):
    """Train a classifier of texts or pairs of texts."""

    objective: Literal["classification"] = "classification"
    """What is learned."""
    model: TextModel
    """The model to start from; a head for other labels is replaced."""
    data: LabelData
    """What to learn from."""

    @model_validator(mode="after")
    def _classifies(self) -> "ClassificationStage":
        if self.data.task == "stsb":
            raise rule_broken("objective", 'STS-B has scores, not classes; say objective = "regression"')
        return self


class RegressionStage(_TextStage):
    """Train a model that gives texts or pairs of texts a score; mean squared error."""

    objective: Literal["regression"] = "regression"
    """What is learned."""
    model: TextModel
    """The model to start from; a head for labels is replaced."""
    data: LabelData
    """What to learn from; the label is a number."""

    @model_validator(mode="after")
    def _scores(self) -> "RegressionStage":
        if self.data.task not in (None, "stsb"):
            raise rule_broken("objective", 'this task has classes, not scores; say objective = "classification"')
        if self.data.labels is not None:
            raise rule_broken("objective", "scores have no names; leave 'labels' out or say \"classification\"")
        return self


class MultipleChoiceStage(_TextStage):
    """Train a model that chooses the right one of several endings."""

    objective: Literal["multiple-choice"] = "multiple-choice"
    """What is learned."""
    model: LanguageModel
    """The model to start from."""
    data: ChoiceData
    """What to learn from."""


class ImageStage(_TrainStage):
    """Train a classifier of small images."""

    objective: Literal["image-classification"] = "image-classification"
    """What is learned."""
    model: ImageModel
    """The model to start from; a head for other labels is replaced."""
    data: ImageData
    """What to learn from."""


TRAIN_STAGES = (
    CausalStage,
    MaskedStage,
    InstructionStage,
    ClassificationStage,
    RegressionStage,
    MultipleChoiceStage,
    ImageStage,
)

TrainStage = (
    CausalStage
    | MaskedStage
    | InstructionStage
    | ClassificationStage
    | RegressionStage
    | MultipleChoiceStage
    | ImageStage
)
TextStage = CausalStage | MaskedStage | InstructionStage | ClassificationStage | RegressionStage | MultipleChoiceStage


def objective_tag(value: Any) -> str | None:
    """Which kind of training a table is meant to be."""
    if is_table(value):
        return str(value.get("objective", "causal-lm"))
    return getattr(value, "objective", None)


AnyTraining = Annotated[
    Annotated[CausalStage, Tag("causal-lm")]
    | Annotated[MaskedStage, Tag("masked-lm")]
    | Annotated[InstructionStage, Tag("instruction-tuning")]
    | Annotated[ClassificationStage, Tag("classification")]
    | Annotated[RegressionStage, Tag("regression")]
    | Annotated[MultipleChoiceStage, Tag("multiple-choice")]
    | Annotated[ImageStage, Tag("image-classification")],
    Discriminator(objective_tag),
]
