"""What the app costs: CPU to the first picture, bytes over the wire, time from key to picture.

Runs the real app in a pseudo-terminal of 120 × 36 cells and prints figures. On a busy machine trust the CPU
seconds and the bytes, not the milliseconds.

    python tests/bench/bench_app.py
"""

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from lmwb.core.home import Home
from make_history import live_run, make_every_state, make_many

SIZE = (120, 36)
RUNS = 500
CODE = """
import sys
from pathlib import Path
from lmwb.core.home import Home
from lmwb.tui.app import run_app
run_app(Home(Path(sys.argv[1])))
"""


class App:
    """The app in a terminal of its own."""

    def __init__(self, home: Home, size: tuple[int, int] = SIZE, colours: str = "truecolor"):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": colours}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(home.root)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
        )  # fmt: skip
        os.close(slave)

    def read(self, seconds: float) -> bytes:
        """Everything it prints within a time."""
        until, output = time.monotonic() + seconds, b""
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    output += os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    break
        return output

    def read_until(self, text: bytes, seconds: float = 30) -> bytes:
        """Everything it prints until a text appears."""
        until, output = time.monotonic() + seconds, b""
        while text not in output and (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                output += os.read(self.master, 65536)
        assert text in output, f"{text!r} did not appear in {seconds} s"
        return output

    def cpu(self) -> float:
        """CPU seconds so far, its threads included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def press(self, key: bytes) -> None:
        """Send a key."""
        os.write(self.master, key)


@contextmanager
def app(home: Home, **kwargs: object) -> Iterator[App]:
    """The app, ended afterwards."""
    running = App(home, **kwargs)  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.process.terminate()
        running.read(0.5)
        running.process.wait(10)
        os.close(running.master)


def first_paint(home: Home) -> None:
    """CPU seconds until the runs are there, and until the curves are."""
    lists, curves, walls = [], [], []
    for _ in range(5):
        begin = time.monotonic()
        with app(home) as running:
            running.read_until(f"{RUNS} runs".encode())
            walls.append(time.monotonic() - begin)
            lists.append(running.cpu())
            running.read_until(b"best")
            curves.append(running.cpu())
            megabytes = running.memory()
    print(f"first paint, {RUNS} runs: {min(lists):.2f} CPU-s (list), {min(curves):.2f} CPU-s (with curves), ", end="")
    print(f"{min(walls):.2f} s wall, {megabytes:.0f} MB")


def bytes_per_second(home: Home, words: str, seconds: float = 20) -> None:
    """What goes over the wire when nobody touches a key."""
    with app(home) as running:
        running.read(4)
        cpu = running.cpu()
        sent = len(running.read(seconds))
        share = (running.cpu() - cpu) / seconds
        print(f"{words}: {sent / seconds:.0f} bytes/s, {100 * share:.1f} % CPU")


def key_to_paint(home: Home) -> None:
    """From a cursor key to the first byte and to the last one, in the list of runs."""
    with app(home) as running:
        running.read(4)
        waits, amounts = [], []
        for turn in range(40):
            begin = time.monotonic()
            running.press(b"\x1b[B" if turn % 2 == 0 else b"\x1b[A")
            first = b""
            while b"\xe2\x96\x8c" not in first:  # the bar of the selected row
                select.select([running.master], [], [], 5)
                first += os.read(running.master, 65536)
            waits.append(1000 * (time.monotonic() - begin))
            amounts.append(len(first))
            running.read(0.4)
        waits.sort()
        p95 = waits[int(0.95 * len(waits))]
        print(f"key to paint: median {statistics.median(waits):.0f} ms, p95 {p95:.0f} ms, ", end="")
        print(f"{statistics.median(amounts):.0f} bytes to the new row")


def main() -> None:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        many, states, live = (Home(Path(folder) / name) for name in ("many", "states", "live"))
        make_many(many, RUNS)
        first_paint(many)
        with make_every_state(states):
            bytes_per_second(states, "idle, three runs open")
            key_to_paint(states)
        with live_run(live, steps=4000):
            bytes_per_second(live, "live, 8 steps/s", 40)


if __name__ == "__main__":
    main()
