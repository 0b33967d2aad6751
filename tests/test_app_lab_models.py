"""Several models, or several numbers of beams, beside each other in the lab."""

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from driving import press, shown
from driving_lab import SIZES, asked, enter, screen, shared_app, speaking
from textual.pilot import Pilot
from toy_models import ToyModels

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pilot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """One app without runs; every test that needs no other opens a lab of its own in it."""
    async with shared_app(tmp_path_factory.mktemp("empty")) as pilot:
        yield pilot


async def test_numbers_of_beams_are_compared_in_one_chart(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models, (200, 50)):
        await press(pilot, "b")
        assert [settings["beams"] for *_, settings in asked(models)] == [5, 1, 2, 10]
        (legend,) = (line for line in shown(pilot).splitlines() if "p, beams" in line)
        assert all(f" {size} 0." in legend for size in (1, 2, 5, 10))
        await press(pilot, "b")
        assert len(asked(models)) == 4  # all are known


@pytest.mark.parametrize("size", SIZES)
async def test_two_models_differ_about_the_same_tokens_in_colours_of_their_own(
    pilot: Pilot[None], size: tuple[int, int]
) -> None:
    models = ToyModels()
    async with speaking(pilot, models, size) as lab:
        await enter(pilot, "m", "toy two")
        ids = [*map(int, lab._session.branch.said[0].traces[1].ids)]
        await press(pilot, "1", "full_stop", "d")
        assert [question[1:3] for question in asked(models, "score")] == [("toy", (*ids,)), ("toy two", ids)]
        said = lab._session.branch.said
        change = float(said[1].traces[0].logprob[3] - said[0].traces[0].logprob[3]) / math.log(2)
        assert "change −4" in shown(pilot)
        assert "surprisal 16+" in shown(pilot)
        assert "text 2 of 5, scored" in shown(pilot)
        await press(pilot, "right", "right")
        assert f"{change:+.2f}"[1:] + " bit  first model p " in shown(pilot)
        assert [pane._view.cluster.first for pane in lab._said] == [3, 3]  # type: ignore[union-attr]
        assert "$ lmwb score --compare 'toy two' toy" in shown(pilot)
        await press(pilot, "o")
        assert "change −4" not in shown(pilot)
        await press(pilot, "backspace")
        assert shown(pilot).count("1 of 5") == 2


async def test_models_of_different_tokens_are_not_compared(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels()):
        await press(pilot, "d")
        assert "There is no second model; m names one." in shown(pilot)
        await enter(pilot, "m", "other")
        await press(pilot, "d")
        assert "The two models have different vocabularies" in shown(pilot)
        assert "change −4" not in shown(pilot)


async def test_a_second_model_beside_a_scored_text_is_asked_about_that_text(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "t")
        await enter(pilot, "m", "toy two")
        assert asked(models)[-1][1] == "toy"  # the second one did not speak
        assert "change −4" in shown(pilot)
        await press(pilot, "t")
        assert shown(pilot).count("surprisal 16+") == 2


@pytest.mark.parametrize("size", SIZES)
async def test_two_models_stand_beside_each_other(pilot: Pilot[None], size: tuple[int, int]) -> None:
    models = ToyModels()
    async with speaking(pilot, models, size):
        await enter(pilot, "m", "toy two")
        assert shown(pilot).count("1 of 5") == 2
        assert asked(models)[-1][1] == "toy two"
        assert "--compare 'toy two'" in shown(pilot)
        await press(pilot, "4")
        assert screen(pilot).focused_pane.title == "Beside"
        await enter(pilot, "m", "")
        assert shown(pilot).count("1 of 5") == 1


async def test_a_model_with_other_tokens_goes_on_from_the_text(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await enter(pilot, "m", "other")
        await press(pilot, "right", "enter")
        first, second = asked(models)[-2:]
        assert isinstance(first[2], tuple)
        assert isinstance(second[2], str)
        assert second[2].startswith("the cat")
