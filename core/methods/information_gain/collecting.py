"""Measuring pairs one after the other: pair n is a function of the seed and n, so that killing costs nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.crops import Crops
from ...errors import TrainingError, ValueInRecipeError
from ...recipe.schema.gain import Estimate
from ...training.crops import Draws
from .calibration import Calibration, calibrate
from .gains import Measured
from .pairs import Pair, read_pairs, write_pairs

_SAVE_SECONDS = 5.0
"""At most so much work is lost."""


class Measures(Protocol):
    """Measures the gain of a context; `Gains` does."""

    def measure(self, context: torch.Tensor, number: int, exact: bool = True, estimate: bool = False) -> Measured:
        """See `Gains.measure`."""
        ...


@dataclass(frozen=True)
class Collected:
    """All pairs.

    Attributes:
        pairs: in the order in which they were drawn.
        gains: (pairs,) exact, or as estimated if the estimate may be believed.
        calibration: of the estimate; None if none was asked for.
    """

    pairs: list[Pair]
    gains: NDArray[np.float64]
    calibration: Calibration | None


@dataclass(frozen=True)
class Collecting:
    """What pairs are made of, and who hears of it.

    Attributes:
        crops: contexts to draw from.
        seed: of the draws.
        pairs: how many are wanted.
        estimate: how to estimate gains; None to measure each exactly.
        device: of the model.
        file: that keeps the pairs.
        after: hears of each pair, those in the file as well; what it raises ends the collecting, which can be gone on
            with.
        tell: takes a sentence.
    """

    crops: Crops
    seed: int
    pairs: int
    estimate: Estimate | None
    device: torch.device
    file: Path
    after: Callable[[Pair], None]
    tell: Callable[[str], None]

    def run(self, gains: Callable[[], Measures]) -> Collected:
        """Measure what is not in the file yet; `gains` is made only if there is something to measure.

        Raises:
            ValueInRecipeError: the estimate must not be believed, and the recipe says to give up then.
            TrainingError: a gain is not finite.
            MachineError: the disk does not take the pairs.
        """
        pairs = read_pairs(self.file)[: self.pairs]
        for pair in pairs:
            self.after(pair)
        known = len(pairs)
        if known:
            self.tell(f"pairs: {known:,} of {self.pairs:,} are known already")
        verdict = self._judge(pairs)
        measurer = gains() if known < self.pairs else None
        draws, saved_at = Draws(self.crops, self.seed, "pairs"), time.monotonic()
        try:
            for number in range(known, self.pairs):
                assert measurer is not None
                pairs.append(self._pair(measurer, draws, number, verdict))
                self.after(pairs[-1])
                verdict = verdict or self._judge(pairs)
                if time.monotonic() - saved_at > _SAVE_SECONDS:
                    write_pairs(self.file, pairs)
                    saved_at = time.monotonic()
        finally:
            if len(pairs) > known:
                write_pairs(self.file, pairs)
        use_estimate = verdict is not None and verdict.holds
        found = [pair.estimate if use_estimate else pair.exact for pair in pairs]
        return Collected(pairs, np.array(found, np.float64), verdict)

    def _pair(self, gains: Measures, draws: Draws, number: int, verdict: Calibration | None) -> Pair:
        (row,) = draws.rows(number, number + 1)
        tokens = self.crops.tokens(row)
        believed = verdict is not None and verdict.holds
        unsure = self.estimate is not None and verdict is None
        context = torch.from_numpy(tokens).long().to(self.device)
        found = gains.measure(context, number, exact=not believed, estimate=believed or unsure)
        for value in (found.exact, found.estimate):
            if value is not None and not np.isfinite(value):
                raise TrainingError(
                    f"the gain of context {number + 1} is not finite; look at the model, or lower step.lr"
                )
        return Pair(number, *self.crops.place(row), tokens, found.perplexity, found.exact, found.estimate)

    def _judge(self, pairs: list[Pair]) -> Calibration | None:
        """Whether the estimate may be believed, as soon as there are pairs enough to tell."""
        if self.estimate is None or len(pairs) < self.estimate.calibration:
            return None
        sample = pairs[: self.estimate.calibration]
        both = [(pair.exact, pair.estimate) for pair in sample if pair.exact is not None and pair.estimate is not None]
        verdict = calibrate([exact for exact, _ in both], [estimate for _, estimate in both], self.estimate.least)
        if not verdict.holds and self.estimate.otherwise == "error":
            raise ValueInRecipeError(
                "estimate", f"{verdict.sentence}; leave 'estimate' out to measure all pairs exactly"
            )
        self.tell(verdict.sentence + ("" if verdict.holds else "; all pairs are measured exactly"))
        return verdict
