"""The stage that lets a model go on from prompts."""

from typing import Literal

from pydantic import model_validator

from .base import NotEmpty, Positive, StageName, Table, rule_broken
from .decoding import Decoding
from .model import PretrainedModel


class PromptData(Table):
    """Prompts from a file or a table."""

    source: NotEmpty
    """A text file, a table, or `hub:NAME`."""
    text: NotEmpty = "text"
    """The column that holds the prompt, in tables."""
    documents: Literal["file", "line", "paragraph"] = "line"
    """What one prompt is in a .txt file: the whole file, a line, or what blank lines separate."""
    max_rows: Positive | None = None
    """Use only so many prompts, the first ones."""


class GenerateStage(Table):
    """Let a causal language model go on from prompts: what `lmwb generate` does, as part of a recipe."""

    kind: Literal["generate"] = "generate"
    name: StageName = "generate"
    """Names the stage's folder, which gets generations.jsonl and generations.txt."""
    model: PretrainedModel
    """The model that speaks."""
    prompts: list[str] = []
    """What it goes on from; an empty text is the token that texts begin with."""
    data: PromptData | None = None
    """More of what it goes on from."""
    decoding: Decoding = Decoding()
    """How it goes on."""
    tree: bool = False
    """Write every step of each search to generations.jsonl, too."""

    @model_validator(mode="after")
    def _asks_something(self) -> "GenerateStage":
        if not self.prompts and self.data is None:
            raise rule_broken("prompts", "there is nothing to go on from; give 'prompts' or a [data] table")
        return self
