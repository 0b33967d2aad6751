"""How a model is adapted: which of its weights are trained, and what is added to it."""

from .adapt import adapt
from .lora import update_spectrum

__all__ = ["adapt", "update_spectrum"]
