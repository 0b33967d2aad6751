"""Words' vectors from text files such as those of GloVe (Pennington et al. 2014): a word and its numbers a line.

400,000 words with 100 numbers each take a few seconds to read; what was read is kept in the cache as a matrix that is
mapped into memory, and is there at once the next time.
"""

import gzip
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ValueInRecipeError
from ..text import printable
from .glove import fetched

Tell = Callable[[str], None]

_FORMAT = 1
_PROBED_LINES = 200
_EDGE = 1 << 16


@dataclass(frozen=True)
class Vectors:
    """Words with a vector each, in the file's order, each word once.

    Attributes:
        words: the words, most frequent first in GloVe's files.
        matrix: float32, (words, width).
    """

    words: Sequence[str]
    matrix: NDArray[np.float32]

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.matrix.shape[1]

    def row(self, word: str) -> int | None:
        """The row of the word's vector; None if it has none."""
        return self._rows.get(word)

    def __contains__(self, word: str) -> bool:
        return word in self._rows

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}


def load_vectors(source: str, cache: Path | None, tell: Tell, key: str) -> Vectors:
    """The vectors of a file, from the cache if it has not changed since it was read.

    Args:
        source: a path (.txt, .vec, each also .gz), or `glove:SET.WIDTHd`, which is fetched once.
        cache: a folder for what can be made again; None to read the file anew and keep nothing.
        tell: hears what was fetched, kept or passed over.
        key: the recipe's key, for errors.

    Raises:
        ValueInRecipeError: the file is not there, cannot be fetched, or is damaged.
    """
    path = fetched(source, cache, tell, key) if source.startswith("glove:") else Path(source)
    try:
        kept = None if cache is None else cache / "vectors" / _fingerprint(path)
        if kept is None:
            words, matrix, repeated = _read(path, key)
        elif (kept / "facts.json").exists():
            words, matrix, repeated = _take(kept)
        else:
            words, matrix, repeated = _read(path, key)
            tell(f"vectors: {len(words):,} words from {printable(str(path))}; kept in the cache")
            _keep(kept, words, matrix, repeated)
    except OSError as error:
        raise ValueInRecipeError(key, f"cannot read {printable(str(path))}: {error.strerror or error}") from None
    if repeated:
        tell(f"vectors: {repeated:,} words stand in {printable(path.name)} more than once; the first vector counts")
    return Vectors(words, matrix)


def _fingerprint(path: Path) -> str:
    """Changes with the file: its size, its time, its first and last bytes."""
    found = path.stat()
    digest = hashlib.sha256(f"{_FORMAT} {found.st_size} {found.st_mtime_ns}".encode())
    with path.open("rb") as file:
        digest.update(file.read(_EDGE))
        file.seek(max(0, found.st_size - _EDGE))
        digest.update(file.read(_EDGE))
    return digest.hexdigest()[:24]


def _keep(folder: Path, words: Sequence[str], matrix: NDArray[np.float32], repeated: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        np.save(unfinished / "vectors.npy", matrix)
        (unfinished / "words.txt").write_bytes("\n".join(words).encode())
        (unfinished / "facts.json").write_text(json.dumps({"repeated": repeated}))
        os.rename(unfinished, folder)  # noqa: PTH104 - never into a folder that is there already
    except OSError:
        if not (folder / "facts.json").exists():  # another run may have been quicker
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _take(folder: Path) -> tuple[list[str], NDArray[np.float32], int]:
    words = (folder / "words.txt").read_bytes().decode().split("\n")
    matrix: NDArray[np.float32] = np.load(folder / "vectors.npy", mmap_mode="r")
    return words, matrix, int(json.loads((folder / "facts.json").read_text())["repeated"])


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """How a file is laid out.

    Attributes:
        header: it begins with a line of counts, as word2vec's do.
        width: numbers in a line.
        space_at_end: lines end with a space, as those of word2vec's own tool.
    """

    header: bool
    width: int
    space_at_end: bool


def _read(path: Path, key: str) -> tuple[list[str], NDArray[np.float32], int]:
    """Words, matrix, and how many words were passed over since they stand there twice."""
    import pyarrow as pa

    shape = _shape(path, key)
    try:
        words, matrix = _columns(path, shape)
    except (pa.ArrowException, UnicodeDecodeError):
        raise _damage(path, shape, key) from None
    if not len(matrix) or not np.isfinite(matrix).all():
        raise _damage(path, shape, key)
    first = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(first) == len(words):
        return words, matrix, 0
    rows = sorted(first.values())
    return [words[row] for row in rows], matrix[rows], len(words) - len(rows)


def _columns(path: Path, shape: _Shape) -> tuple[list[str], NDArray[np.float32]]:
    """Words and matrix, through Arrow's reader of tables, which knows no words with spaces: these come last."""
    import pyarrow as pa
    from pyarrow import csv

    width, spaced = shape.width, list[str]()

    def pass_over(row: Any) -> str:
        if row.actual_columns < row.expected_columns:
            return "error"
        spaced.append(row.text)
        return "skip"

    names = ["word", *map(str, range(width))]
    end = ["end"] if shape.space_at_end else []
    table = csv.read_csv(
        path,
        csv.ReadOptions(column_names=names + end, skip_rows=int(shape.header), block_size=1 << 23),
        csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False, invalid_row_handler=pass_over),
        csv.ConvertOptions(
            column_types={"word": pa.string(), **dict.fromkeys(names[1:], pa.float32())},
            include_columns=names,
            null_values=[],
        ),
    )
    extra = [line.rstrip(" ").rsplit(" ", width) for line in sorted(spaced)]
    words = cast("list[str]", table["word"].to_pylist()) + [word for word, *_ in extra]
    matrix = np.empty((len(words), width), np.float32)
    for column in range(width):
        matrix[: len(table), column] = table.column(column + 1).to_numpy()
    for row, (_, *numbers) in enumerate(extra, len(table)):
        try:
            matrix[row] = [float(number) for number in numbers]
        except ValueError as error:
            raise pa.ArrowInvalid(str(error)) from None
    return words, matrix


def _shape(path: Path, key: str) -> _Shape:
    """What the first lines show; the width is that of most of them."""
    try:
        with _open(path) as file:
            lines = [line.rstrip(b"\r\n") for line in itertools.islice(file, _PROBED_LINES)]
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueInRecipeError(key, f"{printable(str(path))} is damaged: {error}") from None
    counts = lines[0].split(b" ") if lines else []
    header = len(counts) == 2 and all(count.isdigit() for count in counts)
    rest = lines[int(header) :]
    space_at_end = sum(line.endswith(b" ") for line in rest) * 2 > len(rest)
    widths = Counter(line.rstrip(b" ").count(b" ") for line in rest)
    width = int(counts[1]) if header else widths.most_common(1)[0][0] if widths else 0
    if width < 1:
        raise ValueInRecipeError(
            key, f"{printable(str(path))} holds no vectors; each line should be a word and its numbers"
        )
    return _Shape(header, width, space_at_end)


def _damage(path: Path, shape: _Shape, key: str) -> ValueInRecipeError:
    """Says which line is to blame, found by reading them one by one."""
    number, width = 0, shape.width
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if (number == 1 and shape.header) or not line.strip():
                    continue
                try:
                    word, *numbers = line.decode().rstrip("\r\n").rstrip(" ").rsplit(" ", width)
                    whole = len(numbers) == width and np.isfinite([float(x) for x in numbers]).all() and word != ""
                except ValueError:
                    whole = False
                if not whole:
                    begin = printable(line[:40].decode(errors="replace").rstrip())
                    return ValueInRecipeError(
                        key,
                        f"{printable(str(path))}: line {number} is not a word and {width} numbers: '{begin}…'; "
                        "mend or fetch the file again",
                    )
    except (EOFError, gzip.BadGzipFile) as error:
        return ValueInRecipeError(key, f"{printable(str(path))} is damaged after line {number}: {error}")
    return ValueInRecipeError(key, f"{printable(str(path))} cannot be read as vectors of {width} numbers")


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")
