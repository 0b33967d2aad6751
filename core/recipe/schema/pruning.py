"""The table `[[method]]` of kind `movement-pruning`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import NotEmpty, Table, rule_broken

_UNIT = r"^(weights|rows|columns|heads|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"
_SHARES = ("top-k", "magnitude")
"""Masks whose threshold is the share of weights to keep."""


class MovementPruning(Table):
    """Take weights away while the model is fine-tuned (Sanh, Wolf & Rush 2020).

    Each pruned matrix has a matrix of scores beside it that learns which weights matter, and a threshold that moves
    step by step. Embeddings stay frozen; the head, biases and norms are trained without a mask.
    """

    kind: Literal["movement-pruning"] = "movement-pruning"
    mask: Literal["top-k", "threshold", "sigmoid-threshold", "magnitude", "l0"] = "top-k"
    """What is kept: the largest scores, a share of them; scores above a threshold; scores whose sigmoid is above one
    (soft movement pruning); the largest weights, without scores; or what gates leave open that learn under a penalty
    (Louizos et al. 2018)."""
    initial_threshold: float | None = None
    """Where the threshold begins; if not given, 1 with `top-k`, `magnitude` and `l0`, 0 with `sigmoid-threshold`."""
    final_threshold: float | None = None
    """Where it ends, and what every evaluation uses; if not given, 0.7 with `top-k` and `magnitude`, 0.1 with
    `sigmoid-threshold`, 1 with `l0`, where it only scales the penalty. `threshold` needs both: it is in the scores'
    own unit."""
    warmup: Annotated[float, Field(ge=0)] | None = None
    """Steps that the two keys below count in; below 1, a share of all steps. The learning rate's if not given."""
    initial_warmup: Annotated[float, Field(ge=0)] = 1.0
    """How many warm-ups the threshold stays where it begins."""
    final_warmup: Annotated[float, Field(ge=0)] = 2.0
    """How many warm-ups it has been at its end when training ends."""
    scope: Literal["matrix", "model"] = "matrix"
    """With `top-k` and `magnitude`: keep that share of each matrix, or of all matrices together."""
    init: Literal["constant", "uniform", "kaiming"] = "constant"
    """How scores begin: all at `init_scale`, uniform from -init_scale to init_scale, or uniform as weights begin."""
    init_scale: float = 0.0
    """The value or the bound that scores begin with. In runs of few steps, `uniform` within 100 · scores_lr keeps
    whole groups of weights from going at once."""
    scores_lr: Annotated[float, Field(gt=0, lt=100)] = 1e-2
    """Peak learning rate of the scores; it follows the schedule of the weights', and nothing decays."""
    penalty: Literal["l1", "l0"] | None = None
    """What scores cost: `l1`, the mean of their sigmoid, or `l0`, the chance that a gate is open."""
    final_lambda: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the penalty in the loss, at the end; it moves with the threshold."""
    targets: Annotated[list[NotEmpty], Field(min_length=1)] | None = None
    """The linear layers, or GPT-2's Conv1D layers, to prune; every one in the base's repeated layers if not given."""
    units: dict[NotEmpty, Annotated[str, Field(pattern=_UNIT)]] = {}
    """By pattern of the pruned layers, what is kept or pruned together: `rows` (all weights of an output), `columns`
    (of an input), `heads` of an attention, or blocks of rows by columns, such as `32x32`; `weights` one by one where
    no pattern matches. The last that matches counts."""
    train_embeddings: bool = False
    """Train the embeddings, too."""

    @property
    def first_threshold(self) -> float:
        """Where the threshold begins."""
        if self.initial_threshold is not None:
            return self.initial_threshold
        return 0.0 if self.mask == "sigmoid-threshold" else 1.0

    @property
    def last_threshold(self) -> float:
        """Where the threshold ends."""
        if self.final_threshold is not None:
            return self.final_threshold
        return {"sigmoid-threshold": 0.1, "l0": 1.0}.get(self.mask, 0.7)

    @model_validator(mode="after")
    def _that_go_together(self) -> "MovementPruning":
        for key in ("initial_threshold", "final_threshold"):
            if self.mask == "threshold" and getattr(self, key) is None:
                raise rule_broken(key, "mask = 'threshold' needs it: above which score a weight is kept")
        for key, value in (("initial_threshold", self.first_threshold), ("final_threshold", self.last_threshold)):
            if self.mask in _SHARES and not 0 < value <= 1:
                raise rule_broken(key, f"with mask = '{self.mask}' it is the share kept: more than 0, at most 1")
            if self.mask == "sigmoid-threshold" and not 0 <= value < 1:
                raise rule_broken(key, "a sigmoid is compared with it: at least 0, less than 1")
        if self.scope == "model" and self.mask not in _SHARES:
            raise rule_broken("scope", f"mask = '{self.mask}' has no share to keep of the whole model")
        if self.scope == "model" and self.units:
            raise rule_broken("scope", "units of several sizes cannot be compared over the whole model; use 'matrix'")
        if self.penalty is not None and self.mask == "magnitude":
            raise rule_broken("penalty", "mask = 'magnitude' has no scores that could cost anything")
        if self.final_lambda and self.penalty is None:
            raise rule_broken("final_lambda", "there is no penalty to weigh; set penalty = 'l1' or 'l0'")
        return self
