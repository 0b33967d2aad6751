"""The stage that puts a model to work on texts."""

from typing import Literal

from pydantic import model_validator

from .base import NotEmpty, Positive, StageName, Table, rule_broken
from .decoding import Decoding
from .model import PretrainedModel
from .rewriting import Rewriting

TaskName = Literal["text-classification", "language-detection", "text-generation", "text-to-text", "fill-mask"]


class PredictData(Table):
    """Texts to be answered, from a file or a table."""

    source: NotEmpty
    """A text file (a text in each line), a table, or `hub:NAME`."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    max_rows: Positive | None = None
    """Use only so many texts, the first ones."""


class PredictStage(Table):
    """Let a model answer texts: what `lmwb predict` does, as part of a recipe."""

    kind: Literal["predict"] = "predict"
    name: StageName = "predict"
    """Names the stage's folder, which gets predictions.jsonl."""
    task: TaskName
    """What the model does."""
    model: PretrainedModel
    """A model that has learned to do it."""
    texts: list[NotEmpty] = []
    """What is asked; `[MASK]` is a gap for `fill-mask`, whatever the model calls it."""
    data: PredictData | None = None
    """More of what is asked."""
    top: Positive = 5
    """Answers to give for each text, or for each gap."""
    batch_size: Positive = 16
    """Texts that are answered at once; `decoding` and `rewriting` have their own."""
    decoding: Decoding = Decoding()
    """How `text-generation` goes on."""
    rewriting: Rewriting = Rewriting()
    """How `text-to-text` writes."""
    prefix: str = ""
    """What `text-to-text` puts before each text, such as `summarize: ` for T5."""
    language: NotEmpty | None = None
    """The language of the texts, for translation models of many languages."""
    target: NotEmpty | None = None
    """The language to translate to, likewise."""

    @model_validator(mode="after")
    def _asks_something(self) -> "PredictStage":
        if not self.texts and self.data is None:
            raise rule_broken("texts", "there is nothing to answer; give 'texts' or a [data] table")
        return self
