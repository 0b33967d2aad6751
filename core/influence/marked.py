"""Queries: rows whose loss is asked about, whole or only at marked tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.rows import Rows
from ..errors import UsageError
from ..training.objective import IGNORE, Batch, Objective, Tally, fingerprint_of
from ..training.objectives.causal import CausalLM


class Marked:
    """An objective of which, in some rows, only marked tokens count."""

    def __init__(self, objective: Objective, marks: Mapping[int, tuple[int, int]]):
        """Tokens `first` to `end`, the end left out, of each row named in `marks` count; other rows as they are.

        Tokens are counted from the row's beginning; the first of a row is predicted by nothing.

        Raises:
            UsageError: nothing is predicted between two marks.
        """
        self.objective = objective
        self.marks = dict(marks)
        lengths = objective.lengths
        for row, (first, end) in self.marks.items():
            length = int(lengths[row])
            if not 0 <= first < end <= length:
                raise UsageError(f"query {row}: tokens {first} to {end - 1} are marked, but there are {length}")
            if end == 1:
                raise UsageError(f"query {row}: the first token is marked, which nothing before it predicts")

    def __len__(self) -> int:
        return len(self.objective)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.objective.lengths

    @property
    def fingerprint(self) -> str:
        """Changes when rows or marks do."""
        marks = np.array([[row, *ends] for row, ends in sorted(self.marks.items())], np.int64)
        return f"{self.objective.fingerprint}-{fingerprint_of(marks)}"

    def collate(self, rows: Sequence[int], seed: int) -> Batch:
        """As the objective does; targets that are not marked are ignored."""
        batch = self.objective.collate(rows, seed)
        targets = batch.targets.clone()
        for i, row in enumerate(rows):
            if row in self.marks:
                first, end = self.marks[row]
                targets[i, : max(0, first - 1)] = IGNORE  # target t is token t + 1
                targets[i, end - 1 :] = IGNORE
        return Batch(batch.inputs, targets, int((targets != IGNORE).sum()), batch.tokens)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """As the objective does."""
        return self.objective.forward(model, batch)

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """As the objective does."""
        return self.objective.loss_sum(outputs, batch)

    def tally(self) -> Tally:
        """As the objective does."""
        return self.objective.tally()


def queries_of_tokens(texts: Sequence[Sequence[int]], marks: Mapping[int, tuple[int, int]] | None = None) -> Objective:
    """Texts, as a language model's tokens, that are asked about.

    Args:
        texts: the ids of each.
        marks: as `Marked` takes them; without, all tokens of a text count.

    Raises:
        UsageError: there is none, or one of a single token.
    """
    see_that_something_is_predicted([len(text) for text in texts])
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    bounds = np.stack([ends - [len(text) for text in texts], ends], 1)
    stream = np.concatenate([np.asarray(text, np.int32) for text in texts])
    objective = CausalLM(Rows(stream, bounds))
    return Marked(objective, marks) if marks else objective


def see_that_something_is_predicted(lengths: Sequence[int]) -> None:
    """Each text of a language model needs two tokens.

    Raises:
        UsageError: one has fewer, or there are no texts.
    """
    if not lengths:
        raise UsageError("there are no queries; give at least one")
    for number, length in enumerate(lengths):
        if length < 2:
            what = "one token, which nothing before it predicts" if length else "no tokens"
            raise UsageError(f"query {number} has {what}; give at least two tokens")
