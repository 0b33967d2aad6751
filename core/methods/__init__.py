"""How a model is adapted: which of its weights are trained, and what is added to it."""

from .active import Place, activate
from .adapt import adapt
from .lora import fold, merge, unmerge, update_spectrum
from .several import AdapterSet, load_adapters

__all__ = ["AdapterSet", "Place", "activate", "adapt", "fold", "load_adapters", "merge", "unmerge", "update_spectrum"]
