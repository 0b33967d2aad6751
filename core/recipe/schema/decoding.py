"""The table `[decoding]`: how a model goes on from a prompt, and the score processors that have a say in it."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .base import NotEmpty, Positive, Table, kind_of, rule_broken

Scope = Literal["all", "generated"]
Mass = Annotated[float, Field(gt=0, le=1)]


class BlockWords(Table):
    """Block every token that is in the text already. Tokens, not words: ` cat` and `cat` differ."""

    kind: Literal["words"] = "words"
    scope: Scope = "all"
    """Look at prompt and generated tokens, or at generated tokens only."""


class BlockNgrams(Table):
    """Block every token that would repeat a sequence of n tokens that is in the text already."""

    kind: Literal["ngrams"] = "ngrams"
    n: Annotated[int, Field(ge=1, le=64)] = 3
    """Length of the sequences: 3 blocks trigrams."""
    scope: Scope = "all"
    """Look at prompt and generated tokens, or at generated tokens only."""


class BadWords(Table):
    """Block words, however the tokenizer writes them in the middle or at the beginning of a text."""

    kind: Literal["bad-words"] = "bad-words"
    words: Annotated[list[NotEmpty], Field(min_length=1)]
    """The words; of several tokens, the last is blocked after the others."""
    scope: Scope = "all"
    """Whether the first tokens of such a word may be the prompt's."""


class MinimumLength(Table):
    """Block the end of text until so many tokens are generated."""

    kind: Literal["minimum-length"] = "minimum-length"
    tokens: Positive
    """Generated tokens before the text may end."""


class Temperature(Table):
    """Divide the scores by a number: below 1 the likely becomes likelier."""

    kind: Literal["temperature"] = "temperature"
    value: Annotated[float, Field(gt=0, le=1000)]
    """The number."""


class TopK(Table):
    """Keep the k best tokens of each step."""

    kind: Literal["top-k"] = "top-k"
    k: Positive
    """How many."""


class TopP(Table):
    """Keep the fewest best tokens that together have a probability of p at least (Holtzman et al. 2020)."""

    kind: Literal["top-p"] = "top-p"
    p: Mass
    """The probability."""


class MinP(Table):
    """Keep the tokens with at least a share p of the best token's probability (Nguyen et al. 2024)."""

    kind: Literal["min-p"] = "min-p"
    p: Mass
    """The share."""


class PluginProcessor(Table):
    """A processor that an installed package offers at the entry point `lmwb.processors`."""

    kind: Literal["plugin"] = "plugin"
    name: NotEmpty
    """Its name there."""
    options: dict[str, Any] = {}
    """What it is made with."""
    scope: Scope = "all"
    """Let it see prompt and generated tokens, or generated tokens only."""


def _kind(value: Any) -> str | None:
    return kind_of(value, "words")


Processor = Annotated[
    Annotated[BlockWords, Tag("words")]
    | Annotated[BlockNgrams, Tag("ngrams")]
    | Annotated[BadWords, Tag("bad-words")]
    | Annotated[MinimumLength, Tag("minimum-length")]
    | Annotated[Temperature, Tag("temperature")]
    | Annotated[TopK, Tag("top-k")]
    | Annotated[TopP, Tag("top-p")]
    | Annotated[MinP, Tag("min-p")]
    | Annotated[PluginProcessor, Tag("plugin")],
    Discriminator(_kind),
]
AnyProcessor = BlockWords | BlockNgrams | BadWords | MinimumLength | Temperature | TopK | TopP | MinP | PluginProcessor


class Decoding(Table):
    """How a model goes on from a prompt, and what is recorded of it."""

    search: Literal["beam", "greedy", "sample"] = "beam"
    """Keep the best beams, always take the best token, or draw."""
    beams: Annotated[int, Field(ge=1, le=256)] = 5
    """Texts that beam search keeps at each step, and gives back."""
    samples: Annotated[int, Field(ge=1, le=256)] = 1
    """With `sample`: texts to draw for each prompt."""
    tokens: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Tokens to generate."""
    temperature: Annotated[float, Field(gt=0, le=1000)] | None = None
    """With `sample`: what the scores are divided by before drawing."""
    top_k: Positive | None = None
    """With `sample`: draw from the k likeliest tokens only."""
    top_p: Mass | None = None
    """With `sample`: draw from the fewest likeliest tokens that together have this probability."""
    min_p: Mass | None = None
    """With `sample`: draw from tokens with at least this share of the likeliest token's probability."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """With `sample`: the same seed draws the same tokens for the same prompt."""
    end: Literal["ignore", "stop"] = "ignore"
    """Take the end of text for a token like any other, or stop there."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] = 0.0
    """Finished texts are ranked by their score divided by the number of generated tokens to this power; above 0
    favours long ones."""
    early_stopping: bool = False
    """With `end = "stop"`: be content as soon as there are as many finished texts as beams."""
    processors: list[Processor] = []
    """What changes the scores of the tokens before the best are chosen, in this order."""
    alternatives: Annotated[int, Field(ge=0, le=100)] = 8
    """Likeliest tokens to record beside each token."""
    exact: bool = False
    """One prompt at a time, so that no figure depends on the other prompts, not even in its last digits."""
    batch_size: Positive = 16
    """Prompts that are worked on at once."""

    @model_validator(mode="after")
    def _fits_search(self) -> "Decoding":
        if self.search != "sample":
            for key in ("temperature", "top_k", "top_p", "min_p"):
                if getattr(self, key) is not None:
                    raise rule_broken(key, f"'{key}' is for search = \"sample\"; other searches take it as a processor")
            if self.samples > 1:
                raise rule_broken("samples", "only search = \"sample\" draws several texts; say 'beams'")
        if self.early_stopping and (self.search != "beam" or self.end != "stop"):
            raise rule_broken("early_stopping", 'there is nothing to stop early without search = "beam", end = "stop"')
        return self

    @property
    def rows(self) -> int:
        """Texts that are kept for each prompt."""
        return {"beam": self.beams, "sample": self.samples, "greedy": 1}[self.search]
