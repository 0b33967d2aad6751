"""Gradients of single rows, G = Σ_t g_t a_tᵀ (outputs, inputs), and the same seen in other bases.

Tokens are turned into the basis before the gradient is formed where that takes fewer multiplications than turning the
gradient itself. The ones that an offset puts behind the inputs are never written: their column is Σ_t g_t.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .products import product, wide
from .tracking import Layer

AT_ONCE = 2**25
"""Numbers of gradients that are in memory at once, unless one row's are more."""
_IN_CACHE = {"cpu": 2**20}
"""Numbers that are made and used up at once where gradients are needed in slices only; elsewhere `AT_ONCE`."""


def chunks(layer: Layer, a: Tensor, g: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Some rows at a time, so that their gradients take little memory."""
    rows = len(g)
    step = max(1, AT_ONCE // layer.size)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        yield part, a[part], g[part]


def gradients(layer: Layer, a: Tensor, g: Tensor) -> Tensor:
    """(rows, outputs, inputs), without the column of the offset."""
    if layer.kind != "embedding":
        return product(g.transpose(1, 2), a)
    rows, tokens, outputs = g.shape
    table = torch.zeros(rows, layer.inputs, outputs, dtype=wide(g.dtype), device=g.device)
    return table.scatter_add_(1, a[..., None].expand(rows, tokens, outputs), g.to(table.dtype)).transpose(1, 2)


def offsets(g: Tensor) -> Tensor:
    """The column of the offset, (rows, outputs)."""
    return g.sum(1, dtype=wide(g.dtype))


def full_gradients(layer: Layer, a: Tensor, g: Tensor) -> Tensor:
    """(rows, outputs, width), with the column of the offset if the layer has one."""
    found = gradients(layer, a, g)
    return torch.cat([found, offsets(g)[..., None]], -1) if layer.bias else found


def sliced(layer: Layer, a: Tensor, g: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Gradients without the column of the offset, (rows, some outputs, inputs), and which outputs these are.

    A slice stays in the processor's cache while it is used, and gradients are never in memory as a whole.
    """
    if layer.kind == "embedding":
        yield slice(0, layer.outputs), gradients(layer, a, g)
        return
    step = max(1, _IN_CACHE.get(g.device.type, AT_ONCE) // (len(g) * a.shape[-1]))
    turned = g.transpose(1, 2)
    for start in range(0, g.shape[-1], step):
        part = slice(start, min(start + step, layer.outputs))
        yield part, product(turned[:, part], a)


def turned_tokens(
    layer: Layer, a: Tensor, g: Tensor, inputs: Tensor | None, outputs: Tensor
) -> tuple[Tensor, Tensor] | None:
    """a with the one for the offset, and g, each in its basis; None if it is cheaper to turn their gradient."""
    tokens = g.shape[1]
    if inputs is None or tokens > min(layer.inputs, layer.outputs):
        return None
    turned = _turned(a, inputs[: layer.inputs].to(a.dtype))
    if layer.bias:
        turned += inputs[layer.inputs].to(turned.dtype)
    return turned, _turned(g, outputs.to(g.dtype))


def turned_gradients(layer: Layer, a: Tensor, g: Tensor, inputs: Tensor | None, outputs: Tensor) -> Tensor:
    """outputsᵀ G inputs, (rows, outputs, width).

    Args:
        layer: whose gradients these are.
        a: (rows, tokens, inputs), or ids.
        g: (rows, tokens, outputs).
        inputs: basis of the inputs with the one, (width, width); None for an embedding, whose basis is its vocabulary.
        outputs: basis of the outputs, (outputs, outputs).
    """
    tokens = g.shape[1]
    outputs = outputs.to(g.dtype)
    before = tokens < layer.inputs
    if before:
        g = _turned(g, outputs)
    if inputs is None:
        found = gradients(layer, a, g)
    else:
        basis = inputs.to(a.dtype)
        weight, one = basis[: layer.inputs], basis[layer.inputs :]
        if tokens < layer.outputs:
            turned = _turned(a, weight)
            found = product(g.transpose(1, 2), turned + one if layer.bias else turned)
        else:
            plain = gradients(layer, a, g)
            found = _turned(plain.to(a.dtype), weight)
            if layer.bias:
                found += offsets(g)[..., None] * one.to(found.dtype)
    return found if before else product(outputs.T.expand(len(found), -1, -1), found.to(outputs.dtype))


def _turned(x: Tensor, basis: Tensor) -> Tensor:
    """x @ basis over the last dimension, (rows, tokens, numbers), in x's type."""
    flat = x.reshape(-1, x.shape[-1])
    return product(flat, basis).to(x.dtype).view(*x.shape[:-1], basis.shape[1])
