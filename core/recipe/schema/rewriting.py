"""The keys of an encoder–decoder model that writes one text for another: how it searches, and the languages."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Positive, Table, rule_broken


class Rewriting(Table):
    """How an encoder–decoder model writes."""

    search: Literal["beam", "sample"] = "beam"
    """`beam`: the best texts that beam search finds. `sample`: drawn from the model's probabilities."""
    beams: Annotated[int, Field(ge=1, le=64)] = 4
    """With `beam`: how many texts are kept while searching."""
    variants: Annotated[int, Field(ge=1, le=64)] = 1
    """Texts to write for each text."""
    tokens: Positive = 128
    """The most tokens of a text that is written; how many were cut off there is told."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """With `sample`: what the scores are divided by; less makes likely words likelier."""
    top_k: Positive | None = None
    """With `sample`: draw from the k likeliest tokens only."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """With `sample`: draw from the fewest likeliest tokens that together have this probability."""
    length_penalty: float = 1.0
    """With `beam`: texts are ranked by their score divided by their length to this power."""
    batch_size: Positive = 16
    """Texts that are written at once."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Rewriting":
        if self.search == "beam" and self.variants > self.beams:
            raise rule_broken("variants", f"{self.beams} beams give at most {self.beams} variants; raise 'beams'")
        if self.search == "beam" and (self.top_k is not None or self.top_p is not None or self.temperature != 1.0):
            key = "top_k" if self.top_k is not None else "top_p" if self.top_p is not None else "temperature"
            raise rule_broken(key, f"'{key}' is for search = \"sample\"; beam search draws nothing")
        return self
