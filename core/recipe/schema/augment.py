"""The stage that makes more rows out of few, and its ways of doing so."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .base import NotEmpty, Positive, Share, StageName, Table, kind_of, rule_broken
from .rewriting import Rewriting

AugmenterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$", max_length=40)]


class BackTranslation(Rewriting):
    """Translate into another language and back (Sennrich et al. 2016; Edunov et al. 2018)."""

    kind: Literal["back-translation"] = "back-translation"
    name: AugmenterName
    """Names the rows, such as `fi` in `train-1-aug-fi`; letters, digits, '_' and '.'."""
    there: NotEmpty
    """The model that translates into the other language: a folder, or a name on the hub."""
    back: NotEmpty | None = None
    """The model that translates back; a model of many languages does both, then it may be left out."""
    language: NotEmpty | None = None
    """The language of the texts, as a model of many languages calls it: `en` for M2M-100, `eng_Latn` for NLLB."""
    pivot: NotEmpty | None = None
    """The other language, likewise: `fi`, `fin_Latn`."""

    @model_validator(mode="after")
    def _goes_both_ways(self) -> "BackTranslation":
        if self.back is None and (self.language is None or self.pivot is None):
            raise rule_broken("back", "name the model that translates back, or 'language' and 'pivot' for one of many")
        return self


class WordEdits(Table):
    """Change words by a dictionary, by swapping and by leaving out (Wei & Zou 2019); needs no model.

    Each new text comes from one of the edits, drawn anew.
    """

    kind: Literal["word-edits"] = "word-edits"
    name: AugmenterName = "edit"
    """Names the rows: `train-1-aug-edit`; letters, digits, '_' and '.'."""
    synonyms: NotEmpty | None = None
    """A text file with a line for each word: the word, then what may stand in for it, separated by commas."""
    replace: Share = 0.1
    """Share of a text's words to be replaced by synonyms, at least one; 0 for none."""
    swap: Share = 0.1
    """Share of a text's words to change places with another, at least one; 0 for none."""
    delete: Share = 0.1
    """Chance of each word to be left out; 0 for none."""
    variants: Annotated[int, Field(ge=1, le=64)] = 1
    """Texts to make of each text."""

    @model_validator(mode="after")
    def _does_something(self) -> "WordEdits":
        if not (self.swap or self.delete or (self.replace and self.synonyms)):
            raise rule_broken("swap", "nothing would change: give 'swap', 'delete' or 'synonyms'")
        return self


class PluginAugmenter(Table):
    """An augmenter of another package, found by the entry point `lmwb.augmenters`."""

    kind: Literal["plugin"] = "plugin"
    name: AugmenterName
    """Its name there; also names the rows."""
    options: dict[str, Any] = {}
    """What it is given."""


def _kind(value: Any) -> str | None:
    return kind_of(value, "back-translation")


Augmenter = Annotated[
    Annotated[BackTranslation, Tag("back-translation")]
    | Annotated[WordEdits, Tag("word-edits")]
    | Annotated[PluginAugmenter, Tag("plugin")],
    Discriminator(_kind),
]
AnyAugmenter = BackTranslation | WordEdits | PluginAugmenter


class AugmentData(Table):
    """Rows to make more of: a table, all of whose columns are kept."""

    train: NotEmpty
    """A table (.csv, .tsv, .json, .jsonl, .parquet), or `hub:NAME`."""
    text: NotEmpty = "text"
    """The column with the text that is changed."""
    max_rows: Positive | None = None
    """Use only so many rows, the first ones."""


class AugmentStage(Table):
    """Make new rows out of a table's rows and write them to a table; other stages read it as `stage:NAME`."""

    kind: Literal["augment"] = "augment"
    name: StageName = "augment"
    """Names the stage's folder, and the table for other stages: `data.train = "stage:augment"`."""
    data: AugmentData
    """The rows."""
    augmenter: Annotated[list[Augmenter], Field(min_length=1)]
    """What makes new texts; each is given the original ones."""
    originals: bool = True
    """Write the original rows, too, before the new ones."""
    origin: NotEmpty = "origin"
    """The column that says where a row comes from: `train-1`, or `train-1-aug-fi` for a new one."""
    format: Literal["csv", "jsonl"] = "csv"
    """How the table is written."""

    @model_validator(mode="after")
    def _names_differ(self) -> "AugmentStage":
        names = [each.name for each in self.augmenter]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise rule_broken("augmenter", f"two augmenters are called '{twice}'; give each a 'name' of its own")
        return self

    @property
    def file(self) -> str:
        """What the table is called in the stage's folder."""
        return f"rows.{self.format}"
