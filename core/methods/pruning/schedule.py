"""How the threshold of movement pruning moves: a cubic between two flat ends (Zhu & Gupta 2017; Sanh et al. 2020)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The threshold, and the weight of the penalty, as pure functions of the optimiser steps made so far.

    Attributes:
        initial: the threshold at the beginning.
        final: the threshold at the end, and in every evaluation.
        before: steps at the beginning in which it stays at `initial`.
        after: steps at the end in which it stays at `final`.
        total: steps in all.
    """

    initial: float
    final: float
    before: float
    after: float
    total: int

    @property
    def moves(self) -> bool:
        """Whether the threshold changes at all."""
        return self.initial != self.final

    @property
    def room(self) -> float:
        """Steps between the flat ends, in which the threshold moves; without any it could only jump."""
        return self.total - self.before - self.after

    def threshold(self, made: int) -> float:
        """t_f + (t_i − t_f)(1 − (made − before)/room)³ between the flat ends, `made` steps having been made."""
        return self.final + (self.initial - self.final) * self._left(made)

    def penalty_weight(self, made: int, final_weight: float) -> float:
        """λ = λ_f·t/t_f; with a final threshold of 0, where the original divides by zero, λ_f by the way gone."""
        if self.final == 0:
            return final_weight * (1 - self._left(made) if self.moves else 1.0)
        return final_weight * self.threshold(made) / self.final

    def _left(self, made: int) -> float:
        """The share of the way that is left to go."""
        if not self.moves or made > self.total - self.after:
            return 0.0
        if made <= self.before:
            return 1.0
        return (1 - (made - self.before) / self.room) ** 3
