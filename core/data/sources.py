"""Reading texts: files of any common kind, folders of them, hub datasets, and a built-in corpus.

A source is named by a string; `read_documents` turns it into the texts it holds. What cannot be read is
told with the file and the row.
"""

import csv
import gzip
import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from ..errors import ValueInRecipeError
from ..text import printable

if TYPE_CHECKING:
    from datasets import Dataset

DocumentKind = Literal["file", "line", "paragraph", "article"]

BUILT_IN = ("python-reference",)
_HEADING = re.compile(r"^ = (?!= )[^\n]*[^= \n] = *$", re.MULTILINE)
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
HUB = "hub:"


class SourceError(ValueInRecipeError):
    """A source cannot be read; `key` is the recipe's key that is to blame."""

    def __init__(self, message: str, key: str = "data.train"):
        super().__init__(key, message)


def read_documents(source: str, text: str, documents: DocumentKind, limit: int | None = None) -> list[str]:
    """All texts of a source, in its order.

    Args:
        source: an absolute path, `hub:NAME[/CONFIG][:SPLIT]`, or the name of a built-in corpus.
        text: the column that holds the text, in tables.
        documents: what one document is in a text file; `article` joins the rows of a table, too.
        limit: at most so many documents.

    Raises:
        SourceError: it cannot be read, or holds no text.
    """
    found = [document for document in itertools.islice(_documents(source, text, documents), limit) if document.strip()]
    if not found:
        raise SourceError(f"{printable(source)} holds no text")
    return found


def _documents(source: str, text: str, documents: DocumentKind) -> Iterator[str]:
    if source in BUILT_IN:
        return python_reference()
    if documents == "article" and (source.startswith(HUB) or kind_of(Path(source)) in TABLES):
        return _articles("\n".join(row.removesuffix("\n") for row in _documents(source, text, "line")))
    if source.startswith(HUB):
        return (_text_of(Path(source), number, row, text) for number, row in read_table(source))
    path = Path(source)
    if path.is_dir():
        return _folder_texts(path, documents)
    if kind_of(path) in TABLES:
        return (_text_of(path, number, row, text) for number, row in read_rows(path))
    return _split(read_text(path), documents)


def read_table(source: str, limit: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table file or of a hub dataset, each with its line (or row) number for messages.

    Args:
        source: an absolute path, or `hub:NAME[/CONFIG][:SPLIT]`.
        limit: at most so many rows.

    Raises:
        SourceError: it cannot be read, or is no table.
    """
    if source.startswith(HUB):
        rows = ((number, cast("dict[str, Any]", row)) for number, row in enumerate(hub_dataset(source), 1))
        return itertools.islice(rows, limit)
    path = Path(source)
    if path.is_dir() or kind_of(path) not in TABLES:
        found = "a folder" if path.is_dir() else "no table"
        raise SourceError(f"{printable(source)} is {found}; give a file with columns: {', '.join(TABLES)}")
    return itertools.islice(read_rows(path), limit)


def kind_of(path: Path) -> str:
    """The suffix that tells how to read a file, `.gz` left aside."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def python_reference() -> Iterator[str]:
    """The Python language reference, topic by topic, as every Python carries it for `help()` (0.7 MB)."""
    from pydoc_data.topics import topics

    return iter(topics[name].strip() for name in sorted(topics))


def read_text(path: Path) -> str:
    """A whole text file.

    Raises:
        SourceError: it cannot be opened or is not UTF-8 text.
    """
    try:
        with _open(path) as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise SourceError(f"cannot read {printable(str(path))}: {_reason(error)}") from None
    if b"\0" in data[:8192]:
        raise SourceError(f"{printable(str(path))} is a binary file, not text")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{printable(str(path))} is not UTF-8: line {line} has the byte 0x{data[error.start]:02X}; "
            "convert it, for example with iconv"
        ) from None


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, each with its line (or row) number for messages.

    Raises:
        SourceError: the file or a row of it cannot be read.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        return _parquet_rows(path)
    if kind == ".json":
        return _json_rows(path)
    if kind == ".jsonl":
        return _json_lines(path)
    return _delimited_rows(path, "\t" if kind == ".tsv" else ",")


def _delimited_rows(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    columns = next(reader, [])
    for cells in reader:
        if len(cells) != len(columns):
            if not cells:
                continue
            raise SourceError(
                f"{printable(str(path))}: line {reader.line_num} has {len(cells)} columns where the header has "
                f"{len(columns)}; quote cells that hold the delimiter"
            )
        yield reader.line_num, dict(zip(columns, cells, strict=True))


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, _json_object(path, f"line {number}", line)


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_text(path)
    if not content.lstrip().startswith("["):
        yield from _json_lines(path)
        return
    try:
        rows = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f"{printable(str(path))} is not JSON: {error}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise SourceError(f"{printable(str(path))}: item {number} is not an object with columns")
        yield number, cast("dict[str, Any]", row)


def _json_object(path: Path, place: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f"{printable(str(path))}: {place} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise SourceError(f"{printable(str(path))}: {place} is not an object with columns")
    return cast("dict[str, Any]", row)


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with _open(path) as file:
            source = io.BytesIO(file.read()) if path.name.endswith(".gz") else path
        for batch in pq.ParquetFile(source).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"cannot read {printable(str(path))}: {_reason(error)}") from None


def _text_of(path: Path, number: int, row: dict[str, Any], column: str) -> str:
    if column not in row:
        names = ", ".join(printable(name) for name in row)
        raise SourceError(
            f"{printable(str(path))} has no column '{printable(column)}'; it has {names}", key="data.text"
        )
    value = row[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        found = type(value).__name__
        raise SourceError(
            f"{printable(str(path))}: row {number} has {found} in column '{printable(column)}', not text",
            key="data.text",
        )
    return value


def _folder_texts(folder: Path, documents: DocumentKind) -> Iterator[str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and kind_of(file) in (".txt", ".md"))
    if not files:
        raise SourceError(f"the folder {printable(str(folder))} holds no .txt or .md files")
    for file in files:
        yield from _split(read_text(file), documents)


def hub_dataset(source: str) -> "Dataset":
    """A dataset on the hub named `hub:OWNER/NAME` or `hub:OWNER/NAME/CONFIG`, each with `:SPLIT` (default train).

    Raises:
        SourceError: it cannot be loaded.
    """
    import datasets

    datasets.disable_progress_bars()
    name, _, split = source.removeprefix(HUB).partition(":")
    parts = name.split("/")
    path, config = ("/".join(parts[:2]), "/".join(parts[2:]) or None) if len(parts) > 1 else (name, None)
    try:
        return datasets.load_dataset(path, config, split=split or "train")
    except Exception as error:
        raise SourceError(f"cannot load the dataset '{printable(name)}' from the hub: {_reason(error)}") from None


def _split(content: str, documents: DocumentKind) -> Iterator[str]:
    if documents == "file":
        return iter([content])
    if documents == "article":
        return _articles(content)
    return iter(content.split("\n" if documents == "line" else "\n\n"))


def _articles(content: str) -> Iterator[str]:
    """The texts that each begin with a heading of the highest level, as WikiText writes it."""
    starts = [0, *(match.start() for match in _HEADING.finditer(content)), len(content)]
    return (content[start:end] for start, end in itertools.pairwise(starts))


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _reason(error: BaseException) -> str:
    """An exception's message, in one printable line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])
