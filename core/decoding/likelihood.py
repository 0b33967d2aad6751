"""What a causal language model gives for texts that exist already: its logits where they are asked for, and only there.

Passages of like length share a batch, padded on the right: no token sees what stands to its right, so padding needs no
mask and positions count from 0 as the model learned them. The vocabulary head, which costs most in small models, is
given only the positions that are asked about. A passage longer than the model's longest context is read in windows that
overlap by half, and each token is scored once, with at least half a window of context.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import TrainingError
from ..models.loading import longest_context

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH_TOKENS = 2048
_BATCH_LOGITS = 2**25
"""Numbers in the logits of a batch: 128 MiB."""


@dataclass(frozen=True)
class Passage:
    """Tokens in a row.

    Attributes:
        ids: (n,) int64.
        first: the first token whose probability is asked for; the very first token of all never has one.
    """

    ids: NDArray[np.int64]
    first: int = 0

    @property
    def scored(self) -> int:
        """How many tokens get a probability."""
        return max(0, len(self.ids) - max(self.first, 1))


@dataclass(frozen=True)
class Predicted:
    """s tokens of some passages with what was expected in their places.

    Attributes:
        logits: (s, vocabulary) float32, the highest of each row 0, on the model's device.
        normaliser: (s,) float32; logits minus this are log-probabilities.
        ids: (s,) int64, the tokens that stand there, on the model's device.
        passage: (s,) int64, which passage each belongs to.
        position: (s,) int64, where it stands in it.
    """

    logits: Tensor
    normaliser: Tensor
    ids: Tensor
    passage: NDArray[np.int64]
    position: NDArray[np.int64]


@dataclass(frozen=True)
class _Window:
    """Tokens from `start` to `stop` of a passage are read, those from `first` on are scored."""

    passage: int
    start: int
    stop: int
    first: int

    @property
    def read(self) -> int:
        return self.stop - self.start - 1  # nothing is asked of the last token

    @property
    def scored(self) -> int:
        return self.stop - self.first


def predictions(model: "PreTrainedModel", passages: Sequence[Passage]) -> Iterator[Predicted]:
    """The logits for every token that is asked about, batch by batch, in no particular order. Dropout is off.

    Raises:
        TrainingError: the model's output is not finite.
    """
    model.eval()
    longest = longest_context(model)
    windows = [
        window
        for number, passage in enumerate(passages)
        for window in _windows(number, len(passage.ids), max(passage.first, 1), longest)
    ]
    vocabulary: int = model.config.get_text_config().vocab_size
    for batch in _batches(windows, vocabulary):
        yield _predict(model, passages, batch)


def log_probabilities(
    model: "PreTrainedModel", passages: Sequence[Passage], look: Callable[[], None] = lambda: None
) -> list[NDArray[np.float64]]:
    """For each passage the natural logarithms of its tokens' probabilities, (n,); NaN where none was asked for.

    `look` is called with every batch and may raise to end it.

    Raises:
        TrainingError: the model's output is not finite.
    """
    found = [np.full(len(passage.ids), np.nan) for passage in passages]
    for part in predictions(model, passages):
        look()
        with torch.inference_mode():
            chosen = part.logits.gather(1, part.ids[:, None])[:, 0] - part.normaliser
        for passage, position, value in zip(part.passage, part.position, chosen.tolist(), strict=True):
            found[passage][position] = value
    return found


def windowed(model: "PreTrainedModel", passages: Sequence[Passage]) -> int:
    """How many passages are longer than the model's longest context."""
    longest = longest_context(model)
    return 0 if longest is None else sum(len(passage.ids) > longest for passage in passages)


def _windows(passage: int, length: int, first: int, longest: int | None) -> Iterator[_Window]:
    if first >= length:
        return
    if longest is None or length <= longest:
        yield _Window(passage, 0, length, first)
        return
    start, stride = 0, longest // 2
    while first < length:
        start = min(start, length - longest)
        if start + longest > first:
            yield _Window(passage, start, start + longest, first)
            first = start + longest
        start += stride


def _batches(windows: Sequence[_Window], vocabulary: int) -> Iterator[list[_Window]]:
    """Windows of like length, the longest first: if memory is too small, it shows at once."""
    batch: list[_Window] = []
    scored = 0
    for window in sorted(windows, key=lambda each: each.read, reverse=True):
        wide = len(batch) > 0 and (len(batch) + 1) * batch[0].read > _BATCH_TOKENS
        if wide or (batch and (scored + window.scored) * vocabulary > _BATCH_LOGITS):
            yield batch
            batch, scored = [], 0
        batch.append(window)
        scored += window.scored
    if batch:
        yield batch


@torch.inference_mode()
def _predict(model: "PreTrainedModel", passages: Sequence[Passage], batch: Sequence[_Window]) -> Predicted:
    device = next(model.parameters()).device
    width = batch[0].read
    ids = np.zeros((len(batch), width), np.int64)
    asked = np.zeros((len(batch), width), bool)
    for row, window in enumerate(batch):
        ids[row, : window.read] = passages[window.passage].ids[window.start : window.stop - 1]
        asked[row, window.first - 1 - window.start : window.read] = True
    logits = _logits(model, torch.from_numpy(ids).to(device), torch.from_numpy(asked).to(device)).float()
    followers = np.concatenate([passages[window.passage].ids[window.first : window.stop] for window in batch])
    owners = np.repeat([window.passage for window in batch], [window.scored for window in batch])
    places = np.concatenate([np.arange(window.first, window.stop) for window in batch])
    logits -= logits.amax(1, keepdim=True)  # keeps the digits of probabilities close to 1
    normaliser = logits.exp().sum(1).log()
    bad = ~torch.isfinite(normaliser)
    if bad.any():
        at = int(bad.int().argmax())
        raise TrainingError(
            f"text {owners[at] + 1}, token {places[at] + 1}: the model's output is not finite; are its weights whole?"
        )
    return Predicted(logits, normaliser, torch.from_numpy(followers).to(device), owners, places)


def _logits(model: "PreTrainedModel", ids: Tensor, asked: Tensor) -> Tensor:
    """(asked tokens, vocabulary) from ids and a mask, both (rows, tokens).

    The vocabulary head is shown only the positions that are asked about. Whatever a model does to its logits after the
    head, such as capping, is done to each of them alone, so it makes no difference.
    """

    def pick(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return (inputs[0][asked], *inputs[1:]) if inputs and inputs[0].shape[:2] == asked.shape else None

    head = model.get_output_embeddings()
    hook = None if head is None else head.register_forward_pre_hook(pick)
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    finally:
        if hook is not None:
            hook.remove()
    return logits if logits.dim() == 2 else logits[asked]
