"""The table `[[method]]` of kind `distillation`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import NotEmpty, Positive, Table, rule_broken

_Weight = Annotated[float, Field(ge=0, le=1000)]


class Distillation(Table):
    """Learn from a teacher's answers, too (Hinton et al. 2015; Sanh et al. 2019).

    The loss is soft · τ² KL(teacher ‖ student) + hard · the objective's own loss + mse · ‖student − teacher‖² of the
    logits + cosine · (1 − cos) of the last hidden states, each a mean over what it counts.
    """

    kind: Literal["distillation"] = "distillation"
    teacher: NotEmpty
    """The name of an earlier stage, a folder in `save_pretrained` layout, `run:RUN` or `run:RUN/STAGE` for the result
    of another run, or a name on the model hub: a model for the same objective, with the same vocabulary."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0
    """What the logits of both are divided by before they become probabilities; higher values show more of what the
    teacher holds possible."""
    soft: _Weight = 0.5
    """Weight of the divergence from the teacher's probabilities at that temperature."""
    hard: _Weight = 0.5
    """Weight of the objective's own loss."""
    mse: _Weight = 0.0
    """Weight of the squared distance of the logits, summed over the vocabulary or the labels."""
    cosine: _Weight = 0.0
    """Weight of one minus the cosine of the last hidden states, over all tokens read."""
    positions: Literal["all", "learned"] = "all"
    """Of language models: compare logits at all tokens read, or only where something is to be predicted."""
    freeze_positions: bool = False
    """Keep the student's position embeddings as they are."""
    cache: Literal["no", "all", "top"] = "no"
    """Ask the teacher once about each row, before training, and keep its answers on disk: `all` logits, or the `top`
    ones. Not with `cosine`, nor where tokens are hidden at random."""
    top: Positive | None = None
    """With cache `top`: how many logits to keep at each place, 64 if not given; the teacher's probabilities are shared
    among these."""

    @model_validator(mode="after")
    def _learns_from_the_teacher(self) -> "Distillation":
        if not (self.soft or self.mse or self.cosine):
            raise rule_broken("soft", "nothing is learned from the teacher; give 'soft', 'mse' or 'cosine' a weight")
        if self.cache != "no" and self.cosine:
            raise rule_broken("cache", 'hidden states are not kept on disk; set cosine = 0 or cache = "no"')
        if self.cache == "top" and self.mse:
            raise rule_broken("cache", "'mse' needs all logits; set mse = 0 or cache = \"all\"")
        if self.top is not None and self.cache != "top":
            raise rule_broken("top", "'top' means something with cache = \"top\" only")
        return self
