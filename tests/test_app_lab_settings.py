"""The form of all settings of the lab."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from driving import press, settle, shown
from driving_lab import SIZES, asked, enter, screen, shared_app, speaking
from lmwb.tui.lab_settings import Settings
from lmwb.tui.widgets.entry import Entry
from lmwb.tui.widgets.lab_lines import SettingsChanged
from textual.pilot import Pilot
from toy_models import ToyModels

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pilot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """One app without runs; every test that needs no other opens a lab of its own in it."""
    async with shared_app(tmp_path_factory.mktemp("empty")) as pilot:
        yield pilot


@pytest.mark.parametrize("size", SIZES)
async def test_every_setting_stands_in_a_form_with_its_explanation(pilot: Pilot[None], size: tuple[int, int]) -> None:
    async with speaking(pilot, ToyModels(), size):
        await press(pilot, "S")
        text = shown(pilot)
        assert all(f"│ {each.name} " in text for each in Settings().choices())
        assert "Keep the best beams" in text
        await press(pilot, "down", "down", "down", "down", "right")
        assert "above 0" in shown(pilot)
        assert "length_penalty 0.2" in shown(pilot)  # the row, too
        assert "--length-penalty 0.2" in shown(pilot)
        await press(pilot, "S")
        assert screen(pilot).focused_pane.title == "Text"


async def test_a_setting_is_typed_in_and_a_wrong_one_is_a_sentence(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "S", *["down"] * 6)
        await enter(pilot, "enter", "0")
        assert "'n' must be at least 1, not 0" in shown(pilot)
        screen(pilot).query_one(Entry).value = "4"
        await press(pilot, "enter")
        assert screen(pilot).focused_pane.title == "All settings"
        await press(pilot, *["down"] * 4)
        await enter(pilot, "enter", "temperature=0.7, min-p=0.1")
        await press(pilot, "r")
        *_, settings = asked(models)[-1]
        assert settings["processors"] == [
            {"kind": "ngrams", "n": 4},
            {"kind": "temperature", "value": 0.7},
            {"kind": "min-p", "p": 0.1},
        ]
        assert "processors temperature=0.7, min-p=0.1" in shown(pilot)
        await enter(pilot, "enter", "")
        assert "--block 4-grams" in shown(pilot)


async def test_what_is_set_beyond_the_row_is_told_there_however_narrow(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels(), (80, 24)) as lab:
        lab.post_message(SettingsChanged(Settings("sample", temperature=0.75, top_k=1000, min_p=0.1, alternatives=4)))
        await settle(pilot)
        assert "+2 S" in shown(pilot)
