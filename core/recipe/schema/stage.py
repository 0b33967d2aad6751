"""The tables `[[stage]]`: training, and what else a recipe may do."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from ..lines import is_table
from .augment import AugmentStage
from .base import NotEmpty, StageName, Table
from .evaluation import EvaluateStage
from .gain import GainStage
from .generating import GenerateStage
from .influence import INFLUENCE_STAGES, CounterfactualStage, DatamodelStage, HalfPrecisionStage, InfluenceStage
from .predict import PredictStage
from .training import (
    TRAIN_STAGES,
    CausalStage,
    ClassificationStage,
    ImageStage,
    InstructionStage,
    MaskedStage,
    MultipleChoiceStage,
    RegressionStage,
    objective_tag,
)


class CompareStage(Table):
    """Compare the results of other stages: a table and pictures; over all seeds, if the recipe has several."""

    kind: Literal["compare"] = "compare"
    name: StageName = "compare"
    """Names the stage's folder."""
    stages: list[NotEmpty] | None = None
    """The stages to compare, by name; all that train if not given."""
    metric: NotEmpty | None = None
    """What is compared, such as `test/accuracy`; if not given, what the stages have in common, test before
    validation, accuracy before loss."""
    baseline: NotEmpty | None = None
    """The stage that differences are taken to; the first if not given."""
    figures: list[Literal["svg", "png", "pdf", "jpg"]] = ["svg", "png"]
    """File types of the pictures; none for no pictures."""


STAGES = (
    *TRAIN_STAGES,
    GainStage,
    AugmentStage,
    PredictStage,
    GenerateStage,
    EvaluateStage,
    *INFLUENCE_STAGES,
    CompareStage,
)


def stage_tag(value: Any) -> str | None:
    """Which kind of stage a table is meant to be: its objective, or its kind if it does not train."""
    kind = value.get("kind", "train") if is_table(value) else getattr(value, "kind", "train")
    return objective_tag(value) if kind == "train" else str(kind)


Stage = Annotated[
    Annotated[CausalStage, Tag("causal-lm")]
    | Annotated[MaskedStage, Tag("masked-lm")]
    | Annotated[InstructionStage, Tag("instruction-tuning")]
    | Annotated[ClassificationStage, Tag("classification")]
    | Annotated[RegressionStage, Tag("regression")]
    | Annotated[MultipleChoiceStage, Tag("multiple-choice")]
    | Annotated[ImageStage, Tag("image-classification")]
    | Annotated[GainStage, Tag("information-gain")]
    | Annotated[AugmentStage, Tag("augment")]
    | Annotated[PredictStage, Tag("predict")]
    | Annotated[GenerateStage, Tag("generate")]
    | Annotated[EvaluateStage, Tag("evaluate")]
    | Annotated[InfluenceStage, Tag("influence")]
    | Annotated[HalfPrecisionStage, Tag("half-precision")]
    | Annotated[CounterfactualStage, Tag("counterfactual")]
    | Annotated[DatamodelStage, Tag("datamodel")]
    | Annotated[CompareStage, Tag("compare")],
    Discriminator(stage_tag),
]
