"""The objective with a teacher beside it: the same rows, a loss of several parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...recipe.schema.distilling import Distillation
from ...training.distribution import ALONE, Team
from ...training.objective import IGNORE, Batch, Objective, Tally
from ...training.objectives.masked import PLACES, MaskedLM
from .losses import Few, cosine_loss, logit_losses
from .places import ATTENDED, COMPARED, ROWS, attended, given
from .remembered import Remembered
from .teacher import LANGUAGE_MODELS, Teacher, ask


@dataclass(frozen=True)
class _Said:
    """What was found in a forward pass that the loss needs besides the student's logits."""

    teacher: Tensor | Few
    states: tuple[Tensor, Tensor] | None  # the student's and the teacher's, (tokens read, width)


class Distilled:
    """An objective's rows, and the loss of a student that has a teacher.

    L = α_soft L_soft + α_hard L_hard + α_mse L_mse + α_cosine L_cosine, as in Sanh et al. 2019. Each part is a mean
    over what it counts in the whole optimiser step: `hard` over the predictions, `soft` and `mse` over the places
    compared (all tokens read, or those to be predicted; for labels, the rows), `cosine` over the tokens read. Padding
    counts for nothing, whichever token it is made of, and a step that is left over at the end of an epoch is a mean of
    its own.
    """

    def __init__(
        self,
        objective: Objective,
        kind: type[Objective],
        teacher: Teacher | Remembered,
        settings: Distillation,
        device: torch.device,
    ):
        """`kind` is the objective's, should another method have put something around it."""
        self._objective = objective
        self._teacher = teacher
        self._settings = settings
        self._of_tokens = issubclass(kind, LANGUAGE_MODELS)
        self._masked = issubclass(kind, MaskedLM)
        self._kind = kind
        self._device = device
        self._team = ALONE
        self._said: _Said | None = None
        self._shares: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._objective)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self._objective.lengths

    @property
    def fingerprint(self) -> str:
        """The objective's own."""
        return self._objective.fingerprint

    def tally(self) -> Tally:
        """The objective's own."""
        return self._objective.tally()

    def collate(self, rows: Sequence[int], seed: int) -> Batch:
        """The objective's batch and which of its places are compared; targets are those of the places compared."""
        batch = self._objective.collate(rows, seed)
        extra = {ROWS: torch.tensor(list(rows))}
        read = attended(self._objective, self._kind, batch, rows)
        if read is not None:
            extra[ATTENDED] = read
        targets = batch.targets
        if self._of_tokens:
            assert read is not None
            targets = self._targets(batch)
            if self._settings.positions == "learned":
                extra[COMPARED] = (targets != IGNORE).nonzero()[:, 0]
            else:
                extra[COMPARED] = read
            targets = targets[extra[COMPARED]]
        return replace(batch, inputs={**batch.inputs, **extra}, targets=targets)

    def weigh(self, batches: Sequence[Batch], team: Team) -> None:
        """Count what each part of the coming step's loss is a mean over, in all processes."""
        hard, compared, read = team.total(
            sum(batch.weight for batch in batches),
            sum(len(batch.inputs.get(COMPARED, batch.inputs[ROWS])) for batch in batches),
            sum(len(batch.inputs.get(ATTENDED, ())) for batch in batches),
        )
        self._team = team
        self._counts = {"soft": compared, "mse": compared, "hard": hard, "cosine": read}
        # the loop divides all by the predictions
        self._shares = {name: max(1, hard) / max(1, count) for name, count in self._counts.items()}
        self._sums = dict.fromkeys(self._counts, torch.zeros(()))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """The student's logits, (places compared, vocabulary) or (rows, labels), once the teacher was asked."""
        compared, read = batch.inputs.get(COMPARED), batch.inputs.get(ATTENDED)
        inputs = given(batch, self._kind)
        if isinstance(self._teacher, Remembered):
            theirs, their_states = self._teacher.answers(batch.inputs[ROWS], compared, batch), None
        else:
            answers = self._teacher.ask(inputs, compared)
            theirs, their_states = answers.logits, answers.states
        ours = ask(model, inputs, compared)
        states = None
        if self._settings.cosine:
            assert ours.states is not None
            assert their_states is not None
            states = (ours.states.flatten(0, 1)[read], their_states.flatten(0, 1)[read])
        self._said = _Said(theirs, states)
        return ours.logits

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The weighted parts, as a sum that becomes the loss once it is divided by the step's predictions."""
        said, self._said = self._said, None
        assert said is not None
        settings, shares = self._settings, self._shares
        hard = settings.hard * shares["hard"]
        weights = (settings.soft * shares["soft"], settings.mse * shares["mse"], hard if self._of_tokens else 0.0)
        total, parts = logit_losses(outputs, said.teacher, batch.targets, weights, settings.temperature)
        self._add("soft", parts[0])
        self._add("mse", parts[1])
        if self._of_tokens:
            self._add("hard", parts[2])
        elif hard:
            own = self._objective.loss_sum(outputs, batch)
            self._add("hard", own.detach())
            total = total + hard * own
        if said.states is not None:
            distance = cosine_loss(*said.states)
            self._add("cosine", distance.detach())
            total = total + settings.cosine * shares["cosine"] * distance
        return total

    def figures(self) -> Mapping[str, Tensor]:
        """The parts of the last step's loss that have a weight, each as it is before it is weighted."""
        sums = torch.stack([value.to(self._device) for value in self._sums.values()])
        if self._team.size > 1:
            self._team.add_up(sums).wait()
        means = zip(self._sums, sums, strict=True)
        return {n: value / max(1, self._counts[n]) for n, value in means if getattr(self._settings, n)}

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name].to(value) + value

    def _targets(self, batch: Batch) -> Tensor:
        """The targets of all places of the flattened batch."""
        if not self._masked:
            return batch.targets.flatten()
        targets = torch.full((batch.inputs["input_ids"].numel(),), IGNORE)
        targets[batch.inputs[PLACES]] = batch.targets
        return targets
