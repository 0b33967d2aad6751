"""The rules that change weights."""

import torch
from torch import nn

from ..recipe.schema import Train


def make_optimizer(model: nn.Module, settings: Train) -> torch.optim.Optimizer:
    """AdamW or SGD over the trainable weights, fused where torch can.

    Weight decay applies to matrices only, not to biases and norms (Loshchilov & Hutter 2019).
    """
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [{"params": trainable, "weight_decay": 0.0}]
    if settings.weight_decay:
        matrices = [weight for weight in trainable if weight.ndim >= 2]
        others = [weight for weight in trainable if weight.ndim < 2]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = all(weight.device.type in ("cuda", "cpu") for weight in trainable)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=fused)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=fused)
