"""The tables `[data]`: what is learned from, one kind of table for each kind of example.

A source is a file (.txt, .csv, .tsv, .json, .jsonl, .parquet; each also .gz), a folder, a dataset on the hub
(`hub:NAME`, `hub:NAME/CONFIG:SPLIT`), the table that an earlier stage has made (`stage:NAME`), or something built in
(`python-reference`, `drawn-digits`, `drawn-letters`).
Paths are relative to the recipe's folder.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import NotEmpty, Positive, Share, Table, rule_broken

Validation = NotEmpty | Share
BlockSize = Annotated[int, Field(ge=2)]
DocumentKind = Literal["file", "line", "paragraph", "article"]
GlueTask = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


class TextData(Table):
    """Which texts to learn from, and how they become rows of tokens.

    A source is a file (.txt, .csv, .tsv, .json, .jsonl, .parquet; each also .gz), a folder of text files, a
    dataset on the hub (`hub:NAME`, `hub:NAME/CONFIG:SPLIT`), or a corpus that every Python carries
    (`python-reference`). Paths are relative to the recipe's folder.
    """

    train: NotEmpty
    """The source to train on."""
    validation: Validation = 0.05
    """A source, or the share of the training documents to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A source that is only looked at after training."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    documents: DocumentKind = "paragraph"
    """What one document is in a .txt file: the whole file, a line, or what blank lines separate. `article`: what stands
    between headings such as ` = Robert Boulter = `, as in WikiText; the rows of a table are lines then."""
    packing: Literal["blocks", "documents", "crops"] = "blocks"
    """`blocks`: all documents in one stream, cut into blocks. `documents`: whole documents side by side in a block,
    each seeing only itself, positions starting anew. `crops`: contexts of one length drawn anew for every step, first a
    document, then where in it to begin; validation and test read theirs end to end."""
    block_size: BlockSize = 128
    """Tokens per row."""
    min_tokens: Positive | None = None
    """With packing `crops`: training documents of fewer tokens are left out."""
    too_long: Literal["error", "drop", "split"] = "split"
    """With packing `documents`: what to do with a document longer than a block."""
    max_documents: Positive | None = None
    """Use only so many documents of each source, for trying things out."""


class MaskedData(Table):
    """Which texts to learn from; they are cut into blocks that begin and end with the tokenizer's own marks."""

    train: NotEmpty
    """The source to train on: a text file, a folder, a table, `hub:NAME` or `python-reference`."""
    validation: Validation = 0.05
    """A source, or the share of the training documents to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A source that is only looked at after training."""
    text: NotEmpty = "text"
    """The column that holds the text, in tables."""
    documents: Literal["file", "line", "paragraph"] = "paragraph"
    """What one document is in a .txt file: the whole file, a line, or what blank lines separate."""
    block_size: Annotated[int, Field(ge=4)] = 128
    """Tokens per row, the marks at its beginning and end included."""
    max_documents: Positive | None = None
    """Use only so many documents of each source, for trying things out."""


class InstructionData(Table):
    """Conversations to learn answers from; only the answers, and the marks that end them, are learned."""

    train: NotEmpty
    """The source to train on: a table, or `hub:NAME`."""
    validation: Validation = 0.05
    """A source, or the share of the training examples to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A source that is only looked at after training."""
    format: Literal["dialogue", "alpaca", "messages", "pairs"] = "dialogue"
    """How an example is written. `dialogue`: one text with a mark before each turn. `alpaca`: columns instruction,
    input and output. `messages`: a list of tables with role and content. `pairs`: a column each for prompt and
    completion."""
    text: NotEmpty = "text"
    """With format `dialogue`: the column that holds the text."""
    messages: NotEmpty = "messages"
    """With format `messages`: the column that holds the list."""
    prompt: NotEmpty = "prompt"
    """With format `pairs`: the column that holds what is given."""
    completion: NotEmpty = "completion"
    """With format `pairs`: the column that holds what is to be learned."""
    human: NotEmpty = "### Human:"
    """With format `dialogue`: what stands before a turn that is given."""
    assistant: NotEmpty = "### Assistant:"
    """With format `dialogue`: what stands before a turn that is to be learned."""
    block_size: BlockSize = 512
    """The most tokens of an example."""
    packing: bool = False
    """Put several examples side by side into a row; none sees another."""
    too_long: Literal["error", "drop", "truncate"] | None = None
    """What to do with an example longer than a block; if not given, up to 1 % are dropped and more are an error."""
    max_rows: Positive | None = None
    """Use only so many examples of each source, for trying things out."""


class LabelData(Table):
    """Labelled texts, single or in pairs: columns of a table, a folder of text files per label, or a GLUE task."""

    train: NotEmpty | None = None
    """The source to train on; may be left out with `task`, which then comes from the hub. `stage:NAME` is the table
    that an earlier stage of kind `augment` has made."""
    validation: Validation | None = None
    """A source, or the share of the training rows to set aside; if not given, the task's own, or else 0.05."""
    test: NotEmpty | None = None
    """A labelled source that is only looked at after training."""
    predict: NotEmpty | None = None
    """A source without labels; what the model says of its rows is written to predictions.csv after training."""
    task: GlueTask | None = None
    """A GLUE task: its columns, labels, parts and official metrics. `train` may then name the task's folder of TSV
    files."""
    text: NotEmpty | None = None
    """The column that holds the text, or the first of the pair; `text` if not given."""
    pair: NotEmpty | None = None
    """The column that holds the second text of a pair."""
    label: NotEmpty | None = None
    """The column that holds the label, a name or a number; `label` if not given."""
    labels: list[NotEmpty] | None = None
    """Names of the labels, in the order of their numbers; if not given, those found in the training rows."""
    max_length: Annotated[int, Field(ge=4)] = 128
    """The most tokens of a row."""
    too_long: Literal["error", "drop", "truncate"] = "truncate"
    """What to do with a longer row; how many there were is told."""
    max_rows: Positive | None = None
    """Use only so many rows of each source, for trying things out."""

    @model_validator(mode="after")
    def _has_source(self) -> "LabelData":
        if self.train is None and self.task is None:
            raise rule_broken("train", "missing key 'train' in [data]; name a source, or a GLUE task with 'task'")
        return self


class ChoiceData(Table):
    """Beginnings and several endings each, one of which is right: a table such as SWAG's or CODAH's."""

    train: NotEmpty
    """The source to train on."""
    validation: Validation = 0.05
    """A source, or the share of the training rows to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A labelled source that is only looked at after training."""
    predict: NotEmpty | None = None
    """A source without labels; what the model chooses is written to predictions.csv after training."""
    context: NotEmpty = "sent1"
    """The column that holds the first sentence."""
    start: NotEmpty | None = None
    """The column that holds the beginning of the second sentence, which each ending completes."""
    endings: Annotated[list[NotEmpty], Field(min_length=2)] = ["ending0", "ending1", "ending2", "ending3"]
    """The columns that hold the endings."""
    label: NotEmpty = "label"
    """The column that holds the number of the right ending, from 0."""
    max_length: Annotated[int, Field(ge=4)] = 128
    """The most tokens of context and ending together."""
    too_long: Literal["error", "drop", "truncate"] = "truncate"
    """What to do with a longer row; how many there were is told."""
    max_rows: Positive | None = None
    """Use only so many rows of each source, for trying things out."""


class ImageData(Table):
    """Labelled images: a folder with a folder of images per label, or characters drawn from fonts."""

    train: NotEmpty
    """A folder, `drawn-digits` or `drawn-letters`."""
    validation: Validation = 0.1
    """A source, or the share of the training images to set aside; 0 for no validation at all."""
    test: NotEmpty | None = None
    """A labelled source that is only looked at after training."""
    max_rows: Positive | None = None
    """Use only so many images of each source, for trying things out."""


AnyData = TextData | MaskedData | InstructionData | LabelData | ChoiceData | ImageData
