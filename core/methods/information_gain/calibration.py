"""Whether the first-order estimate of the gain may be believed for this model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Calibration:
    """How the estimate ranks contexts beside the exact gain.

    Attributes:
        pairs: of which both are known.
        rank_correlation: Spearman's; NaN if one of the two does not vary.
        least: that is asked for.
    """

    pairs: int
    rank_correlation: float
    least: float

    @property
    def holds(self) -> bool:
        """Whether the estimate may be used."""
        return self.rank_correlation >= self.least

    @property
    def sentence(self) -> str:
        """For people."""
        verdict = "it is used" if self.holds else f"less than {self.least:g}, so it is not believed"
        return (
            f"the first-order estimate agrees in rank with the exact gain of {self.pairs} contexts at "
            f"{self.rank_correlation:.4f}: {verdict}"
        )


def calibrate(exact: Sequence[float], estimated: Sequence[float], least: float) -> Calibration:
    """Compare the two gains of some contexts."""
    return Calibration(len(exact), rank_correlation(np.array(exact), np.array(estimated)), least)


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; NaN for fewer than two values, for values all alike, and for those not finite."""
    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()) or a.std() == 0 or b.std() == 0:
        return math.nan
    from scipy.stats import spearmanr

    return float(cast("Any", spearmanr(a, b)).statistic)
