"""Tiny models for influence, and its definitions written out a second time: dense, row by row, in float64."""

import numpy as np
import torch
from lmwb.core.data.rows import Rows
from lmwb.core.training.objective import IGNORE
from lmwb.core.training.objectives.causal import CausalLM
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

VOCABULARY = 23


def gpt2(width=6, layers=2, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    shape = {"n_embd": width, "n_layer": layers, "n_head": 2, "n_inner": 10, "n_positions": 32}
    config = GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, initializer_range=0.4, **shape)
    return GPT2LMHeadModel(config).eval().to(dtype)


def texts(count=40, longest=14, seed=0, shortest=4) -> CausalLM:
    """Random texts of many lengths, each a row."""
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, count)
    ends = np.cumsum(lengths)
    stream = random.integers(0, VOCABULARY, int(ends[-1]), dtype=np.int32)
    return CausalLM(Rows(stream, np.stack([ends - lengths, ends], 1)))


def loss(model, objective, row, targets=None):
    """A row's summed loss in the model's own number type."""
    batch = objective.collate([row], 0)
    outputs = objective.forward(model, batch)
    targets = batch.targets if targets is None else targets
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="sum", ignore_index=IGNORE)


def weight_gradient(layer):
    """(outputs, width), as autograd left it in a layer's module."""
    weight = layer.module.weight.grad
    weight = weight.T if isinstance(layer.module, Conv1D) else weight.flatten(1)
    return weight if not layer.bias else torch.cat([weight, layer.module.bias.grad[:, None]], 1)


def gradients(model, layers, total):
    """By layer, the gradient of a sum, (outputs, width), by autograd."""
    model.zero_grad()
    total.backward()
    return {layer.name: weight_gradient(layer).clone() for layer in layers}


class Dense:
    """Moments, curvatures and scores of a model, from each row alone, never padded, and from explicit inverses."""

    def __init__(self, model, layers, objective, labels):
        """`labels` gives a row's targets."""
        self.model, self.layers, self.objective = model, layers, objective
        self.inputs, self.outputs, self._inverses = {}, {}, {}
        self.of_rows = []
        for row in range(len(objective)):
            seen = {}
            handles = [layer.module.register_forward_hook(self._keeper(seen, layer)) for layer in layers]
            total = loss(model, objective, row, labels(row))
            for handle in handles:
                handle.remove()
            slopes = torch.autograd.grad(total, [seen[layer.name][1] for layer in layers])
            for layer, g in zip(layers, slopes, strict=True):
                a = seen[layer.name][0].detach().flatten(0, -2)
                a = torch.cat([a, torch.ones(len(a), 1, dtype=a.dtype)], 1) if layer.bias else a
                self.inputs.setdefault(layer.name, []).append(a)
                self.outputs.setdefault(layer.name, []).append(g.flatten(0, -2))
            self.of_rows.append(gradients(model, layers, loss(model, objective, row, labels(row))))

    @staticmethod
    def _keeper(seen, layer):
        def keep(_module, args, output):
            seen[layer.name] = (args[0], output)

        return keep

    def moments(self, layer):
        """E[a aᵀ] and E[g gᵀ]."""
        a, g = torch.cat(self.inputs[layer.name]), torch.cat(self.outputs[layer.name])
        return a.T @ a / len(a), g.T @ g / len(g)

    def curvature(self, layer, strategy):
        """What multiplies a gradient's numbers, row by row of its matrix: (outputs·width, outputs·width)."""
        flat = torch.stack([found[layer.name].flatten() for found in self.of_rows])
        if strategy == "diagonal":
            return torch.diag((flat**2).mean(0))
        a, s = self.moments(layer)
        if strategy == "kfac":
            return torch.kron(s, a)
        basis = torch.kron(torch.linalg.eigh(s)[1], torch.linalg.eigh(a)[1])
        return basis @ torch.diag(((flat @ basis) ** 2).mean(0)) @ basis.T

    def preconditioned(self, layer, gradient, strategy, damping=None):
        """(C + λ)⁻¹ G."""
        if strategy == "identity":
            return gradient
        key = layer.name, strategy, damping
        if key not in self._inverses:
            c = self.curvature(layer, strategy)
            added = 0.1 * torch.diag(c).mean() if damping is None else damping  # a trace is the sum of the eigenvalues
            self._inverses[key] = torch.linalg.inv(c + added * torch.eye(len(c), dtype=c.dtype))
        return (self._inverses[key] @ gradient.flatten()).view_as(gradient)

    def scores(self, queries, train, strategy, damping=None):
        """(queries, rows) of gradients by layer."""
        found = np.zeros((len(queries), len(train)))
        for layer in self.layers:
            rows = torch.stack([row[layer.name].flatten() for row in train])
            for q, query in enumerate(queries):
                found[q] += (rows @ self.preconditioned(layer, query[layer.name], strategy, damping).flatten()).numpy()
        return found


def near(found, wanted, share=1e-9):
    """Whether all differences are small beside the largest number."""
    return np.abs(np.asarray(found) - np.asarray(wanted)).max() <= share * np.abs(np.asarray(wanted)).max()
