"""Writing what a model says of rows without labels."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import MachineError
from ..files import write_atomically


def write_predictions(file: Path, header: Sequence[str], answers: Sequence[Sequence[str]]) -> None:
    """Write a CSV file that is there whole or not at all.

    Raises:
        MachineError: the disk does not take it.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(answers)
    try:
        write_atomically(file, buffer.getvalue().encode())
    except OSError as error:
        raise MachineError(f"cannot write the predictions {file}: {error.strerror}") from None
