"""The tables `[train]` and `[sample]`: how the weights are found, and what is said meanwhile."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Fraction, NotEmpty, Positive, Table, rule_broken


class Rule(Table):
    """The rule that changes the weights, for one step or many."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The rule that changes the weights."""
    lr: Annotated[float, Field(gt=0, lt=100)] = 5e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled for AdamW; matrices only, never biases and norms."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    """AdamW's decay rates of the first and second moment."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's term against division by zero."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """SGD's momentum."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient of a step; longer ones are scaled down. 0 for no limit."""


class Train(Rule):
    """How the weights are found: steps, optimiser, schedule, precision, and what is kept."""

    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training rows. Give this or `steps`; one epoch if neither is given."""
    steps: Positive | None = None
    """Optimiser steps in all."""
    batch_size: Positive = 8
    """Rows per forward pass."""
    bucketing: bool = True
    """Put rows of like length into a batch, so that little is padded; order and batches still change every epoch."""
    gradient_accumulation: Positive = 1
    """Forward passes per optimiser step; every token of the step counts alike."""
    schedule: Literal["constant", "linear", "cosine", "step"] = "linear"
    """How the learning rate goes from its peak to `final_lr` after the warm-up."""
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """Steps in which the rate rises to its peak; below 1, a share of all steps."""
    final_lr: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The rate at the end, as a share of the peak (`linear`, `cosine`)."""
    step_every: Positive = 1000
    """With schedule `step`: steps between two drops."""
    step_factor: Fraction = 0.1
    """With schedule `step`: what each drop multiplies the rate by."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number type of the forward pass; weights stay in fp32."""
    compile: bool = False
    """Compile the model with torch.compile before training."""
    eval_every: Positive | None = None
    """Steps between two evaluations on the validation rows; a tenth of all steps if not given."""
    eval_batch_size: Positive = 16
    """Rows per forward pass in evaluation; the figures do not depend on it."""
    checkpoint_every: Positive | None = None
    """Steps between two checkpoints; as often as evaluations if not given."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints to keep on disk; the best one is kept besides."""
    result: Literal["best", "last"] = "best"
    """Which weights become the stage's result: those best in validation, or the last."""
    best: NotEmpty = "loss"
    """The figure of validation that tells which weights are best, such as `loss` or `accuracy`."""
    log_every: Positive = 1
    """Steps between two recorded measurements of the training loss."""
    max_bad_steps: Positive = 5
    """Steps in a row with a loss or gradient that is not finite before the run is stopped."""

    @model_validator(mode="after")
    def _one_length(self) -> "Train":
        if self.epochs is not None and self.steps is not None:
            raise rule_broken("steps", "give 'epochs' or 'steps', not both")
        return self


class Sample(Table):
    """What the model is asked to complete while it learns."""

    prompts: list[str] = []
    """The beginnings of texts."""
    every: Positive | None = None
    """Steps between two samplings; as often as evaluations if not given."""
    tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    """Tokens to generate for each prompt."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 always takes the likeliest token."""
    top_k: Positive | None = None
    """Draw from the k likeliest tokens only."""
    alternatives: Annotated[int, Field(ge=1, le=50)] = 8
    """Likeliest tokens to record beside each token."""
