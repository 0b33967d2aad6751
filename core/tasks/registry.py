"""Which task does a training stage's work."""

from ..recipe.schema import CausalStage, TrainStage
from .task import Surroundings, Task


def task_of(stage: TrainStage, surroundings: Surroundings) -> Task:
    """The task for a stage's objective."""
    if isinstance(stage, CausalStage):
        from .causal import CausalTask

        return CausalTask(stage, surroundings)
    raise NotImplementedError(stage.objective)
