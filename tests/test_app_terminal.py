"""The app in a real pseudo-terminal: what it leaves behind, and what it never sends."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyte
import pytest
from lmwb.core.home import Home
from make_history import HistoryMaker, Sketch

START = """
import sys
from pathlib import Path
from lmwb.core.home import Home
from lmwb.tui import app
if "fail" in sys.argv:
    def fail(self):
        raise RuntimeError("a bug")
    app.HomeScreen.action_zoom = fail
sys.exit(app.run_app(Home(Path(sys.argv[1]))))
"""

HOSTILE = [
    "[/red]",
    "[@click=app.quit]x[/]",
    "[bold",
    "trailing\\",
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "\x9b31mC1\x90tmux;\x1b\\",
    "‮right to left⁦isolate",
    "line\nfeed\rreturn\ttab\x00nul\x7fdel",
    "❤️ ⚠️ 👍🏽 👨‍👩‍👧 🇩🇪 模型 é",
    "\ud800\udfff"[:1] + "half",
    "\U000e0041tag",
]


PRIVATE = re.compile(rb"\x1b\[[<>=?][^a-zA-Z]*[a-zA-Z$]p?")
"""Sequences that the emulator does not know."""


class Terminal:
    """The app, and all that it has printed."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, home: Home, *words: str, size: tuple[int, int] = (100, 36)):
        self._size = size
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.modes_before = termios.tcgetattr(self._slave)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(home.root), *words],
            stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )  # fmt: skip
        self.started.append(self.process)
        self.output = b""

    def wait_for(self, text: str) -> None:
        """Read until a text has been printed."""
        self._read(lambda: text.encode() in self.output)
        assert text.encode() in self.output

    def wait_for_shown(self, text: str) -> None:
        """Read until a text stands on the screen, whatever pieces it came in."""
        until = time.monotonic() + 60
        while text not in "\n".join(self.screen()) and time.monotonic() < until:
            self.wait_until_quiet()
        assert text in "\n".join(self.screen())

    def screen(self) -> list[str]:
        """What a terminal shows after all that was printed, before the app left."""
        columns, rows = self._size
        emulator = pyte.Screen(columns, rows)
        alternate = self.output.partition(b"\x1b[?1049h")[2].partition(b"\x1b[?1049l")[0]
        pyte.ByteStream(emulator).feed(PRIVATE.sub(b"", alternate))
        return list(emulator.display)

    def wait_until_quiet(self) -> None:
        """Read until nothing has come for a while."""
        while select.select([self.master], [], [], 0.7)[0]:
            self.output += os.read(self.master, 65536)

    def wait_for_end(self) -> int:
        """Read until the process has ended; its exit status."""
        self._read(lambda: self.process.poll() is not None)
        code = self.process.wait(0.1)
        self._read(lambda: not select.select([self.master], [], [], 0)[0])
        return code

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def modes_after(self) -> list[object]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def _read(self, enough) -> None:  # type: ignore[no-untyped-def]
        until = time.monotonic() + 60
        while not enough() and time.monotonic() < until:
            if select.select([self.master], [], [], 0.05)[0]:
                self.output += os.read(self.master, 65536)


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    while Terminal.started:
        Terminal.started.pop().kill()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """The app on one run."""
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("calm", 40, 40))
        running = Terminal(maker.home)
        running.wait_for("calm")
        yield running
        running.close()


def restored(terminal: Terminal) -> None:
    """The terminal is as it was before."""
    for mode, on, off in (
        ("alternate screen", b"\x1b[?1049h", b"\x1b[?1049l"),
        ("mouse", b"\x1b[?1000h", b"\x1b[?1000l"),
        ("mouse movement", b"\x1b[?1003h", b"\x1b[?1003l"),
        ("bracketed paste", b"\x1b[?2004h", b"\x1b[?2004l"),
        ("hidden cursor", b"\x1b[?25l", b"\x1b[?25h"),
    ):
        assert terminal.output.rfind(off) > terminal.output.rfind(on), mode
    assert terminal.modes_after() == terminal.modes_before


@pytest.mark.parametrize("keys", [b"q", b"\x11", b"\x03"], ids=["q", "ctrl+q", "ctrl+c"])
def test_leaving_by_key_restores_the_terminal(terminal: Terminal, keys: bytes) -> None:
    terminal.press(keys)
    assert terminal.wait_for_end() == 0
    restored(terminal)


def test_what_is_typed_fast_after_the_filter_key_arrives_in_the_filter(terminal: Terminal) -> None:
    terminal.press(b"/r x\r")
    terminal.wait_for_shown("/r x")
    terminal.wait_until_quiet()
    terminal.press(b"q")
    assert terminal.wait_for_end() == 0
    assert b"Stop" not in terminal.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_restore_the_terminal(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.wait_for_end() == 128 + number
    restored(terminal)


def test_a_bug_restores_the_terminal(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("calm", 40, 40))
        running = Terminal(maker.home, "fail")
        running.wait_for("calm")
        running.press(b"z")
        assert running.wait_for_end() == 1
        restored(running)
        assert b"a bug" in running.output[running.output.rfind(b"\x1b[?1049l") :]
        running.close()


def test_a_hung_up_line_ends_the_app(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        running = Terminal(maker.home)
        running.wait_for("No runs yet")
        running.process.send_signal(signal.SIGHUP)
        os.close(running.master)
        assert running.process.wait(60) == 128 + signal.SIGHUP
        os.close(running._slave)


def test_a_terminal_that_goes_without_a_word_ends_the_app(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        running = Terminal(maker.home)
        running.wait_for("No runs yet")
        os.close(running._slave)
        os.close(running.master)
        assert running.process.wait(30) == 128 + signal.SIGHUP


OWN = re.compile(
    rb"\x1b\[[0-9;]*m"  # colours
    rb"|\x1b\[[0-9;]*H"  # cursor positions
    rb"|\x1b\[\?[0-9;]+[hl]|\x1b\[\?[0-9;]+\$p"  # modes, and questions about them
    rb"|\x1b\[[<>=]\d*u|\x1b\[\?u"  # keyboard protocol
    rb"|\x1b\[\?\d+;\d+S|\x1b\[c|\x1b\[>[0-9]*[qt]"
    rb"|\x1b\]22;default\x07"  # the mouse pointer's shape
)


def test_hostile_text_neither_breaks_nor_reaches_the_terminal(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        for text in HOSTILE:
            name = text.encode("utf-8", "replace").decode()  # SQLite takes no half surrogates
            maker.add(
                Sketch(
                    name, 16, 16, "failed", message=name, prompts=[name], log=f"{text}\n".replace("\ud800", "\\"),
                    facts={name: name},
                )
            )  # fmt: skip
        running = Terminal(maker.home, size=(120, 50))
        running.wait_for("title")
        for key in (b"7", b"z", b"z", b"5", b"6", b"3", b"o", b"1"):
            running.press(key)
        for _ in HOSTILE:
            running.press(b"\x1b[B")
            running.press(b"3" + b"\x1b[C" * 4 + b"4567" + b"1")
        for keys in (b"/red]", b"\r", b"?", b"q", b"q"):
            running.wait_until_quiet()
            running.press(keys)
        assert running.wait_for_end() == 0
        rest = OWN.sub(b"", running.output).decode()
        running.close()
    foreign = [i for i, c in enumerate(rest) if (ord(c) < 32 or 127 <= ord(c) < 160) and c not in "\r\n"]
    assert [rest[max(0, i - 9) : i + 30] for i in foreign] == []
    assert not set(rest) & set("‮⁦️‍")


def test_what_is_on_the_screen_is_what_the_app_believes(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        for text in HOSTILE[:10]:
            maker.add(Sketch(text, 16, 16, samples=False))
        running = Terminal(maker.home, size=(100, 36))
        running.wait_for_shown("best")
        running.wait_until_quiet()
        screen = running.screen()
        running.close()
    frame = [line for line in screen if line.startswith("│")]
    assert len(frame) > 20
    assert [line for line in frame if line.rstrip()[-1] not in "│╮╯"] == []
