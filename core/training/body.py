"""Between a model's body and its head: what the body says, and which of it the head gets to see."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Seen:
    """What was seen between body and head while the model spoke.

    Attributes:
        states: the body's last hidden states, (batch, longest, width); None if the model shows no body.
        narrowed: whether the head saw only the places asked for, as a batch of one row.
    """

    states: Tensor | None = None
    narrowed: bool = False


@contextmanager
def between_body_and_head(
    model: nn.Module, places: Tensor | None = None, shape: tuple[int, ...] | None = None
) -> Generator[Seen]:
    """Look at the body's states on their way to the head; let the head see some of them only.

    A language model's head looks at each token for itself, so its answers are the same for fewer of them; the
    vocabulary-sized logits of all other tokens are never made.

    Args:
        model: one that shows no body apart from its head, or is compiled, is let be.
        places: (places,) in the flattened batch, for the head to see; None for all.
        shape: (batch, longest), with `places`.

    Yields:
        What was seen, once the model has spoken.
    """
    seen = Seen()

    def look(_body: nn.Module, _given: Any, output: Any) -> None:
        states = output[0]
        seen.states = states
        if places is None or states.shape[:2] != torch.Size(shape or ()):
            return
        seen.narrowed = True
        output.last_hidden_state = states.flatten(0, 1)[places][None]

    body = body_of(model)
    if body is None:
        yield seen
        return
    handle = body.register_forward_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def body_of(model: nn.Module) -> nn.Module | None:
    """The part before the head; None if the model shows none, or is compiled: a hook would compile it anew."""
    body = getattr(model, "base_model", model)
    return None if body is model or hasattr(model, "_orig_mod") else body
