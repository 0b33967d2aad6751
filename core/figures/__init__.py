"""Pictures of results: curves, metrics, sizes, learning rates, what pruning costs, how much of its rank LoRA uses.

Drawn with matplotlib, without a screen and without its global state; the same results give the same SVG, byte for
byte.
"""

from collections.abc import Callable, Iterator, Mapping

from matplotlib.figure import Figure

from ..comparison import Comparison
from ..history.queries import History
from .bars import metric_bars, parameters
from .curves import curves, learning_rates
from .influence import draw_counterfactual, draw_datamodel, draw_half_precision
from .probabilities import draw_probabilities
from .progress import progress
from .sparsity import kept_weights
from .spectrum import spectrum
from .style import FORMATS, Picture, styled

__all__ = [
    "FORMATS",
    "KINDS",
    "Picture",
    "draw",
    "draw_all",
    "draw_counterfactual",
    "draw_datamodel",
    "draw_half_precision",
    "draw_probabilities",
]

KINDS: Mapping[str, Callable[[History, Comparison], Figure | None]] = {
    "curves": curves,
    "metric": metric_bars,
    "parameters": parameters,
    "lr": learning_rates,
    "spectrum": spectrum,
    "kept": kept_weights,
    "progress": progress,
}


def draw(kind: str, history: History, comparison: Comparison) -> Picture | None:
    """One picture of the outcomes that a comparison was made from; None if there is nothing to show.

    Args:
        kind: one of `KINDS`.
        history: where the curves are.
        comparison: says which stages of which runs, and the metric.
    """
    with styled():
        figure = KINDS[kind](history, comparison)
    return None if figure is None else Picture(figure)


def draw_all(history: History, comparison: Comparison) -> Iterator[tuple[str, Picture]]:
    """Every kind of picture that there is something to show in, with its name."""
    for kind in KINDS:
        if picture := draw(kind, history, comparison):
            yield kind, picture
