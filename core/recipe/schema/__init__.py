"""What a recipe may say: every table, key, type, range, unit and default of lmwb.

The models are the documentation (`lmwb schema` prints them) and the validation (unknown keys are refused,
types are strict). Tables that come in kinds are told apart by their `kind`, training stages by their `objective`.
"""

from .base import Expected, Table, rule_broken, tag_of
from .data import (
    AnyData,
    ChoiceData,
    GlueTask,
    ImageData,
    InstructionData,
    LabelData,
    MaskedData,
    TextData,
)
from .method import Adapters, AnyMethod, Layers, LinearProbe, Lora
from .model import AnyModel, BagModel, ConvNetModel, EncoderModel, PretrainedModel, ScratchModel
from .recipe import Log, Recipe
from .stage import (
    STAGES,
    TRAIN_STAGES,
    CausalStage,
    ClassificationStage,
    CompareStage,
    ImageStage,
    InstructionStage,
    MaskedStage,
    Masking,
    MultipleChoiceStage,
    RegressionStage,
    Stage,
    TextStage,
    TrainStage,
    stage_tag,
)
from .tokenizer import (
    AnyTokenizer,
    BpeTokenizer,
    PretrainedTokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
    WordsTokenizer,
)
from .train import Sample, Train

__all__ = [
    "STAGES",
    "TRAIN_STAGES",
    "Adapters",
    "AnyData",
    "AnyMethod",
    "AnyModel",
    "AnyTokenizer",
    "BagModel",
    "BpeTokenizer",
    "CausalStage",
    "ChoiceData",
    "ClassificationStage",
    "CompareStage",
    "ConvNetModel",
    "EncoderModel",
    "Expected",
    "GlueTask",
    "ImageData",
    "ImageStage",
    "InstructionData",
    "InstructionStage",
    "LabelData",
    "Layers",
    "LinearProbe",
    "Log",
    "Lora",
    "MaskedData",
    "MaskedStage",
    "Masking",
    "MultipleChoiceStage",
    "PretrainedModel",
    "PretrainedTokenizer",
    "Recipe",
    "RegressionStage",
    "Sample",
    "ScratchModel",
    "Stage",
    "Table",
    "TextData",
    "TextStage",
    "Train",
    "TrainStage",
    "UnigramTokenizer",
    "WordPieceTokenizer",
    "WordsTokenizer",
    "rule_broken",
    "stage_tag",
    "tag_of",
]
