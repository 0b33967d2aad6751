"""The table `[[method]]` of kind `distillation`."""

from typing import Literal

from .base import Table


class Distillation(Table):
    """Learn from a teacher's answers, too (Hinton et al. 2015; Sanh et al. 2019)."""

    kind: Literal["distillation"] = "distillation"
