"""Pictures of answers, compared with those in `__snapshots__`; `pytest --snapshot-update` takes them anew."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from driving import press, settle
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from make_history import HistoryMaker, Sketch
from make_influence import add_answer, make_report


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryMaker]:
    """A training, an answer about it, a run that is at work on one, and a run that failed."""
    with HistoryMaker(Home(tmp_path_factory.mktemp("user") / "lmwb")) as made:
        made.add(Sketch("quickstart", 800, 800))
        with closing(History(made.home)) as history:
            uid = history.find("quickstart").uid
        add_answer(made, None, outcome="failed", message="query: there is no token 70,000; the tokenizer has 2,048")
        add_answer(made, None, outcome=None)
        add_answer(made, make_report(f"{uid}/train"))
        yield made


@pytest.fixture(autouse=True)
def same_everywhere(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever takes the picture, wherever."""
    monkeypatch.setenv("HOME", str(maker.home.root.parent))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


SCREENS = {
    "answer": ((120, 36), "w down down down down down n"),
    "answer-small": ((80, 24), "w down"),
    "answer-large": ((200, 50), "w s full_stop b down"),
    "answer-light": ((120, 36), "T w"),
    "batch-small": ((80, 24), "w down enter"),
    "profile-small": ((80, 24), "w 5"),
    "work-small": ((80, 24), "down w"),
    "failed-small": ((80, 24), "down down w"),
    "marked-small": ((80, 24), "end 3 right right f right right right"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_answer(name: str, maker: HistoryMaker, snap_compare) -> None:  # type: ignore[no-untyped-def]
    size, keys = SCREENS[name]

    async def drive(pilot) -> None:  # type: ignore[no-untyped-def]
        await settle(pilot)
        await press(pilot, *keys.split())

    assert snap_compare(LmwbApp(maker.home), terminal_size=size, run_before=drive)
