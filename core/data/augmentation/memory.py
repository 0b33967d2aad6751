"""What a model has written for each text, remembered in a SQLite file, so that no text is ever rewritten twice.

An entry is found by the model's files, the settings and the text. Texts are remembered batch by batch: a job that is
killed goes on where it was. A file that cannot be used costs time, never a run.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

Rewrite = Callable[[Sequence[str]], Sequence[Sequence[str]]]
"""From texts to what is written for each: one text or several, or none for a text that is too long."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS written (
    what BLOB NOT NULL,  -- sha256 of model and settings
    text BLOB NOT NULL,  -- sha256 of the text
    answers TEXT NOT NULL,  -- JSON list
    PRIMARY KEY (what, text)
) WITHOUT ROWID
"""
_PATIENCE_SECONDS = 60.0
_ASKED_AT_ONCE = 500


class Memory:
    """The file."""

    def __init__(self, path: Path, tell: Callable[[str], None]):
        """The file need not exist; `tell` hears if it cannot be used."""
        self._path = path
        self._tell = tell

    def recall(self, key: Mapping[str, object], texts: Sequence[str]) -> dict[str, list[str]]:
        """What is remembered of the texts, by text."""
        what = _hash(key)
        by_hash = {_hash(text): text for text in texts}
        hashes, found = list(by_hash), dict[str, list[str]]()

        def ask(file: sqlite3.Connection) -> None:
            for start in range(0, len(hashes), _ASKED_AT_ONCE):
                some = hashes[start : start + _ASKED_AT_ONCE]
                question = (
                    f"SELECT text, answers FROM written WHERE what = ? AND text IN ({', '.join('?' * len(some))})"
                )
                rows = file.execute(question, [what, *some])
                found.update({by_hash[text]: json.loads(answers) for text, answers in rows})

        self._with_file(ask)
        return found

    def remember(self, key: Mapping[str, object], written: Mapping[str, Sequence[str]]) -> None:
        """Keep what was written for some texts; on disk when this returns."""
        what = _hash(key)
        rows = [(what, _hash(text), json.dumps(list(answers))) for text, answers in written.items()]

        def keep(file: sqlite3.Connection) -> None:
            with file:
                file.executemany("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", rows)

        self._with_file(keep)

    def _with_file(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """What goes wrong with the file is told, and otherwise of no consequence."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_SECONDS)) as file:
                file.execute("PRAGMA journal_mode = WAL")
                file.execute(_SCHEMA)
                work(file)
        except (sqlite3.Error, OSError, ValueError) as error:
            self._tell(f"cannot use the memory of rewritten texts {self._path}: {error}")


class Remembering:
    """A rewriter that asks the memory first, and makes the model only when it is needed."""

    def __init__(self, make: Callable[[], Rewrite], key: Mapping[str, object], memory: Memory, batch: int):
        """`key` is everything that the answers depend on besides the text; `batch` texts are remembered at once."""
        self._make = make
        self._key = key
        self._memory = memory
        self._batch = batch

    def __call__(
        self, texts: Sequence[str], after: Callable[[int, int], None] = lambda _done, _total: None
    ) -> list[list[str]]:
        """What is written for each text; `after` hears how many of how many texts are done, after each batch."""
        answers = self._memory.recall(self._key, texts)
        missing = sorted({text for text in texts if text not in answers}, key=lambda text: (len(text), text))
        total = len(missing) + len(answers)
        after(len(answers), total)
        rewrite = self._make() if missing else None
        for start in range(0, len(missing), self._batch):
            some = missing[start : start + self._batch]
            assert rewrite is not None
            new = {text: list(answer) for text, answer in zip(some, rewrite(some), strict=True)}
            self._memory.remember(self._key, new)
            answers |= new
            after(len(answers), total)
        return [answers[text] for text in texts]


def _hash(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
