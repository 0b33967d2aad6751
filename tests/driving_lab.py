"""Driving the lab in tests, with a toy language behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from driving import press, settle
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.lab import Branch, Opening
from lmwb.tui.lab_settings import Settings
from lmwb.tui.screens.lab import LabScreen
from lmwb.tui.widgets.entry import Entry
from lmwb.tui.widgets.lab_lines import SettingsChanged
from textual.pilot import Pilot
from toy_models import ToyModels

SIZES = [(80, 24), *(pytest.param(size, marks=pytest.mark.slow) for size in ((120, 36), (200, 50)))]
STEPS = 8
"""Tokens that models say here."""


@asynccontextmanager
async def shared_app(home: Path) -> AsyncIterator[Pilot[None]]:
    """An app for many tests; each opens a lab of its own in it.

    Textual's pilot waits after each key until the processor rests; `settle` knows when everything is done.
    """

    async def go_on(*_: object) -> None:
        await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.app.wait_for_idle", go_on)
        patch.setattr("textual.pilot.wait_for_idle", go_on)
        async with LmwbApp(Home(home)).run_test(size=(120, 36), notifications=True) as pilot:
            await settle(pilot)
            yield pilot


@asynccontextmanager
async def opened(
    pilot: Pilot[None], models: ToyModels, size: tuple[int, int] = (120, 36), opening: Opening | None = None
) -> AsyncIterator[LabScreen]:
    """A new lab in the shared app, in the place of the one before."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    app._models = models
    app.clear_notifications()
    await resize(pilot, size)
    while len(app.screen_stack) > 2:
        app.pop_screen()
    lab = LabScreen(opening or Opening())
    (app.switch_screen if isinstance(app.screen, LabScreen) else app.push_screen)(lab)
    await settle(pilot)
    yield lab


@asynccontextmanager
async def from_runs(pilot: Pilot[None], models: ToyModels, *keys: str) -> AsyncIterator[None]:
    """The lab after these keys on the home screen and `l`; then the home screen as it was."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    app._models = models
    await press(pilot, *keys)
    await pilot.press("l")
    await turns(pilot)
    yield
    await press(pilot, "escape", "backspace")


@asynccontextmanager
async def speaking(
    pilot: Pilot[None], models: ToyModels, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[LabScreen]:
    """The lab after a model has said something."""
    async with opened(pilot, models, size, Opening("toy", Branch("the cat"))) as lab:
        lab.post_message(SettingsChanged(Settings(tokens=STEPS)))
        await press(pilot, "enter")
        yield lab


async def resize(pilot: Pilot[None], size: tuple[int, int]) -> None:
    """Another terminal; Textual waits a moment for yet another."""
    if pilot.app.size != size:
        await pilot.resize_terminal(*size)
        while pilot.app.screen._compositor.size != size:
            await asyncio.sleep(0.001)


async def turns(pilot: Pilot[None]) -> None:
    """Let messages be handled while a question stays open."""
    for _ in range(5):
        await pilot.pause()


async def enter(pilot: Pilot[None], key: str, text: str) -> None:
    """Press a key that opens a line, put a text in the place of what stands there, and send it."""
    await press(pilot, key)
    pilot.app.screen.query_one(Entry).value = text
    await press(pilot, "enter")


def screen(pilot: Pilot[None]) -> LabScreen:
    assert isinstance(pilot.app.screen, LabScreen)
    return pilot.app.screen


def asked(models: ToyModels, what: str = "generate") -> list:
    return [question for question in models.questions if question[0] == what]


def texts(pilot: Pilot[None]) -> list[str]:
    """What the first model said last, best first."""
    return [trace.text() for trace in screen(pilot)._session.branch.said[0].traces]
