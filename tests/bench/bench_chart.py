"""What drawing a chart costs, beside the chart libraries that happen to be installed.

Prints the median time from arrays to the cells of a 120 × 30 picture: all points, zoomed to a hundredth, and what the
smoothing adds. plotext (before 6, whose interface is another) and textual-plot, if they are there, draw the same
curves into the same space; they loop over points in Python, so they are asked for the smaller sizes only, unless told
otherwise.

    python tests/bench/bench_chart.py [--patient]
"""

import asyncio
import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from lmwb.tui.pictures.chart import View, draw
from lmwb.tui.pictures.series import Series, smooth

WIDTH, HEIGHT = 120, 30
SIZES = ((1_000, 1), (1_000, 8), (100_000, 1), (100_000, 8), (1_000_000, 1), (1_000_000, 8))
PATIENCE = 100_000
"""Points in all that the others are asked to draw; a million take them half a minute."""


def main(patient: bool) -> None:
    print(f"{WIDTH} x {HEIGHT} cells, milliseconds, medians (bound for all sizes: 50)")
    print(f"{'points x series':>16} {'all':>8} {'zoomed':>8} {'smooth':>8}", *(f"{name:>24}" for name in RIVALS))
    for n, count in SIZES:
        series = curves(n, count)
        whole = median(lambda s=series: draw(s, WIDTH, HEIGHT))
        middle = View(x0=0.495 * n, x1=0.505 * n)
        zoomed = median(lambda s=series, view=middle: draw(s, WIDTH, HEIGHT, view))
        softened = median(lambda s=series: [smooth(one.y, 0.9) for one in s])
        cells = [f"{n:,} x {count}".rjust(16), *(f"{1e3 * t:8.2f}" for t in (whole, zoomed, softened))]
        for name, rival in RIVALS.items():
            affordable = patient or n * count <= PATIENCE
            took = rival(series) if affordable and usable(name) else None
            cells.append((f"{1e3 * took:,.0f} ({took / whole:,.0f} times)" if took else "-").rjust(24))
        print(" ".join(cells), flush=True)
    for name in RIVALS:
        if not usable(name):
            print(f"{name} is not installed or too new, so it was not compared.")


def curves(n: int, count: int) -> list[Series]:
    """Noisy decays, like losses."""
    random = np.random.default_rng(0)
    x = np.arange(n, dtype=np.float64)
    return [Series(f"s{i}", x, 3 * np.exp(-x / (0.2 * n)) + i + random.normal(0, 0.1, n), i) for i in range(count)]


def usable(name: str) -> bool:
    """The library is there, with the interface that is used here."""
    if not importlib.util.find_spec(name):
        return False
    return name != "plotext" or hasattr(importlib.import_module(name), "clear_figure")


def median(call: Callable[[], object], seconds: float = 0.5) -> float:
    """Seconds that a call takes; repeated for a while, at least 5 times."""
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def with_plotext(series: Sequence[Series]) -> float:
    """Seconds for plotext to build the picture as text, from lists, which it takes faster than arrays."""
    import plotext

    lists = [(one.x.tolist(), one.y.tolist()) for one in series]

    def build() -> object:
        plotext.clear_figure()
        plotext.plot_size(WIDTH, HEIGHT)
        for x, y in lists:
            plotext.plot(x, y, marker="braille")
        return plotext.build()

    return _few(build)


def with_textual_plot(series: Sequence[Series]) -> float:
    """Seconds for textual-plot's widget to take the data and paint it, in an app without a terminal."""
    from textual.app import App, ComposeResult
    from textual_plot import HiResMode, PlotWidget

    class Viewer(App[None]):
        def compose(self) -> ComposeResult:
            yield PlotWidget()

    async def timed() -> float:
        app = Viewer()
        async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
            await pilot.pause()
            plot = app.query_one(PlotWidget)

            async def paint() -> None:
                plot.clear()
                for one in series:
                    plot.plot(one.x, one.y, hires_mode=HiResMode.BRAILLE)
                plot._render_plot()

            return await _few_async(paint)

    return asyncio.run(timed())


def _few(call: Callable[[], object]) -> float:
    async def once() -> None:
        call()

    return asyncio.run(_few_async(once))


async def _few_async(call: Callable[[], Awaitable[None]]) -> float:
    """The median of 3 calls, or the only one if it takes long."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < 3:
        start = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


RIVALS: dict[str, Callable[[Sequence[Series]], float]] = {"plotext": with_plotext, "textual_plot": with_textual_plot}


if __name__ == "__main__":
    main(patient="--patient" in sys.argv[1:])
