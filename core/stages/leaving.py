"""What studies leave in their folders: tables and pictures."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MachineError
from .context import StageContext

if TYPE_CHECKING:
    from ..figures import Picture


def leave_table(context: StageContext, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows of the same keys as CSV with every digit; returns the file's name.

    Raises:
        MachineError: the disk does not take it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        context.folder.mkdir(parents=True, exist_ok=True)
        (context.folder / name).write_text(text.getvalue(), encoding="utf-8", errors="replace")
    except OSError as error:
        raise MachineError(f"cannot write the table to {context.folder}: {error.strerror}") from None
    return name


def leave_picture(context: StageContext, name: str, formats: Sequence[str], draw: "Callable[[], Picture]") -> list[str]:
    """Draw a picture and save it in each format; returns the files' names.

    Raises:
        MachineError: the disk does not take it.
    """
    if not formats:
        return []
    picture = draw()
    files = [f"{name}.{suffix}" for suffix in formats]
    for file in files:
        picture.save(context.folder / file)
    return files
