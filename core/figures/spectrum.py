"""How much of its rank a LoRA update uses."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..comparison import Comparison, Outcome
from ..history.queries import History
from .bundles import outcomes_of
from .style import COLOURS, short

_NAMED = 12
"""Lines that a legend names."""


def spectrum(history: History, comparison: Comparison) -> Figure | None:
    """The singular values of each LoRA update, of the first seed, beside each other: how much of the rank is used."""
    found = [(row.label, _spectra(history, outcomes_of(comparison, row))) for row in comparison.rows]
    found = [(label, spectra) for label, spectra in found if spectra]
    if not found:
        return None
    figure = Figure(figsize=(max(5.0, 3.6 * len(found) + 1.6), 3.4))
    axes: Any = figure.subplots(1, len(found), squeeze=False, sharey=True)
    for panel, (label, spectra) in zip(axes.flat, found, strict=True):
        for number, (module, values) in enumerate(spectra.items()):
            style = "osD^v"[number // len(COLOURS) % 5] + "-"
            colour = COLOURS[number % len(COLOURS)]
            shown = short(module, 40)
            panel.plot(range(1, len(values) + 1), values, style, color=colour, label=shown, markersize=3.5, linewidth=1)
        panel.set_title(short(label, 36))
        panel.set_xlabel("singular value, by size")
        panel.set_ylim(bottom=0)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        handles, names = panel.get_legend_handles_labels()
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        panel.legend(handles[: _NAMED + len(more)], names[:_NAMED] + more, loc="upper right", fontsize=7)
    axes.flat[0].set_ylabel("size in the update BA")
    return figure


def _spectra(history: History, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    for outcome in outcomes:
        for stage in history.stages(history.find(outcome.uid).id):
            found = stage.summary.get("spectrum")
            if stage.name == outcome.stage and isinstance(found, dict) and found:
                return {str(module): [float(value) for value in values] for module, values in found.items()}
    return {}
