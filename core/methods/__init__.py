"""How a model is adapted: which of its weights are trained, and what is added to it."""

from .adapt import adapt

__all__ = ["adapt"]
