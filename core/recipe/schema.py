"""What a recipe may say: every table, key, type, range, unit and default of lmwb, in one place.

The models are the documentation (`lmwb schema` prints them) and the validation (unknown keys are refused,
types are strict). Tables that come in kinds are told apart by their `kind`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from .lines import is_table

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=10**15)]
NotEmpty = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Expected:
    """What a key with a pattern wants, in words, for the sentence about a value that does not fit."""

    words: str


def rule_broken(key: str, sentence: str) -> PydanticCustomError:
    """The error for keys that are well by themselves and do not go together; `key` says at which line."""
    return PydanticCustomError("rule", "{sentence}", {"key": key, "sentence": sentence})


class Table(BaseModel):
    """A table of a recipe: no unknown keys, no guessing of types, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


# -- models ---------------------------------------------------------------------------------------


class PretrainedModel(Table):
    """A model that exists already."""

    kind: Literal["pretrained"] = "pretrained"
    from_: NotEmpty = Field(alias="from")
    """A folder in `save_pretrained` layout, or a name on the model hub."""
    trust_remote_code: bool = False
    """Allow the model's repository to run code of its own. Only for repositories that you have read."""


class ScratchModel(Table):
    """A new model with random weights."""

    kind: Literal["scratch"] = "scratch"
    type: NotEmpty
    """The architecture: any causal language model of transformers by its `model_type`, such as `gpt2` or `llama`."""
    config: dict[str, Any] = {}
    """Fields of the architecture's configuration, such as `n_embd = 128`. The vocabulary's size is set by itself."""


def _kind_of_model(value: Any) -> str | None:
    if is_table(value):
        return value.get("kind", "pretrained" if "from" in value or "type" not in value else "scratch")
    return getattr(value, "kind", None)


Model = Annotated[
    Annotated[PretrainedModel, Tag("pretrained")] | Annotated[ScratchModel, Tag("scratch")],
    Discriminator(_kind_of_model),
]


# -- tokenizers -----------------------------------------------------------------------------------


class PretrainedTokenizer(Table):
    """A tokenizer that exists already."""

    kind: Literal["pretrained"] = "pretrained"
    from_: NotEmpty = Field(alias="from")
    """A folder with tokenizer files, or a name on the model hub."""


class BpeTokenizer(Table):
    """Byte-pair encoding over bytes, trained on the training texts."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: Annotated[int, Field(ge=257, le=1_000_000)] = 4096
    """Tokens in the vocabulary, the 256 bytes and the end-of-text token included."""
    min_frequency: Positive = 2
    """How often a pair must occur to become a token."""


def _kind_of_tokenizer(value: Any) -> str | None:
    if is_table(value):
        return value.get("kind", "pretrained" if "from" in value else "bpe")
    return getattr(value, "kind", None)


Tokenizer = Annotated[
    Annotated[PretrainedTokenizer, Tag("pretrained")] | Annotated[BpeTokenizer, Tag("bpe")],
    Discriminator(_kind_of_tokenizer),
]


# -- data -----------------------------------------------------------------------------------------


class Data(Table):
    """Which texts to learn from, and how they become rows of tokens.

    A source is a file (.txt, .csv, .tsv, .json, .jsonl, .parquet; each also .gz), a folder of text files, a
    dataset on the hub (`hub:NAME`, `hub:NAME/CONFIG:SPLIT`), or a corpus that every Python carries
    (`python-reference`). Paths are relative to the recipe's folder.
    """

    train: NotEmpty
    """The source to train on."""
    validation: NotEmpty | Annotated[float, Field(ge=0, lt=1)] = 0.05
    """A source, or the share of the training documents to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A source that is only looked at after training."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    documents: Literal["file", "line", "paragraph"] = "paragraph"
    """What one document is in a .txt file: the whole file, a line, or what blank lines separate."""
    packing: Literal["blocks", "documents"] = "blocks"
    """`blocks`: all documents in one stream, cut into blocks. `documents`: whole documents side by side in a block,
    each seeing only itself, positions starting anew."""
    block_size: Annotated[int, Field(ge=2)] = 128
    """Tokens per row."""
    too_long: Literal["error", "drop", "split"] = "split"
    """With packing `documents`: what to do with a document longer than a block."""
    max_documents: Positive | None = None
    """Use only so many documents of each source, for trying things out."""


# -- training -------------------------------------------------------------------------------------


class Train(Table):
    """How the weights are found: steps, optimiser, schedule, precision, and what is kept."""

    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training rows. Give this or `steps`; one epoch if neither is given."""
    steps: Positive | None = None
    """Optimiser steps in all."""
    batch_size: Positive = 8
    """Rows per forward pass."""
    gradient_accumulation: Positive = 1
    """Forward passes per optimiser step; every token of the step counts alike."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The rule that changes the weights."""
    lr: Annotated[float, Field(gt=0, lt=100)] = 5e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled for AdamW; matrices only, never biases and norms."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    """AdamW's decay rates of the first and second moment."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's term against division by zero."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """SGD's momentum."""
    schedule: Literal["constant", "linear", "cosine", "step"] = "linear"
    """How the learning rate goes from its peak to `final_lr` after the warm-up."""
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """Steps in which the rate rises to its peak; below 1, a share of all steps."""
    final_lr: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The rate at the end, as a share of the peak (`linear`, `cosine`)."""
    step_every: Positive = 1000
    """With schedule `step`: steps between two drops."""
    step_factor: Fraction = 0.1
    """With schedule `step`: what each drop multiplies the rate by."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient of a step; longer ones are scaled down. 0 for no limit."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number type of the forward pass; weights stay in fp32."""
    compile: bool = False
    """Compile the model with torch.compile before training."""
    eval_every: Positive | None = None
    """Steps between two evaluations on the validation rows; a tenth of all steps if not given."""
    eval_batch_size: Positive = 16
    """Rows per forward pass in evaluation; the figures do not depend on it."""
    checkpoint_every: Positive | None = None
    """Steps between two checkpoints; as often as evaluations if not given."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints to keep on disk; the best one is kept besides."""
    result: Literal["best", "last"] = "best"
    """Which weights become the stage's result: lowest validation loss, or the last."""
    log_every: Positive = 1
    """Steps between two recorded measurements of the training loss."""
    max_bad_steps: Positive = 5
    """Steps in a row with a loss or gradient that is not finite before the run is stopped."""

    @model_validator(mode="after")
    def _one_length(self) -> "Train":
        if self.epochs is not None and self.steps is not None:
            raise rule_broken("steps", "give 'epochs' or 'steps', not both")
        return self


class Sample(Table):
    """What the model is asked to complete while it learns."""

    prompts: list[str] = []
    """The beginnings of texts."""
    every: Positive | None = None
    """Steps between two samplings; as often as evaluations if not given."""
    tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    """Tokens to generate for each prompt."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 always takes the likeliest token."""
    top_k: Positive | None = None
    """Draw from the k likeliest tokens only."""
    alternatives: Annotated[int, Field(ge=1, le=50)] = 8
    """Likeliest tokens to record beside each token."""


# -- stages and the recipe ------------------------------------------------------------------------


class TrainStage(Table):
    """Train a model."""

    kind: Literal["train"] = "train"
    name: Annotated[
        str,
        Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
        Expected("letters, digits, '_', '.' and '-', a letter or digit first"),
    ] = "train"
    """Names the stage's folder and its line in tables."""
    objective: Literal["causal-lm"] = "causal-lm"
    """What is learned: `causal-lm` predicts each token from those before it."""
    model: Model
    """The model to start from."""
    tokenizer: Tokenizer | None = None
    """How text becomes tokens; a pretrained model brings its own."""
    data: Data
    """What to learn from."""
    train: Train = Train()
    """How to learn."""
    sample: Sample = Sample()
    """What to say meanwhile."""

    @model_validator(mode="after")
    def _agrees(self) -> "TrainStage":
        if isinstance(self.model, ScratchModel) and self.tokenizer is None:
            raise rule_broken(
                "model", 'a model from scratch needs a tokenizer; add tokenizer = { kind = "bpe" } or { from = "..." }'
            )
        if isinstance(self.model, PretrainedModel) and isinstance(self.tokenizer, BpeTokenizer):
            raise rule_broken(
                "tokenizer", "a pretrained model needs the tokenizer that it was trained with; leave 'tokenizer' out"
            )
        return self


Stage = TrainStage


class Recipe(Table):
    """A run: a name, a seed, and stages, one after the other.

    A recipe of one stage may leave out `[[stage]]` and write the stage's keys at the top.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    """What lists call the run."""
    description: str = ""
    """What it is good for, in a sentence or two."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Where all randomness starts: data order, new weights, dropout, sampling."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"), Expected("'auto', 'cpu', 'mps', 'cuda' or 'cuda:1'")
    ] = "auto"
    """`auto` takes a GPU if there is one; else `cpu`, `cuda`, `cuda:1` or `mps`."""
    stage: Annotated[list[Stage], Field(min_length=1)]
    """What to do, in order."""

    @model_validator(mode="after")
    def _names_differ(self) -> "Recipe":
        names = [stage.name for stage in self.stage]
        for name in names:
            if names.count(name) > 1:
                raise rule_broken("stage", f"two stages are called '{name}'; give each a 'name' of its own")
        return self
