"""Pictures of the lab, compared with those in `__snapshots__`; `pytest --snapshot-update` takes them anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import press, settle
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from toy_models import ToyModels

SPOKEN = "M t o y enter e t h e space c a t enter"
SCREENS = {
    "text-small": ((80, 24), f"{SPOKEN} right right a"),
    "tree-small": ((80, 24), f"{SPOKEN} 2 left left down down"),
    "beside-small": ((80, 24), f"{SPOKEN} m t w o enter s"),
    "form-small": ((80, 24), f"{SPOKEN} S down down down right right"),
    "difference-small": ((80, 24), f"{SPOKEN} m s e c o n d enter 1 d right right"),
    "lab": ((120, 36), f"{SPOKEN} 2 left left down down down"),
    "beside": ((120, 36), f"{SPOKEN} m t w o enter right b"),
    "difference": ((120, 36), f"{SPOKEN} m s e c o n d enter 1 d right right"),
    "form": ((120, 36), f"{SPOKEN} S down"),
    "large": ((200, 50), f"{SPOKEN} right right a a enter s right"),
    "trouble": ((120, 36), "M n o space o n e enter"),
}


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever takes the picture, wherever."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return


@pytest.mark.parametrize("name", SCREENS)
def test_lab(name: str, tmp_path: Path, snap_compare) -> None:  # type: ignore[no-untyped-def]
    size, keys = SCREENS[name]
    app = LmwbApp(Home(tmp_path))
    app._models = ToyModels()

    async def drive(pilot) -> None:  # type: ignore[no-untyped-def]
        await settle(pilot)
        await press(pilot, "l", *keys.split())

    assert snap_compare(app, terminal_size=size, run_before=drive)
