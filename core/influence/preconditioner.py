"""The approximate inverse curvature that queries' gradients are multiplied by, layer by layer.

P(G) = Q_S [ (Q_Sᵀ G Q_A) / (Λ + λ) ] Q_Aᵀ with damping λ: for EK-FAC Λ is what `correction` found (George et al. 2018),
for K-FAC λ_S λ_Aᵀ (Martens & Grosse 2015), for the diagonal there are no bases, for the identity there is no Λ.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..text import printable
from .gradients import full_gradients, turned_gradients
from .products import product
from .tracking import Layer

HEURISTIC = 0.1
"""Damping as a share of a layer's mean eigenvalue, unless it is given (Grosse et al. 2023, section 3.1)."""


@dataclass(frozen=True)
class Preconditioner:
    """P of one layer.

    Attributes:
        layer: whose it is.
        inverse: 1 / (Λ + λ), (outputs, width); None for the identity.
        outputs: basis of the outputs, (outputs, outputs); None without bases.
        inputs: basis of the inputs, (width, width); None without, or for embeddings.
    """

    layer: Layer
    inverse: Tensor | None = None
    outputs: Tensor | None = None
    inputs: Tensor | None = None

    def of_rows(self, a: Tensor, g: Tensor) -> Tensor:
        """P(G) of each row, (rows, outputs, width)."""
        return self._back(self._weighed(self._inside(a, g)))

    def of_gradient(self, gradient: Tensor) -> Tensor:
        """P(G) of gradients, (rows, outputs, width)."""
        if self.outputs is not None:
            gradient = product(self.outputs.T.expand(len(gradient), -1, -1), gradient)
            gradient = gradient if self.inputs is None else gradient @ self.inputs
        return self._back(self._weighed(gradient))

    def of_self(self, a: Tensor, g: Tensor) -> Tensor:
        """⟨P(G), G⟩ of each row, (rows,)."""
        inside = self._inside(a, g)
        squares = inside.square()
        return (squares if self.inverse is None else squares.mul_(self.inverse)).flatten(1).sum(1)

    def _inside(self, a: Tensor, g: Tensor) -> Tensor:
        if self.outputs is None:
            return full_gradients(self.layer, a, g)
        return turned_gradients(self.layer, a, g, self.inputs, self.outputs)

    def _weighed(self, inside: Tensor) -> Tensor:
        return inside if self.inverse is None else inside * self.inverse

    def _back(self, inside: Tensor) -> Tensor:
        if self.outputs is None:
            return inside
        if self.inputs is not None:
            inside = inside @ self.inputs.T
        return self.outputs @ inside


def damping_sentence(damping: float | None) -> str:
    """The damping in words."""
    return f"damping: {HEURISTIC:g} of each layer's mean eigenvalue" if damping is None else f"damping: {damping:g}"


def damped_inverse(layer: Layer, values: Tensor, damping: float | None) -> Tensor:
    """1 / (Λ + λ) in the type of Λ; where a layer's curvature is zero everywhere, and λ is not given, zero.

    Args:
        layer: for messages.
        values: Λ, not negative.
        damping: λ; None for a tenth of Λ's mean.

    Raises:
        UsageError: λ is negative, or so small that it cannot be inverted.
    """
    if damping is not None and damping < 0:
        raise UsageError(f"damping must not be negative, and is {damping:g}")
    added = HEURISTIC * values.double().mean() if damping is None else torch.tensor(damping, dtype=torch.float64)
    damped = values.double() + added.to(values.device)
    if damping is None and float(added) == 0:
        return torch.zeros_like(values)
    info = torch.finfo(values.dtype)
    flat = int((values <= info.eps * values.max()).sum())
    if float(damped.min()) <= info.tiny or (damping == 0 and flat):
        raise UsageError(
            f"damping {float(added):g} makes layer '{printable(layer.name)}' singular: {flat:,} of its "
            f"{values.numel():,} directions have no curvature; leave damping out for a tenth of the mean "
            "eigenvalue, or give more"
        )
    return damped.reciprocal().to(values.dtype)
