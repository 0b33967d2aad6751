"""The published GloVe files (Pennington et al. 2014): fetched once, when a recipe asks for one by name."""

import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..errors import ValueInRecipeError
from ..text import printable

Tell = Callable[[str], None]

ADDRESS = "https://nlp.stanford.edu/data/"
_WIDTHS = {"6B": (50, 100, 200, 300), "twitter.27B": (25, 50, 100, 200), "42B": (300,), "840B": (300,)}
"""The published sets, and how many numbers their vectors have."""
_ARCHIVES = {"42B": "glove.42B.300d.zip", "840B": "glove.840B.300d.zip"}
_PIECE = 1 << 20
_PATIENCE = 30.0


def fetched(source: str, cache: Path | None, tell: Tell, key: str) -> Path:
    """The file of `glove:SET.WIDTHd`, such as `glove:6B.100d`; what is not in the cache is fetched.

    Raises:
        ValueInRecipeError: there are no such vectors, or they cannot be fetched; it says where to put the file.
    """
    name = source.removeprefix("glove:")
    match = re.fullmatch(r"(.+)\.(\d+)d", name)
    if match is None or int(match[2]) not in _WIDTHS.get(match[1], ()):
        known = ", ".join(f"glove:{of}.{width}d" for of, widths in _WIDTHS.items() for width in widths)
        raise ValueInRecipeError(key, f"there are no vectors '{printable(source)}'; there are {known}")
    if cache is None:
        raise ValueInRecipeError(key, f"{source} needs a cache folder to be fetched to")
    folder = cache / "glove"
    file = folder / f"glove.{name}.txt"
    archive = folder / _ARCHIVES.get(match[1], f"glove.{match[1]}.zip")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if not archive.exists():
                _fetch(ADDRESS + archive.name, archive, tell)
            _unpack(archive, file)
    except (OSError, urllib.error.URLError, zipfile.BadZipFile) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ValueInRecipeError(
            key,
            f"cannot fetch {ADDRESS}{archive.name}: {printable(str(reason))}; "
            f"put {archive.name} or {file.name} into {printable(str(folder))} and try again",
        ) from None
    return file


def _fetch(address: str, target: Path, tell: Tell) -> None:
    """Write what is at an address to a file, all of it or nothing."""
    unfinished = target.with_name(f".unfinished-{target.name}")
    with urllib.request.urlopen(address, timeout=_PATIENCE) as response, unfinished.open("wb") as out:
        total = int(response.headers.get("Content-Length") or 0)
        tell(f"fetching {address}" + (f" ({total / 2**20:,.0f} MiB)" if total else ""))
        done, tenths = 0, 1
        while piece := response.read(_PIECE):
            out.write(piece)
            done += len(piece)
            while total and tenths < 10 and done * 10 >= tenths * total:
                tell(f"fetching {target.name}: {tenths * 10} %")
                tenths += 1
    if total and done != total:
        raise OSError(f"it broke off after {done:,} of {total:,} bytes")
    unfinished.replace(target)


def _unpack(archive: Path, file: Path) -> None:
    """Take one file out of an archive; an archive that turns out to be damaged is removed."""
    unfinished = file.with_name(f".unfinished-{file.name}")
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(file.name) as source, unfinished.open("wb") as out:
            shutil.copyfileobj(source, out, _PIECE)
    except KeyError:
        raise OSError(f"{archive.name} holds no {file.name}") from None
    except (zipfile.BadZipFile, EOFError) as error:
        archive.unlink()
        raise zipfile.BadZipFile(f"the archive was damaged and has been removed ({error})") from None
    unfinished.replace(file)
