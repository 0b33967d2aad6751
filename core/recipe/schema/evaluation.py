"""The stage that measures models: perplexity, and ROUGE of what they generate."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import NotEmpty, Positive, StageName, Table, rule_broken
from .decoding import Decoding


class EvaluationData(Table):
    """What models are measured on."""

    test: NotEmpty
    """The source: a text file, a folder, a table, `hub:NAME` or `python-reference`."""
    examples: Literal["texts", "stories", "pairs"] = "texts"
    """`texts`: whole texts. `stories`: the second sentence of each text, given the first. `pairs`: a table with a
    column for what is given and one for what follows it."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    prefix: NotEmpty = "prefix"
    """With `pairs`: the column that holds what is given."""
    continuation: NotEmpty = "continuation"
    """With `pairs`: the column that holds what follows; it is put right behind, white space and all."""
    documents: Literal["file", "line", "paragraph"] = "paragraph"
    """What one text is in a .txt file: the whole file, a line, or what blank lines separate."""
    max_rows: Positive | None = None
    """Use only so many texts or pairs, the first ones."""


class EvaluateStage(Table):
    """Measure models on the same texts: one table, before and after."""

    kind: Literal["evaluate"] = "evaluate"
    name: StageName = "evaluate"
    """Names the stage's folder."""
    models: Annotated[dict[NotEmpty, NotEmpty], Field(min_length=1)]
    """The models by the names that they get in the table, such as `before` and `after`: each an earlier stage, a
    folder, `run:RUN` or `run:RUN/STAGE`, or a name on the hub."""
    data: EvaluationData
    """What they are measured on."""
    measures: Annotated[list[Literal["perplexity", "rouge"]], Field(min_length=1)] = ["perplexity"]
    """`rouge` compares what a model generates after each prefix with what really follows."""
    boundary: Literal["split", "joint"] = "split"
    """Where a continuation begins in tokens. `split`: prefix and continuation are encoded each by itself. `joint`: both
    as one text; a token that belongs to both counts as continuation."""
    beginning: Literal["tokenizer", "always", "never"] | None = None
    """What stands before each text: what the tokenizer puts there by itself, its beginning-of-text token, or nothing.
    If not given, `tokenizer` for whole texts and `never` for continuations."""
    order: Annotated[int, Field(ge=1, le=9)] = 3
    """Length of the longest n-grams that pooled ROUGE counts."""
    decoding: Decoding = Decoding()
    """With `rouge`: how continuations are generated."""

    @model_validator(mode="after")
    def _has_gold(self) -> "EvaluateStage":
        if "rouge" in self.measures and self.data.examples == "texts":
            raise rule_broken("measures", "'rouge' needs something to go on from: data.examples 'stories' or 'pairs'")
        if len(set(self.measures)) < len(self.measures):
            raise rule_broken("measures", "a measure stands twice in 'measures'")
        return self
