"""The probability of each token of some texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .style import COLOURS, Picture, short, styled


def draw_probabilities(panels: Sequence[tuple[str, Mapping[str, NDArray[np.float32]]]]) -> Picture:
    """The probability of each token of some texts, a panel for each prompt.

    Args:
        panels: the prompt, foreign text, and a curve of probabilities for each name.
    """
    with styled():
        figure = Figure(figsize=(6.4, 2.3 * len(panels) + 0.9))
        handles: dict[str, Any] = {}
        grid: Any = figure.subplots(len(panels), 1, squeeze=False, sharex=True, sharey=True)
        for axes, (prompt, curves) in zip(grid.flat, panels, strict=True):
            axes.set_title(short(prompt, 80))
            axes.set_ylabel("probability")
            axes.set_ylim(-0.03, 1.03)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for number, (name, p) in enumerate(curves.items()):
                style = "osD^v"[number % 5] + ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
                colour = COLOURS[number % len(COLOURS)]
                label = short(name, 60)
                wide = 1.2 + 1.8 * (len(curves) - number - 1)  # of those that lie on each other, each can be seen
                steps = range(1, len(p) + 1)
                handles[label] = axes.plot(steps, p, style, color=colour, markersize=2 + wide, linewidth=wide)[0]
        grid[-1, 0].set_xlabel("generated token")
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, max(1, len(handles))))
    return Picture(figure)
