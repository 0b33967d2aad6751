"""Pictures of studies of influence: which strategy ranks best, what leaving rows out does, what bfloat16 changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .style import BLACK, BLUE, COLOURS, Picture, bars, short, styled

_POINTS = 2000
"""Points that a scatter picture shows of a query."""

Facts = Mapping[str, Any]


def draw_datamodel(strategies: Mapping[str, Facts], ceiling: float | None) -> Picture:
    """A bar for each strategy's linear datamodeling score, with its interval.

    Args:
        strategies: by name `lds`, `low` and `high`.
        ceiling: the most that the scatter over seeds allows; None if it is not known.
    """
    with styled():
        figure, axes = bars(len(strategies) + 1)
        for place, told in enumerate(strategies.values()):
            value, low, high = told["lds"], told["low"], told["high"]
            reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.barh(place, value, xerr=reach, color=BLUE, alpha=0.75, height=0.62, capsize=3)
            note = f"{value:.3f}"
            axes.annotate(
                note, (max(high, value, 0), place), (5, 0), textcoords="offset points", va="center", fontsize=8,
                bbox={"color": "white", "pad": 0.5},
            )  # fmt: skip
        if ceiling is not None:
            axes.axvline(ceiling, color=BLACK, linestyle=":", linewidth=1)
            axes.annotate(
                f"ceiling {ceiling:.3f}", (ceiling, -0.7), (-3, 0), textcoords="offset points", ha="right", fontsize=8
            )
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(strategies)), [short(name, 40) for name in strategies])
        axes.set_ylim(len(strategies) - 0.4, -1)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.set_xlabel("linear datamodeling score with 95 % interval")
    return Picture(figure)


def draw_counterfactual(strategies: Mapping[str, Mapping[float, Facts]], perplexity: float, seeds: int) -> Picture:
    """How much the queries' loss rises with the share of rows that is left out, a line for each strategy.

    Args:
        strategies: by name and share `rise`, and `low` and `high` if there are several seeds.
        perplexity: of the queries with nothing left out.
        seeds: how many.
    """
    with styled():
        figure = Figure(figsize=(5.6, 3.4))
        axes: Any = figure.subplots()
        for number, (name, of_shares) in enumerate(strategies.items()):
            colour = COLOURS[number % len(COLOURS)]
            told = [of_shares[share] for share in sorted(of_shares)]
            shares = [0.0, *(100 * share for share in sorted(of_shares))]
            rises = [0.0, *(each["rise"] for each in told)]
            axes.plot(shares, rises, "o-", color=colour, label=short(name), markersize=3.5)
            if all("low" in each for each in told):
                low, high = ([0.0, *(each[end] for each in told)] for end in ("low", "high"))
                axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(0, color=BLACK, linewidth=0.8)
        axes.set_xlabel("training rows left out, %")
        axes.set_ylabel("rise of the queries' loss, nats per prediction")
        spread = f"mean and 95 % t interval over {seeds} seeds" if seeds > 1 else "one seed"
        axes.set_title(f"{spread}; nothing left out: perplexity {perplexity:.4g}")
        axes.legend(loc="upper left")
    return Picture(figure)


def draw_half_precision(
    strategies: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int]]],
) -> Picture:
    """Scores in bfloat16 over those in float32, for three queries of each strategy.

    Args:
        strategies: by name the scores (queries, rows) in float32 and bfloat16, and the queries that agree least, as the
            median does, and most.
    """
    with styled():
        figure = Figure(figsize=(3.3 * len(strategies) + 0.6, 3.6))
        panels: Any = figure.subplots(1, len(strategies), squeeze=False, sharey=True)
        for axes, (name, (exact, rough, queries)) in zip(panels.flat, strategies.items(), strict=True):
            axes.plot([-1, 1], [-1, 1], color=BLACK, linewidth=0.6)
            for number, query in enumerate(dict.fromkeys(queries)):
                few = np.linspace(0, exact.shape[1] - 1, min(_POINTS, exact.shape[1])).astype(int)
                scale = float(np.abs(exact[query]).max()) or 1.0
                x, y = exact[query][few] / scale, rough[query][few] / scale
                axes.plot(x, y, ".", color=COLOURS[number], markersize=3, alpha=0.6, label=f"query {query}")
            axes.set_title(short(name))
            axes.set_xlabel("score in float32, share of the largest")
            axes.legend(loc="upper left", markerscale=2)
        panels.flat[0].set_ylabel("score in bfloat16")
    return Picture(figure)
