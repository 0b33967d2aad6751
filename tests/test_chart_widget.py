"""The chart in an app: it zooms, follows what is new, and repaints only what has changed."""

import numpy as np
import pytest
from lmwb.tui.pictures.series import Series
from lmwb.tui.widgets.chart import Chart
from textual.app import App, ComposeResult
from textual.geometry import Region


class Viewer(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart()


def curve(n: int) -> Series:
    x = np.arange(n)
    return Series("[/red]\x1b[2J", x, 3 * np.exp(-x / 300) + 1)


def text(chart: Chart) -> str:
    return "\n".join(chart.render_line(y).text for y in range(chart.size.height))


async def test_without_data_it_says_so() -> None:
    app = Viewer()
    async with app.run_test(size=(60, 12)) as pilot:
        chart = app.query_one(Chart)
        chart.show([])
        await pilot.pause()
        assert "no data yet" in text(chart)
        for action in (chart.reset_view, chart.toggle_log, lambda: chart.zoom(2), lambda: chart.pan(1)):
            action()
        chart.move_cursor(1)
        assert chart.cursor is None
        chart.show([Series("empty", np.empty(0), np.empty(0))])
        assert "no data yet" in text(chart)


async def test_it_zooms_to_the_right_end_and_follows_it() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        chart.zoom(4)
        assert chart.frame is not None
        assert chart.frame.x1 == 999
        length = chart.frame.x1 - chart.frame.x0
        chart.show([curve(1100)])
        assert (chart.frame.x0, chart.frame.x1) == (1099 - length, 1099)


async def test_it_stays_where_it_is_when_zoomed_elsewhere() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        chart.zoom(4)
        chart.pan(-1)
        assert chart.frame is not None
        before = chart.frame.x0, chart.frame.x1
        chart.show([curve(1100)])
        assert (chart.frame.x0, chart.frame.x1) == before
        chart.pan(-100)
        assert chart.frame.x0 == 0
        chart.reset_view()
        assert chart.frame.x1 >= 1099


async def test_zooming_out_far_enough_shows_everything_again() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        whole = chart.frame
        chart.zoom(2)
        chart.zoom(0.25)
        assert chart.view.x0 is None
        assert chart.frame == whole


async def test_zooming_stays_within_the_data_and_can_always_be_undone() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        for _ in range(200):
            chart.zoom(2)
            chart.pan(-1)
        for _ in range(200):
            assert chart.frame is not None
            assert chart.frame.x0 >= 0
            chart.zoom(0.5)
        assert chart.view.x0 is None


async def test_zooming_keeps_the_cursor_in_sight() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        chart.set_cursor(300)
        for _ in range(6):
            chart.zoom(2)
            assert chart.frame is not None
            assert chart.frame.x0 <= 300 <= chart.frame.x1


async def test_the_cursor_goes_from_measurement_to_measurement() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([Series("few", np.array([0, 100, 200, 300]), np.arange(4))])
        await pilot.pause()
        places = []
        for step in (-1, -1, -1, 1):
            chart.move_cursor(step)
            places.append(chart.cursor)
        assert places == [300, 200, 100, 200]


async def test_the_log_axis_can_be_switched() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1000)])
        await pilot.pause()
        chart.toggle_log()
        assert chart.frame is not None
        assert chart.frame.log_y
        chart.toggle_log()
        assert not chart.frame.log_y


async def test_new_points_repaint_few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Viewer()
    async with app.run_test(size=(120, 30)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(1600)])
        await pilot.pause()
        regions: list[Region] = []
        monkeypatch.setattr(chart, "refresh", lambda *where, **_: regions.extend(where) or chart)
        chart.show([curve(1600)])
        assert regions == []
        chart.show([curve(1640)])
        assert 0 < sum(region.area for region in regions) < 120


async def test_the_y_axis_is_kept_for_the_same_curves_only() -> None:
    app = Viewer()
    async with app.run_test(size=(80, 16)) as pilot:
        chart = app.query_one(Chart)
        first, second, other = (Series(name, np.arange(9), np.linspace(0, top, 9)) for name, top in
                                (("a", 10), ("a", 7), ("b", 7)))  # fmt: skip
        tops = []
        for series in (first, second, other):
            chart.show([series])
            await pilot.pause()
            assert chart.frame is not None
            tops.append(chart.frame.y1)
        assert tops == [10, 10, 7]


async def test_foreign_names_do_no_harm() -> None:
    app = Viewer()
    async with app.run_test(size=(60, 12)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(100)], title="[bold]\x07", x_label="\x9b1m")
        await pilot.pause()
        shown = text(chart)
        assert "[/red]␛[2J" in shown
        assert "[bold]␇" in shown


@pytest.mark.parametrize("size", [(1, 1), (12, 4), (40, 8), (200, 50)])
async def test_any_size_will_do(size: tuple[int, int]) -> None:
    app = Viewer()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(Chart)
        chart.show([curve(100)])
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert all(chart.render_line(y).cell_length == size[0] for y in range(size[1]))
