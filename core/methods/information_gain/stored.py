"""What a stage that has learned leaves behind: its learners, and all that one must know to use them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ...errors import MachineError
from ...files import replacing, write_atomically
from .learners import Shape
from .learning import Learned

FACTS = "learners.json"


@dataclass(frozen=True)
class Facts:
    """What holds for all learners of a stage.

    Attributes:
        tokenizer: a hash of it.
        length: tokens of a context.
        mean, deviation: of the gains; what learners say is standardised by them.
        objective: hashes of the objective articles.
        mse, shapes: by the learners' kinds: the error on pairs held out, and what the networks are built from.
    """

    tokenizer: str
    length: int
    mean: float
    deviation: float
    objective: Sequence[str]
    mse: Mapping[str, float]
    shapes: Mapping[str, Mapping[str, Any]]

    @property
    def best(self) -> str:
        """The learner with the least error."""
        return min(self.mse, key=lambda kind: self.mse[kind])


def save_learners(folder: Path, learned: Mapping[str, Learned], facts: Facts) -> None:
    """Write all learners; the facts come last, so that where they are, everything is.

    Raises:
        MachineError: the disk does not take them.
    """
    try:
        for kind, each in learned.items():
            with replacing(_weights(folder, kind)) as unfinished:
                save_file({name: value.cpu().contiguous() for name, value in each.net.state_dict().items()}, unfinished)
        write_atomically(folder / FACTS, json.dumps(asdict(facts), indent=1).encode())
    except OSError as error:
        raise MachineError(f"cannot write the learners to {folder}: {error.strerror}") from None


def read_facts(folder: Path) -> Facts | None:
    """What is known of the learners in a folder; None if there are none."""
    try:
        return Facts(**json.loads((folder / FACTS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def load_learner(folder: Path, facts: Facts, kind: str, device: torch.device) -> nn.Module:
    """A learner in evaluation mode.

    Raises:
        OSError: its file is gone.
    """
    net = Shape(**facts.shapes[kind]).build()
    net.load_state_dict(load_file(_weights(folder, kind)))
    return net.to(device).eval()


def _weights(folder: Path, kind: str) -> Path:
    return folder / f"learner-{kind}.safetensors"
