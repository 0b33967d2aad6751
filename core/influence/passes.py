"""One pass over rows: forward, the gradient of the loss at the outputs, backward; whoever tracks layers sees it all."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from ..errors import LmwbError, UsageError
from ..models.loading import longest_context
from ..text import printable
from ..training.loop import autocast
from ..training.objective import Batch, Objective
from ..training.objectives.causal import CausalLM
from ..training.objectives.masked import MaskedLM
from .labels import Labels, gradient_at_outputs, real_tokens, underlying
from .products import Numbers, rounded
from .tracking import Found, Layer, Tracker, find_layers
from .watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

See = Callable[[Layer, Tensor, Tensor, Tensor | None], None]
"""Hears of a layer's inputs and gradients as `tracking.See` does, and which tokens are real (rows, tokens) or None."""
_TOKENS, _TOKENS_ON_CPU, _ROWS_ON_CPU = 2**14, 2**10, 8

Begin = Callable[[Sequence[int], Batch], None]
"""Hears of a batch and its rows before its layers are seen."""
Measure = Callable[[Tensor, Batch], Tensor]
"""A query's measurement from outputs and batch, as a scalar summed over rows; instead of the loss."""


def _look_away(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Subject:
    """A model that is looked into, and how.

    Attributes:
        model: on `device`.
        layers: that are looked at.
        device: where it computes.
        numbers: the type in which products take their inputs; on a GPU also that of the forward pass.
        notes: what was left out, sentences.
        tokens: the most tokens that pass through the model at once, padding included, unless a row has more.
        rows: the most rows at once.
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    device: torch.device
    numbers: Numbers = "float32"
    notes: tuple[str, ...] = ()
    tokens: int = 4096
    rows: int = 256

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """Of the forward pass."""
        return "bf16" if self.numbers == "bfloat16" and self.device.type == "cuda" else "fp32"


def study(
    model: nn.Module,
    objective: Objective,
    device: torch.device | None = None,
    numbers: Numbers = "float32",
    tokens: int | None = None,
    rows: int = 256,
    **choice: object,
) -> Subject:
    """Find a model's layers, and see by its shortest row that the objective's data fit it.

    Args:
        model: trained; it is moved to `device`.
        objective: over the training data.
        device: where to compute; the model's own if None.
        numbers: see `Subject`.
        tokens: see `Subject`; if None, what suits the device.
        rows: see `Subject`.
        choice: as `find_layers` takes it.

    Raises:
        UsageError: there is nothing to look at, or the data do not match the model.
    """
    device = device or next(model.parameters()).device
    model.to(device)
    found: Found = find_layers(model, **choice)  # type: ignore[arg-type]
    if not len(objective):
        raise UsageError("there are no training rows")
    tokens = _suitable(device, int(objective.lengths.max())) if tokens is None else tokens
    subject = Subject(model, found.layers, device, numbers, found.notes, tokens, rows)
    shortest = int(objective.lengths.argmin())
    unreached: set[str] = set()
    tracker = Tracker(model, found.layers, _look_away)
    with tracker.open(), _rows_apart(objective):
        unreached = _backward(subject, objective, [shortest], tracker, None, None)[1]
    layers = tuple(layer for layer in found.layers if layer.name not in unreached)
    if not layers:
        raise UsageError("the loss reaches none of the model's layers that influence can be computed for")
    notes = found.notes
    if unreached:
        some = ", ".join(printable(name) for name in sorted(unreached)[:3])
        notes = (*notes, f"layers that take no part in the loss and are left out: {len(unreached)} ({some})")
    return Subject(model, layers, device, numbers, notes, tokens, rows)


def walk(
    subject: Subject,
    objective: Objective,
    rows: Sequence[int],
    see: See,
    watch: Watch,
    phase: str,
    labels: Labels | None = None,
    measure: Measure | None = None,
    layers: Sequence[Layer] | None = None,
    begin: Begin = _look_away,
) -> Iterator[Sequence[int]]:
    """Pass rows through a model; yields each batch's rows once `see` has heard of all its layers.

    Args:
        subject: the model.
        objective: over the rows.
        rows: their numbers, taken in order of length so that little is padded.
        see: hears of each layer, from the last to the first.
        watch: hears how far it is.
        phase: what the pass is called.
        labels: gives labels instead of the data's.
        measure: gives a measurement instead of the loss.
        layers: that are looked at; all of the subject's if None.
        begin: hears of each batch's rows before `see` does.

    Raises:
        UsageError: the rows do not match the model.
    """
    mask: list[Tensor | None] = [None]
    numbers = subject.numbers

    def seen(layer: Layer, a: Tensor, g: Tensor) -> None:
        a = a if layer.kind == "embedding" else rounded(a, numbers)
        real = mask[0] if mask[0] is not None and mask[0].shape == g.shape[:2] else None
        see(layer, a, rounded(g, numbers), real)

    tracker = Tracker(subject.model, subject.layers if layers is None else layers, seen)
    done = 0
    with tracker.open(), _rows_apart(objective):
        for group in batches(subject, objective, rows):
            with watch.profile.phase(phase):
                _backward(subject, objective, group, tracker, labels, measure, mask, begin)
            yield group
            done += len(group)
            watch.look(phase, done, len(rows))


def batches(subject: Subject, objective: Objective, rows: Sequence[int]) -> list[list[int]]:
    """Rows of like length together, within the subject's bounds."""
    lengths = objective.lengths
    groups: list[list[int]] = []
    for row in sorted(rows, key=lambda row: (int(lengths[row]), row)):
        count = len(groups[-1]) + 1 if groups else 0
        if count and count <= subject.rows and count * int(lengths[row]) <= subject.tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _suitable(device: torch.device, longest: int) -> int:
    """Tokens of a batch: on a CPU as few as stay in its caches, which takes a tenth less time; yet some rows, for all
    queries' gradients are read once for each batch."""
    return max(_TOKENS_ON_CPU, _ROWS_ON_CPU * longest) if device.type == "cpu" else _TOKENS


def _backward(
    subject: Subject,
    objective: Objective,
    rows: Sequence[int],
    tracker: Tracker,
    labels: Labels | None,
    measure: Measure | None,
    mask: list[Tensor | None] | None = None,
    begin: Begin = _look_away,
) -> tuple[Tensor, set[str]]:
    """One batch, forward and backward; the names of the layers it did not reach."""
    batch = objective.collate(rows, seed=0)
    _see_that_it_fits(subject.model, batch, objective)
    batch = batch.to(subject.device)
    if mask is not None:
        mask[0] = real_tokens(objective, batch)
    tracker.begin(len(rows))
    begin(rows, batch)
    try:
        with torch.enable_grad(), autocast(subject.device, subject.precision):
            outputs = objective.forward(subject.model, batch)
    except LmwbError:
        raise
    except (RuntimeError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise UsageError(
            f"the data do not match the model: given rows {list(rows[:3])}, it fails with "
            f"'{printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)}'"
        ) from error
    _see_that_targets_fit(outputs, batch, objective)
    if not outputs.requires_grad:
        raise UsageError("the model's outputs do not depend on any layer that is looked at")
    if measure is None:
        torch.autograd.backward(outputs, gradient_at_outputs(objective, outputs.detach(), batch, rows, labels))
    else:
        measure(outputs, batch).backward()
    return outputs, tracker.end()


def _see_that_it_fits(model: nn.Module, batch: Batch, objective: Objective) -> None:
    ids = batch.inputs.get("input_ids")
    if ids is None:
        return
    longest = longest_context(cast("PreTrainedModel", model)) if hasattr(model, "config") else None
    if longest is not None and ids.shape[-1] > longest:
        raise UsageError(
            f"the data do not match the model: a row has {ids.shape[-1]} tokens, and the model takes {longest}"
        )
    try:
        known = cast("nn.Embedding", cast("PreTrainedModel", model).get_input_embeddings()).num_embeddings
    except (AttributeError, NotImplementedError):
        return
    if ids.numel() and int(ids.max()) >= known:
        raise UsageError(
            f"the data do not match the model: they hold token {int(ids.max())}, and the model knows {known}; read "
            "them with the model's own tokenizer"
        )
    if not ids.numel() and isinstance(underlying(objective), CausalLM):
        raise UsageError("a row of one token predicts nothing; leave it out")


def _see_that_targets_fit(outputs: Tensor, batch: Batch, objective: Objective) -> None:
    targets = batch.targets
    if targets.is_floating_point():
        if outputs.shape[0] != targets.shape[0] or outputs.numel() != targets.numel():
            raise UsageError(
                f"the data do not match the model: it gives {list(outputs.shape)} for scores of {list(targets.shape)}"
            )
        return
    if outputs.shape[:-1] != targets.shape:
        raise UsageError(
            f"the data do not match the model: it gives outputs of {list(outputs.shape)} for targets of "
            f"{list(targets.shape)}; {type(underlying(objective)).__name__} needs a model with another head"
        )
    if targets.numel() and int(targets.max()) >= outputs.shape[-1]:
        raise UsageError(
            f"the data do not match the model: they hold label {int(targets.max())}, and the model gives "
            f"{outputs.shape[-1]}"
        )


@contextmanager
def _rows_apart(objective: Objective) -> Generator[None]:
    """A masked language model's head must not see the hidden tokens of all rows as one row."""
    kind = underlying(objective)
    if not isinstance(kind, MaskedLM):
        yield
        return
    kind.narrow = False
    try:
        yield
    finally:
        kind.narrow = True
