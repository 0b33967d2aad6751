"""What models came to, kept on disk model by model, so that a stage that was interrupted goes on where it was.

A measurement is found again by the model's files, the settings and the examples: if any has changed, it is not found.
"""

import hashlib
import itertools
import json
from pathlib import Path

from ..data.hashing import hash_of_texts
from ..errors import MachineError
from ..evaluation.examples import Examples
from ..evaluation.measure import Measured
from ..files import write_atomically
from ..recipe.schema import EvaluateStage

_VERSION = 1
_OF_THE_TABLE = {"models", "name", "kind"}
"""Settings that no model's figures depend on."""


class KeptMeasurements:
    """The measurements in a folder that belong to some settings and examples."""

    def __init__(self, folder: Path, settings: EvaluateStage, examples: Examples):
        """The folder need not exist."""
        self._folder = folder
        read = hash_of_texts([*examples.texts, *itertools.chain.from_iterable(examples.pairs)])
        self._key = [_VERSION, read, settings.model_dump(mode="json", exclude=_OF_THE_TABLE)]

    def find(self, model: str) -> Measured | None:
        """What a model, named by what is in its files, came to; None if that is not known."""
        try:
            known = json.loads(self._place(model).read_bytes())
            continuations = tuple((before, said, gold) for before, said, gold in known["continuations"])
            return Measured(known["figures"], tuple(known["notes"]), continuations, known["vocabulary"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # to be measured, then

    def keep(self, model: str, measured: Measured) -> None:
        """On disk, whole, when this returns.

        Raises:
            MachineError: the disk does not take it.
        """
        try:
            write_atomically(self._place(model), json.dumps(vars(measured)).encode())
        except OSError as error:
            raise MachineError(f"cannot keep what was measured in {self._folder}: {error.strerror}") from None

    def _place(self, model: str) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps([self._key, model]).encode()).hexdigest()[:32]}.json"
