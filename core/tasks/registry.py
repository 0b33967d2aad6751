"""Which task does a training stage's work."""

from ..recipe.schema import (
    CausalStage,
    ClassificationStage,
    InstructionStage,
    MaskedStage,
    MultipleChoiceStage,
    RegressionStage,
    TrainStage,
)
from .task import Surroundings, Task


def task_of(stage: TrainStage, surroundings: Surroundings) -> Task:
    """The task for a stage's objective."""
    if isinstance(stage, CausalStage):
        from .causal import CausalTask

        return CausalTask(stage, surroundings)
    if isinstance(stage, MaskedStage):
        from .masked import MaskedTask

        return MaskedTask(stage, surroundings)
    if isinstance(stage, ClassificationStage | RegressionStage):
        from .labels import LabelTask

        return LabelTask(stage, surroundings)
    if isinstance(stage, InstructionStage):
        from .instruction import InstructionTask

        return InstructionTask(stage, surroundings)
    if isinstance(stage, MultipleChoiceStage):
        from .choices import ChoiceTask

        return ChoiceTask(stage, surroundings)
    from .images import ImageTask

    return ImageTask(stage, surroundings)
