"""The app: `lmwb` without arguments.

It reads the history and starts, stops and resumes runs; it trains nothing itself and may end at any moment.
One thread reads; the screen is painted from what it found.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")  # read when textual is imported

from textual import work
from textual.app import App
from textual.events import Key
from textual.timer import Timer

from ..core.errors import LmwbError
from ..core.history.queries import History, Run
from ..core.home import Home
from ..core.text import printable
from .actions import Action, bindings_of
from .screens.home import HomeScreen
from .theme import DARK, LIGHT, THEMES, Palette
from .watcher import POLL_SECONDS, Request, Seen, Watcher

if TYPE_CHECKING:
    from .lab_session import Models

_LAST_RESORT_SECONDS = 2.0
"""How long an orderly end may take after a signal."""

_REST_SECONDS = 120.0
"""How long models stay in memory after the lab was left."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def run_app(home: Home) -> int:
    """Show the app until the user leaves; returns the exit status.

    Raises:
        MachineError: the history cannot be opened.
    """
    History(home).close()
    app = LmwbApp(home)
    app.run()
    return app.return_code or 0


class LmwbApp(App[None], inherit_bindings=False):
    """Watches one home.

    Attributes:
        home: whose runs are shown.
        seen: the latest look at the history.
    """

    TITLE = "lmwb"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings_of("app")
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, home: Home):
        super().__init__()
        self.home = home
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self.seen = Seen()
        self._on_terminal = False
        self._request = Request()
        self._asked = asyncio.Event()
        self._at_once = False
        self._questions, self._answered = 0, -1
        self._watcher = Watcher(home)
        self._models: Models | None = None
        self._rest: Timer | None = None

    @property
    def models(self) -> "Models":
        """The model service, for the lab; its process begins with the first question."""
        if self._models is None:
            from ..core.decoding.client import ModelService

            self._models = ModelService(self.home, on_death=lambda sentence: self.say(sentence, error=True))
        return self._models

    def keep_models(self) -> None:
        """The lab is open."""
        if self._rest is not None:
            self._rest.stop()

    def let_models_rest(self) -> None:
        """The lab was left: the memory is given back unless somebody returns soon."""
        self._rest = self.set_timer(_REST_SECONDS, self.models.close)

    async def on_unmount(self) -> None:
        """Take the models along."""
        if self._models is not None:
            await self._models.close()

    @property
    def palette(self) -> Palette:
        """The styles of the present theme."""
        return DARK if self.current_theme.dark else LIGHT

    @property
    def settled(self) -> bool:
        """Everything that was asked of the history has been answered and shown."""
        return self._answered == self._questions

    def get_default_screen(self) -> HomeScreen:
        """The screen to begin with."""
        return HomeScreen()

    def on_mount(self) -> None:
        """Start to watch."""
        self._on_terminal = os.isatty(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        self.run_worker(self._watch(), name="watch")

    def on_key(self, event: Key) -> None:
        """A character that nobody took: it was on its way to a pane while a line to type in was opened."""
        from .widgets.entry import Entry

        entry = self.focused
        if isinstance(entry, Entry) and event.is_printable and event.character:
            entry.insert_text_at_cursor(event.character)

    def ask(self, request: Request, at_once: bool = False) -> None:
        """Want something of the history; the answer is shown when it is there. The latest question counts."""
        self._request = request
        self._at_once |= at_once
        self._questions += 1
        self._asked.set()

    def look_again(self) -> None:
        """Ask the history at once what is new."""
        self.ask(self._request, at_once=True)

    @work(name="show a step")
    async def show_step(self, run: Run, stage: str, step: int) -> None:
        """Leave all screens but the runs, and go to a step in the curves of one. Beside the screens, which wait for
        their own work before they go."""
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        home = self.screen
        assert isinstance(home, HomeScreen)
        home.look_at(run, stage, step)

    async def in_thread(self, deed: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something slow beside the screen."""
        return await asyncio.to_thread(deed, *args, **kwargs)

    def say(self, sentence: str, error: bool = False) -> None:
        """Tell the user something in a corner of the screen; foreign text is welcome."""
        self.notify(
            printable(sentence, keep_newlines=True), severity="error" if error else "information",
            timeout=15 if error else 5, markup=False,
        )  # fmt: skip

    def turn_light(self) -> None:
        """From dark to light and back."""
        self.theme = THEMES[1].name if self.current_theme.dark else THEMES[0].name

    def open_commands(self, search: bool) -> None:
        """Show all that can be done here; do what is chosen."""
        from .screens.commands import CommandsScreen

        async def carry_out(action: Action | None) -> None:
            if action is None:
                return
            place = self if "app" in action.scopes else self.screen
            if hasattr(place, f"action_{action.name}"):
                await place.run_action(action.name)
            else:
                self.say(f"“{action.words}” works on another screen.")

        if not isinstance(self.screen, CommandsScreen):
            self.push_screen(CommandsScreen(search), carry_out)

    def action_palette(self) -> None:
        """Find a command by typing."""
        self.open_commands(search=True)

    def action_leave(self) -> None:
        """Leave, from anywhere."""
        self.exit()

    # -- inside -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the history whenever asked, and every half second, until the screen goes away."""
        loop = asyncio.get_running_loop()
        home = self.screen_stack[0]
        assert isinstance(home, HomeScreen)
        reader = ThreadPoolExecutor(1, "history")
        try:
            while not self._terminal_is_gone():
                questions, at_once = self._questions, self._at_once
                self._at_once = False
                self._asked.clear()
                try:
                    seen = await loop.run_in_executor(reader, self._watcher.look, self._request, at_once)
                    trouble = ""
                except (LmwbError, sqlite3.Error, OSError) as error:
                    seen, trouble = self.seen, str(error)
                if not home.is_running:
                    return  # the user left while the thread was reading
                self._show(home, seen, trouble)
                self._answered = questions
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), POLL_SECONDS)
        finally:
            reader.submit(self._watcher.close)
            reader.shutdown(wait=False)

    def _show(self, home: HomeScreen, seen: Seen, trouble: str) -> None:
        home.title_bar.warn(trouble)
        if seen is not self.seen:
            self.seen = seen
            home.show(seen)

    def _terminal_is_gone(self) -> bool:
        """The terminal hung up and no signal said so; without one there is nobody to work for."""
        if not self._on_terminal or os.isatty(0):
            return False
        self._signalled(signal.SIGHUP)
        return True

    def _signalled(self, number: int) -> None:
        """End in order, so that the terminal is as it was; a terminal that is gone must not hold us up."""
        status = 128 + number
        last_resort = threading.Timer(_LAST_RESORT_SECONDS, os._exit, [status])
        last_resort.daemon = True
        last_resort.start()
        self.exit(return_code=status)
