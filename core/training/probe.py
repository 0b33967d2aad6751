"""A look at a model before the first step: does what is trained get a gradient, and does it change what is said?

Some models and methods do not go together, and nothing fails: a fused path reads a weight and leaves out what was
put around it, a wrapper is never called, a mask is wrong. The loss falls, and every evaluation is of another model. So
a few rows go through the model, with dropout off and the trained weights moved a little from where they are, and:

- every trained weight gets a gradient, and no frozen one does;
- the model says the same in training and in evaluation;
- what it says in evaluation changes with the trained weights;
- a row says the same alone and beside a longer one.

All of it is as before afterwards: weights, gradients, running statistics, modes and random generators.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..errors import TrainingError
from .objective import IGNORE, Batch, Objective

Tell = Callable[[str], None]

_CLOSE = 5e-4
"""Differences of this size, relative to what is said, come from rounding in another order."""
_ROWS, _FEW_ROWS, _MANY_TOKENS = 4, 2, 256
"""Rows to look at, and how many of them if they are long."""
_ENOUGH_ROWS = 32
"""Rows among which something will be there to predict."""
_STIR = 0.1
"""How far the trained weights are moved, as a share of their size."""
_NOISE = 65_521
"""Random numbers to move them by; weights that are more get them over and over."""
_PARTS = 6
"""Into how many parts the trained weights are divided to see that each counts."""


def probe(model: nn.Module, objective: Objective, device: torch.device, tell: Tell, adapted: bool = False) -> None:
    """See that training can do what it is meant to.

    Args:
        model: on `device`, with `requires_grad` set where it is trained.
        objective: gives a few rows.
        device: of the model.
        tell: hears of what is odd and may be meant.
        adapted: methods have chosen what is trained; then a weight without a gradient is an error, else a note.

    Raises:
        TrainingError: it cannot; the sentence says which weights are dead, or what differs.
    """
    saved = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    with _as_before(model, saved, device):
        _Probe(model, objective, device, tell, adapted, saved).run()


class _Probe:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        device: torch.device,
        tell: Tell,
        adapted: bool,
        saved: Mapping[str, Tensor],
    ):
        self._model = model
        self._objective = objective
        self._device = device
        self._tell = tell
        self._adapted = adapted
        self._saved = saved
        self._trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    def run(self) -> None:
        """Look at everything."""
        rows = _some_rows(self._objective)
        batch = self._batch(rows)
        if batch.weight == 0:  # nothing to predict in so few of the shortest
            rows = list(range(min(_ENOUGH_ROWS, len(self._objective))))
            batch = self._batch(rows)
        with _without_dropout(self._model):
            trained, alive = self._gradients(batch)
        evaluated = self._evaluated(batch)
        self._see_modes_agree(batch, trained, evaluated)
        self._see_each_counts(batch, evaluated, alive)
        self._see_padding_is_nothing(rows[0], rows[-1])

    # -- gradients --------------------------------------------------------------------------------

    def _gradients(self, batch: Batch) -> tuple[Tensor, list[str]]:
        """What the model says in training, and the names of the weights that have a part in just that.

        Zeros may come from where the weights were moved to, as behind a ReLU; then they are moved the other way.
        """
        ever: set[str] = set()
        now: list[str] = []
        outputs, unused = torch.empty(0), False
        for direction in (1, -1):
            self._stir(direction)
            self._model.zero_grad(set_to_none=True)
            outputs = self._objective.forward(self._in_training(), batch)
            loss = self._objective.loss_sum(outputs, batch)
            if not loss.requires_grad:
                raise TrainingError("no weight that is trained has any part in the loss; train others")
            loss.backward()
            now = [name for name, weight in self._trained.items() if not _is_dead(weight)]
            ever |= set(now)
            unused = any(weight.grad is None for weight in self._trained.values())
            if unused or len(ever) == len(self._trained):
                break
        self._judge([name for name in self._trained if name not in ever], unused)
        return outputs.detach(), now

    def _judge(self, dead: Sequence[str], unused: bool) -> None:
        """Refuse what gets no gradient and should, and what gets one and should not."""
        weights = dict(self._model.named_parameters())
        leaks = [name for name, weight in weights.items() if weight.grad is not None and name not in self._trained]
        if leaks:
            raise TrainingError(f"'{leaks[0]}' is frozen and gets a gradient all the same")
        if dead and self._adapted:
            why = "the model never calls it, or leaves it out" if unused else "what it does never reaches the loss"
            raise TrainingError(f"{_some(dead)} would be trained and gets no gradient: {why}; choose other targets")
        if dead:
            self._tell(f"probe: no gradient for {_some(dead)}; the model does not use it for this objective")

    # -- training and evaluation ------------------------------------------------------------------

    def _see_modes_agree(self, batch: Batch, trained: Tensor, evaluated: Tensor) -> None:
        said, meant = _that_counts(evaluated, batch), _that_counts(trained, batch)
        if _close(said, meant):
            return
        with _without_dropout(self._model), torch.no_grad():
            again = _that_counts(self._objective.forward(self._in_training(), batch), batch)
        if not _close(again, meant):
            self._tell("probe: the model draws at random in training, so training and evaluation were not compared")
            return
        raise TrainingError(
            f"the model says something else in evaluation than in training (by up to {_difference(said, meant):.2g}), "
            f"though dropout is off: it takes another path there, which leaves out some of {_some(list(self._trained))}"
        )

    def _see_each_counts(self, batch: Batch, evaluated: Tensor, alive: Sequence[str]) -> None:
        """Put back where they were a part of the weights at a time: the model must say something else."""
        size = math.ceil(len(alive) / _PARTS)
        for start in range(0, len(alive), size):
            part = alive[start : start + size]
            moved = {name: self._trained[name].detach().clone() for name in part}
            self._set({name: self._saved[name] for name in part})
            if torch.equal(self._evaluated(batch), evaluated):
                raise TrainingError(f"{_some(part)} would be trained and changes nothing in evaluation; train others")
            self._set(moved)

    # -- padding ----------------------------------------------------------------------------------

    def _see_padding_is_nothing(self, short: int, long: int) -> None:
        """A row must be the same alone and beside a longer one."""
        if short == long:
            return
        batches = (self._batch([short]), self._batch([short, long]))
        alone, beside = (_that_counts(self._evaluated(batch), batch) for batch in batches)
        beside = beside[: len(alone)]  # rows come in order
        if not _close(beside, alone):
            raise TrainingError(
                f"row {short} says something else beside a longer row than alone (by up to "
                f"{_difference(beside, alone):.2g}): the model does not keep padding apart, so every figure would "
                "depend on the batch size; look at its attention mask"
            )

    # -- help -------------------------------------------------------------------------------------

    def _in_training(self) -> nn.Module:
        """The model in training, but for batch norms, which are meant to differ."""
        self._model.train()
        for module in self._model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self._model

    def _batch(self, rows: Sequence[int]) -> Batch:
        return self._objective.collate(rows, seed=0).to(self._device)

    def _evaluated(self, batch: Batch) -> Tensor:
        """What the model says in evaluation, on the fast paths that it takes there."""
        self._model.eval()
        try:
            with torch.no_grad():
                return self._objective.forward(self._model, batch)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise TrainingError(f"the model cannot be evaluated: {text}") from error

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._trained[name].copy_(value)

    def _stir(self, direction: int) -> None:
        """Move the trained weights; those that begin at zero, as LoRA's B does, hide what lies before them."""
        noise = torch.randn(_NOISE, generator=torch.Generator().manual_seed(0)).to(self._device)
        with torch.no_grad():
            for name, weight in self._trained.items():
                size = float(self._saved[name].float().square().mean().sqrt())
                repeated = noise.repeat(math.ceil(weight.numel() / _NOISE))[: weight.numel()].view(weight.shape)
                weight.copy_(self._saved[name]).add_(repeated.to(weight), alpha=direction * (_STIR * size or _STIR))


def _is_dead(weight: Tensor) -> bool:
    """No gradient, or nothing but zeros in a matrix; a vector's may be zero by its nature, such as a key's bias."""
    return weight.grad is None or (weight.ndim > 1 and not weight.grad.count_nonzero())


def _some_rows(objective: Objective) -> list[int]:
    """A few rows from the shortest to the middling, so that padding is among them and nothing takes long."""
    order = np.argsort(objective.lengths, kind="stable")
    middle = order[: max(2, len(order) // 2 + 1)]
    count = _FEW_ROWS if objective.lengths[middle[-1]] > _MANY_TOKENS else _ROWS
    return [int(row) for row in dict.fromkeys(middle[np.linspace(0, len(middle) - 1, count).astype(int)].tolist())]


def _that_counts(outputs: Tensor, batch: Batch) -> Tensor:
    """What is said where something is to be predicted; at padding the model may say anything."""
    targets = batch.targets
    if outputs.shape[: targets.ndim] == targets.shape:
        outputs = outputs[targets != IGNORE]
    return outputs.float()


def _close(a: Tensor, b: Tensor) -> bool:
    finite = b[b.isfinite()].abs()
    return _difference(a, b) <= _CLOSE * (1 + (float(finite.max()) if finite.numel() else 0.0))


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference; what is infinite or not a number on both sides does not differ."""
    differences = torch.where((a == b) | (a.isnan() & b.isnan()), torch.zeros_like(a), (a - b).abs())
    return float(differences.max()) if differences.numel() else 0.0


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


# -- leaving no trace -----------------------------------------------------------------------------


@contextmanager
def _as_before(model: nn.Module, saved: Mapping[str, Tensor], device: torch.device) -> Generator[None]:
    """Whatever happens inside, the model and the random generators are as they were."""
    weights = dict(model.named_parameters())
    gradients = [(weight, weight.grad) for weight in weights.values()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for name, value in saved.items():
                weights[name].copy_(value)
            for buffer, value in buffers:
                buffer.copy_(value)
        for module, mode in modes:
            module.training = mode
        for weight, gradient in gradients:
            weight.grad = gradient


@contextmanager
def _without_dropout(model: nn.Module) -> Generator[None]:
    """Training without dropout: modules by their rates, functions by their results."""
    rates = [
        (module, name, getattr(module, name))
        for module in model.modules()
        for name in ("p", "dropout")
        if (name == "p") == isinstance(module, nn.modules.dropout._DropoutNd)
        and isinstance(getattr(module, name, None), float | int)
    ]
    for module, name, _ in rates:
        setattr(module, name, 0.0)
    try:
        with _NoDropoutMode():
            yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)


class _NoDropoutMode(TorchFunctionMode):
    """Makes torch's dropout functions do nothing."""

    _NOTHING = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or not."""
        named = kwargs or {}
        if func in self._NOTHING:
            return args[0] if args else named["input"]
        if func is F.scaled_dot_product_attention:
            named = {**named, "dropout_p": 0.0}
            args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
            if len(args) > 4:
                named.pop("dropout_p")
        return func(*args, **named)
