"""Driving the app in tests: wait until it has shown what it was asked, read what is on its screen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.screens.confirm import Confirm
from lmwb.tui.screens.home import HomeScreen
from textual.pilot import Pilot


@asynccontextmanager
async def running_app(home: Home, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[None]]:
    """The app on a home, with everything shown."""
    async with LmwbApp(home).run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        yield pilot


async def settle(pilot: Pilot[None]) -> None:
    """Wait until every question to the history is answered and every message is handled."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    async with asyncio.timeout(60):
        while True:
            await pilot.pause()
            asking = isinstance(app.screen, Confirm)
            if app.settled and (asking or not any(w.is_running for w in app.workers if w.name in BRIEF)):
                await pilot.pause()
                if app.settled:
                    return
            await asyncio.sleep(0.005)


BRIEF = ("find recipes", "start a run", "resume", "stop", "compare", "write pictures", "load a model", "speak",
         "ask where from", "read an answer", "show a step")  # fmt: skip
"""Workers that end by themselves, unless they wait for an answer."""


async def painted(pilot: Pilot[None]) -> None:
    """Wait until all that has changed is on the screen: painting waits for the screen's next beat."""
    await settle(pilot)
    screen = pilot.app.screen
    async with asyncio.timeout(60):
        while screen._dirty_widgets or screen._repaint_required or screen._compositor._dirty_regions:
            await asyncio.sleep(0.005)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, one after the other, each with its consequences."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def look_again(pilot: Pilot[None]) -> None:
    """Let the app see what is new in the history, now."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    app.ask(home_screen(pilot).request, at_once=True)
    await settle(pilot)


def home_screen(pilot: Pilot[None]) -> HomeScreen:
    """The screen at the bottom of the stack."""
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, HomeScreen)
    return screen


def shown(pilot: Pilot[None]) -> str:
    """The text on the screen."""
    width, height = pilot.app.size
    lines = pilot.app.screen._compositor.render_strips(pilot.app.size)
    assert len(lines) == height
    assert all(line.cell_length == width for line in lines)
    return "\n".join(line.text.rstrip() for line in lines)
