"""A training done again on some of its rows: as it was, from its model's own beginning, and then what the queries lose.

What each retraining comes to is a small file in the cache, under a key of everything that it depends on, so that a
stopped or killed stage goes on behind the last one, and other studies of the same training find it.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import MachineError, TrainingError, ValueInRecipeError
from ..files import write_atomically
from ..influence import Side
from ..influence.query_losses import query_losses
from ..methods import Place, activate, adapt
from ..models.identity import identity_of
from ..models.loading import make_model
from ..recipe.schema import PretrainedModel
from ..training.loop import Loop
from ..training.randomness import derived_seed
from ..training.subset import SubsetPlan, settings_for
from .studied import KEY, Studied

FOLDER = "retrained"
"""Of the cache."""
_VERSION = 1
"""To be raised when the same training comes to other losses than before."""
_MEANWHILE = {"eval_every", "eval_batch_size", "checkpoint_every", "keep", "result", "best", "log_every"}
"""Settings that change nothing of the last weights."""

Look = Callable[[], None]
"""Called before each step; may raise to end the work."""


@dataclass(frozen=True)
class Retraining:
    """What is to be trained.

    Attributes:
        rows: the numbers of the rows to train on.
        seed: of new weights, the order of rows and dropout.
    """

    rows: Sequence[int]
    seed: int


class Retrainer:
    """Does one training again and again, and asks the same queries each time."""

    def __init__(self, studied: Studied, queries: Side, device: torch.device):
        """Nothing is trained yet.

        Raises:
            ValueInRecipeError: the training has no rows that could be left out, or its model is gone.
        """
        if studied.material.plan is not None:
            raise ValueInRecipeError(
                KEY, f"'{studied.name}' draws contexts anew for each step, so it has no rows that could be left out"
            )
        self._studied, self._queries, self._device = studied, queries, device
        self._plan = studied.plan
        self._identity = self._everything()

    def steps(self, rows: int) -> int:
        """The steps of a training on so many rows."""
        return settings_for(self._studied.stage.train, self._plan, rows).steps or 1

    def kept(self, wanted: Retraining) -> NDArray[np.float64] | None:
        """What the queries have lost after the training, (queries,) in nats; None if it was not done yet."""
        try:
            return np.array(json.loads(self._file(wanted).read_bytes())["losses"], np.float64)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def done(self, wanted: Retraining, look: Look = lambda: None) -> NDArray[np.float64]:
        """Train and ask, or find what that came to: (queries,) in nats.

        Raises:
            TrainingError: a loss is not finite.
            MachineError: the disk does not take it.
        """
        if (known := self.kept(wanted)) is not None:
            return known
        began = time.monotonic()
        losses = query_losses(self.trained(wanted, look), self._queries, self._device)
        if not np.isfinite(losses).all():
            raise TrainingError(
                f"trained on {len(wanted.rows):,} rows with seed {wanted.seed}, the model loses more than a number "
                "can say; lower train.lr in the training"
            )
        told = {"losses": losses.tolist(), "rows": len(wanted.rows), "seed": wanted.seed, "of": self._studied.name}
        told["seconds"] = time.monotonic() - began
        try:
            write_atomically(self._file(wanted), json.dumps(told).encode())
        except OSError as error:
            raise MachineError(f"cannot write {self._file(wanted)}: {error.strerror}") from None
        return losses

    def trained(self, wanted: Retraining, look: Look = lambda: None) -> nn.Module:
        """The model after its last step, with what its methods do at the end, on the device."""
        studied, device = self._studied, self._device
        stage, material = studied.stage, studied.material
        settings = settings_for(stage.train, self._plan, len(wanted.rows))
        plan = SubsetPlan(wanted.rows, settings, wanted.seed, material.train.lengths)
        torch.manual_seed(derived_seed(wanted.seed, "weights"))
        made = make_model(stage.model, studied.task.head, material.tokenizer, material.fields, _silent, studied.cache)
        with tempfile.TemporaryDirectory(prefix="lmwb-") as folder:
            place = Place(
                made, material.tokenizer, material.train, plan, settings, wanted.seed, device, studied.cache,
                Path(folder), _silent, {**material.validation, **material.test},
            )  # fmt: skip
            methods = activate(stage.method, place)
            groups = adapt(made, stage.method, _silent)
            model = cast("nn.Module", made.to(device))  # pyright: ignore[reportArgumentType]
            for _ in Loop(model, material.train, settings, plan, device, groups, methods).steps():
                look()
            for method in methods:
                method.finish(model, Path(folder))
        return model

    def _file(self, wanted: Retraining) -> Path:
        rows = hashlib.sha256(np.sort(np.asarray(wanted.rows, np.int64)).tobytes()).hexdigest()
        key = hashlib.sha256(json.dumps([self._identity, rows, wanted.seed]).encode()).hexdigest()[:32]
        return self._studied.cache / FOLDER / key[:2] / f"{key}.json"

    def _everything(self) -> Any:
        """What all retrainings depend on, for JSON."""
        studied, queries = self._studied, self._queries
        stage, tokenizer = studied.stage, studied.material.tokenizer
        model = stage.model
        known = isinstance(model, PretrainedModel)
        told = stage.model_dump(mode="json", exclude={"name": True, "sample": True, "train": _MEANWHILE})
        rows = hashlib.sha256(np.asarray(queries.rows, np.int64).tobytes()).hexdigest()
        return {
            "version": _VERSION,
            "stage": told,
            "begins with": identity_of(model.from_, KEY, studied.cache / "hashes") if known else None,
            "tokens": None if tokenizer is None else len(tokenizer),
            "rows": [studied.material.train.fingerprint, self._plan.total, studied.seed],
            "queries": [queries.objective.fingerprint, rows, queries.name],
            "device": self._device.type,
        }


def _silent(_: str) -> None:
    """Each retraining would say the same."""
