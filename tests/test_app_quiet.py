"""The app sends only what changed, imports only what it needs, and does not fidget."""

import subprocess
import sys
from pathlib import Path

import pytest
from driving import home_screen, look_again, painted, press, running_app
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from make_history import HistoryMaker, Sketch


class Sent:
    """What the app displays from now on: how many cells of how many updates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.cells: list[int] = []
        original = LmwbApp._display

        def display(app, screen, renderable):
            if renderable is not None:
                spans = getattr(renderable, "spans", [(0, 0, 10**6)])
                self.cells.append(sum(end - start for _, start, end in spans))
            original(app, screen, renderable)

        monkeypatch.setattr(LmwbApp, "_display", display)


@pytest.fixture
def maker(tmp_path: Path):
    with HistoryMaker(Home(tmp_path)) as made:
        made.add(Sketch("older", 40, 40))
        made.add(Sketch("live", 400, 200, None, alive=True))
        yield made


async def test_nothing_is_sent_while_nothing_changes(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(maker.home) as pilot:
        await painted(pilot)
        sent = Sent(monkeypatch)
        for _ in range(5):
            await look_again(pilot)
        await painted(pilot)
        assert sent.cells == []


async def test_a_writer_elsewhere_in_the_history_costs_nothing(
    maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app(maker.home) as pilot:
        await painted(pilot)
        sent = Sent(monkeypatch)
        maker.connection.execute("UPDATE run SET name = name")
        await look_again(pilot)
        await painted(pilot)
        assert sent.cells == []


async def test_a_new_loss_costs_a_few_cells(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(maker.home) as pilot:
        run = home_screen(pilot).runs.selected
        assert run is not None
        await painted(pilot)
        sent = Sent(monkeypatch)
        maker.log(run.uid, 201, {"train/loss": 2.7654321})
        await look_again(pilot)
        assert "2.77" in "".join(line.text for line in home_screen(pilot).runs._strips)
        assert 0 < sum(sent.cells) < 80


async def test_a_cursor_key_costs_two_rows(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(maker.home) as pilot:
        await painted(pilot)
        sent = Sent(monkeypatch)
        await pilot.press("down")
        assert sent.cells
        assert sent.cells[0] <= 4 * 34


async def test_nothing_blinks_in_an_entry(maker: HistoryMaker) -> None:
    from lmwb.tui.widgets.entry import Entry

    async with running_app(maker.home) as pilot:
        await press(pilot, "slash")
        assert not pilot.app.screen.query_one(Entry).cursor_blink
        assert pilot.app.animation_level == "none"


def test_neither_torch_nor_pydantic_is_imported_to_show_runs(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as made:
        made.add(Sketch("one", 16, 16))
    code = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from driving import press, running_app
from lmwb.core.home import Home
async def main():
    async with running_app(Home(Path(sys.argv[1]))) as pilot:
        await press(pilot, "down", "3", "7", "question_mark", "q")
asyncio.run(main())
print(sorted({"torch", "transformers", "pydantic", "datasets", "pandas", "sqlite_utils"} & set(sys.modules)))
"""
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
