"""Walking through the tree of a search in the lab, and going on from its branches."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from driving import press, shown
from driving_lab import asked, screen, shared_app, speaking, texts
from textual.pilot import Pilot
from toy_models import ToyModels

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pilot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """One app without runs; every test that needs no other opens a lab of its own in it."""
    async with shared_app(tmp_path_factory.mktemp("empty")) as pilot:
        yield pilot


async def test_one_goes_on_from_a_dropped_candidate_and_comes_back(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        before = texts(pilot)
        generation = screen(pilot)._session.branch.said[0].generation
        assert generation is not None
        await press(pilot, "2")
        await pilot.press(*["left"] * 5, *["down"] * 9)
        assert "step 3 of 8, candidate 10 of 10: dropped" in shown(pilot)
        await press(pilot, "enter")
        given = asked(models)[-1][2]
        first = generation.hypotheses[0].trace.prompt_length
        assert len(given) == first + 3
        assert given[-1] == generation.steps[2].ids[9]
        assert "branch 2, “" in shown(pilot)
        assert texts(pilot) != before
        await press(pilot, "backspace")
        assert texts(pilot) == before
        assert "branch" not in shown(pilot).splitlines()[1]
        await press(pilot, "backspace")
        assert "This is the first branch." in shown(pilot)


async def test_one_goes_on_with_an_alternative(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        trace = screen(pilot)._session.branch.said[0].traces[0]
        at = trace.prompt_length + 1
        others = [int(i) for i in trace.alternative_ids[at] if i != trace.ids[at]]
        await press(pilot, "right", "a", "a")
        assert f"enter goes on with “{trace.piece(others[1]).replace(' ', '␠')}”" in shown(pilot)
        await press(pilot, "enter")
        assert [*asked(models)[-1][2]] == [*map(int, trace.ids[:at]), others[1]]
        assert "instead of" in shown(pilot)


async def test_choosing_comes_round_to_none(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels()):
        await press(pilot, "A")
        assert "enter goes on with" in shown(pilot)
        await press(pilot, "a")
        assert "enter goes on with" not in shown(pilot)


async def test_walking_through_the_tree_follows_parents_and_children(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels()):
        await press(pilot, "2", "left", "left")
        assert "step 6 of 8" in shown(pilot)
        await press(pilot, "right")
        assert "step 7 of 8" in shown(pilot)
        await press(pilot, "end", "right")
        assert "step 7 of 8, candidate 10 of 10: dropped" in shown(pilot)  # nothing follows it
