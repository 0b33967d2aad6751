"""Short names for what tokenised rows were made from: files, texts, tokenizers.

The hash of large sources is remembered with their size and time of change, so that it is worked out once.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_atomically
from ..text import printable
from .sources import HUB, SourceError, hub_dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LARGE = 16 * 2**20
"""Sources of more bytes than this have their hash remembered."""
_SETTLED = 2.0
"""Seconds after which a file's time of change is trusted: a later change shows in it, however coarse the clock."""


def hash_of_named(source: str, key: str, memory: Path) -> str:
    """Changes when what a recipe names does: a file, a folder, or a dataset on the hub.

    Args:
        source: as the recipe has it, paths absolute.
        key: the recipe's key that names it, for messages.
        memory: a folder that remembers the hashes of large sources; need not exist.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return str(hub_dataset(source)._fingerprint) if source.startswith(HUB) else hash_of_source(Path(source), memory)
    except SourceError as error:
        raise SourceError(str(error), key) from None
    except OSError as error:
        raise SourceError(f"cannot read {printable(source)}: {error.strerror}", key) from None


def hash_of_source(path: Path, memory: Path) -> str:
    """Changes when a byte of a file does, or of any file in a folder, or a name in it.

    Args:
        path: a file or a folder.
        memory: a folder that remembers the hashes of large sources; need not exist.

    Raises:
        OSError: something cannot be read.
    """
    listed = [(file.relative_to(path).as_posix(), file.stat()) for file in _files(path)]
    facts = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in listed]
    large = sum(stat.st_size for _, stat in listed) > _LARGE
    settled = all(stat.st_mtime < time.time() - _SETTLED for _, stat in listed)
    place = memory / f"{_sha256(str(path).encode())[:32]}.json"
    if large and settled and (known := _remembered(place, facts)):
        return known
    digest = hashlib.sha256()
    for name, _ in listed:
        with (path / name if name != "." else path).open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if large and settled:
        with suppress(OSError):
            write_atomically(place, json.dumps({"facts": facts, "sha256": digest.hexdigest()}).encode())
    return digest.hexdigest()


def hash_of_texts(texts: Iterable[str]) -> str:
    """Changes when a text does, or their order."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def hash_of_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Changes when the tokenizer would give other ids; what was last truncated or padded with it does not count."""
    import transformers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    inner: Any = sorted(tokenizer.get_vocab().items())
    if backend is not None:
        inner = json.loads(backend.to_str())
        inner["truncation"] = inner["padding"] = None
    described = [
        type(tokenizer).__name__,
        transformers.__version__,
        inner,
        {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        tokenizer.truncation_side,
        tokenizer.model_input_names,
    ]
    return _sha256(json.dumps(described, ensure_ascii=True).encode())


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files of a folder in order of their names; hidden ones are left aside."""
    if not path.is_dir():
        return iter([path])
    found = (file for file in path.rglob("*") if file.is_file())
    return iter(sorted(file for file in found if not file.name.startswith(".")))


def _remembered(place: Path, facts: list[list[Any]]) -> str | None:
    try:
        known = json.loads(place.read_bytes())
        return str(known["sha256"]) if known["facts"] == facts else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
