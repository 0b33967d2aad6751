"""Pictures of the screens, compared with those in `__snapshots__`; `pytest --snapshot-update` takes them anew.

The history, the clock's zone, the home folder and the colours are always the same.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import press, settle
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.screens import recipes
from lmwb.tui.screens.recipes import Offer
from make_experiments import add_experiment
from make_history import HistoryMaker, make_every_state


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryMaker]:
    """A run in every state."""
    with make_every_state(Home(tmp_path_factory.mktemp("user") / "lmwb")) as maker:
        yield maker


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryMaker]:
    """Runs with members, finished and at work."""
    with make_every_state(Home(tmp_path_factory.mktemp("user") / "lmwb")) as maker:
        add_experiment(maker, "transfer")
        add_experiment(maker, "sweep", ("lr 0.0001", "lr 0.0003", "lr 0.001"), over=1, going=1)
        add_experiment(maker, over=2, going=1)
        yield maker


@pytest.fixture(autouse=True)
def same_everywhere(states: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever takes the picture, wherever."""
    monkeypatch.setenv("HOME", str(states.home.root.parent))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("lmwb.tui.watcher.LIST_SECONDS", 10**9)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


SCREENS = {
    "home": ((120, 36), ""),
    "home-small": ((80, 24), ""),
    "home-large": ((200, 50), ""),
    "home-tiny": ((40, 12), ""),
    "home-light": ((120, 36), "T"),
    "died": ((120, 36), "end"),
    "tokens-small": ((80, 24), "3 comma right right right"),
    "tokens-zoomed": ((120, 36), "3 z down right"),
    "help": ((120, 36), "question_mark"),
    "palette-small": ((80, 24), "ctrl+p s t o p"),
    "stop": ((80, 24), "x"),
    "details": ((120, 36), "end 5"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, states: HistoryMaker, snap_compare) -> None:  # type: ignore[no-untyped-def]
    size, keys = SCREENS[name]

    async def drive(pilot) -> None:  # type: ignore[no-untyped-def]
        await settle(pilot)
        await press(pilot, *keys.split())

    assert snap_compare(LmwbApp(states.home), terminal_size=size, run_before=drive)


EXPERIMENTS = {
    "list": ((120, 36), ""),
    "list-small": ((80, 24), ""),
    "list-large": ((200, 50), "down v"),
    "marked": ((120, 36), "down m down m v"),
    "compare": ((120, 36), "slash t r a n s enter c"),
    "compare-small": ((80, 24), "slash t r a n s enter c"),
    "compare-large": ((200, 50), "slash t r a n s enter c y"),
    "compare-light": ((120, 36), "T slash t r a n s enter c"),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments(  # type: ignore[no-untyped-def]
    name: str, experiments: HistoryMaker, monkeypatch: pytest.MonkeyPatch, snap_compare
) -> None:
    monkeypatch.setenv("HOME", str(experiments.home.root.parent))
    size, keys = EXPERIMENTS[name]

    async def drive(pilot) -> None:  # type: ignore[no-untyped-def]
        await settle(pilot)
        await press(pilot, *keys.split())

    assert snap_compare(LmwbApp(experiments.home), terminal_size=size, run_before=drive)


def test_recipes(states: HistoryMaker, snap_compare, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    text = 'name = "small"\nseed = 0\n\n[model]\ntype = "gpt2"        # from scratch\n\n[data]\ntrain = "text.txt"\n'
    offers = [
        Offer("quickstart", None, text),
        Offer("mine.toml", Path("mine.toml"), text),
        Offer("[/x]", Path("x"), ""),
    ]
    monkeypatch.setattr(recipes, "find_offers", lambda folder: offers)

    async def drive(pilot) -> None:  # type: ignore[no-untyped-def]
        await settle(pilot)
        await press(pilot, "n", "down", "s", "e", *"train.lr=1e-3", "enter")

    assert snap_compare(LmwbApp(states.home), terminal_size=(80, 24), run_before=drive)
