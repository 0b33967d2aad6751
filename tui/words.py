"""Numbers, times and states in few characters, the same everywhere on the screen."""

import math
import signal
import time

from ..core.history.queries import Run
from ..core.text import duration as duration


def number(value: float | None, digits: int = 3) -> str:
    """A measurement with so many significant digits: ``2.31``, ``0.0842``, ``3.1e-05``, ``12.4k``; ``–`` for none."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        return f"{value:.{digits - 2}e}".replace("e-0", "e-").replace("e+0", "e+")
    if size >= 1e4:
        return f"{value / 1e3:.1f}k"
    if size >= 10**digits - 0.5:
        return f"{value:.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def count(value: int) -> str:
    """A whole number with thin groups: ``12 400``."""
    return f"{value:,}".replace(",", " ")


def size(n_bytes: float) -> str:
    """Bytes as people read them: ``41 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if n_bytes >= 10 or unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def moment(t_us: int | None) -> str:
    """A date and time of day, local: ``2025-01-31 12:03:11``."""
    return "–" if t_us is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(t_us / 1e6))


def time_of_day(t_us: int) -> str:
    """``12:03:11``, local."""
    return time.strftime("%H:%M:%S", time.localtime(t_us / 1e6))


def speed(steps_per_second: float) -> str:
    """``8.1 steps/s``, or ``3.2 s/step`` below one."""
    if steps_per_second >= 1:
        return f"{number(steps_per_second, 2)} steps/s"
    return f"{number(1 / steps_per_second, 2)} s/step"


def cause(run: Run) -> str:
    """Why a run ended badly, in words; foreign text, not made printable."""
    if run.message:
        return run.message
    if run.signal:
        return f"killed by {_signal_name(run.signal)}"
    if run.attempt_id is None:
        return "it was never started"
    if run.state == "died":
        return "its process is gone without a word"
    return f"exit code {run.exit_code}" if run.exit_code is not None else ""


_SHORT = {"accuracy": "acc", "perplexity": "ppl", "matthews": "mcc", "spearman": "rho", "pearson": "r"}


def short_metric(name: str) -> str:
    """A metric's name in three letters or so, where there is a common one."""
    return _SHORT.get(name, name)


def spread_of(value: float, deviation: float | None) -> str:
    """A standard deviation with as many decimals as its mean is written with: ``±.012``, ``±0.3``; empty for none."""
    if deviation is None:
        return ""
    text = number(value)
    decimals = len(text.partition(".")[2]) if text.replace(".", "").lstrip("-").isdigit() else -1
    if decimals < 0 or not math.isfinite(deviation):
        return f"±{number(deviation, 2)}"
    rounded = f"{deviation:.{decimals}f}"
    return "±" + (rounded.lstrip("0") if decimals > 1 and rounded.startswith("0.") else rounded)


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"signal {code}"
