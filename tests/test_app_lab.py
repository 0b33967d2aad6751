"""The lab, driven by keys, with a toy language behind it."""

import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from driving import home_screen, press, settle, shown
from driving_lab import SIZES, asked, enter, from_runs, opened, resize, screen, shared_app, speaking, texts, turns
from lmwb.core.decoding.client import ServiceDied
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.lab import Branch
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.widgets.entry import Entry
from made_generations import HOSTILE
from make_history import HistoryMaker, Sketch
from textual.pilot import Pilot
from toy_models import ToyModels

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pilot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """One app without runs; every test that needs no other opens a lab of its own in it."""
    async with shared_app(tmp_path_factory.mktemp("empty")) as pilot:
        yield pilot


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """Another app, with a finished run and one that is at work."""
    with HistoryMaker(Home(tmp_path_factory.mktemp("runs"))) as maker:
        maker.add(Sketch("done", 80, 80))
        maker.add(Sketch("live", 80, 40, None, alive=True))
        async with shared_app(maker.home.root) as pilot:
            yield pilot


# -- the way in ---------------------------------------------------------------------------------------


async def test_a_sample_is_shown_as_it_was_recorded_before_any_model_is_loaded(runs: Pilot[None]) -> None:
    pilot, models = runs, ToyModels()
    models.loading.clear()
    async with from_runs(pilot, models):
        assert "loading …" in shown(pilot)
        assert "recorded at step 40" in shown(pilot)
        assert "The with statement" in shown(pilot)
        await pilot.press("enter")
        await turns(pilot)
        assert "The model is still being loaded." in shown(pilot)
        models.loading.set()
        await settle(pilot)
        assert "loading …" not in shown(pilot)


async def test_a_running_trainings_sample_is_opened_at_its_step(runs: Pilot[None]) -> None:
    pilot, models = runs, ToyModels()
    async with from_runs(pilot, models, "comma"):
        await settle(pilot)
        assert "recorded at step 30" in shown(pilot)
        assert asked(models, "load")[0][1].endswith("/train@30")


async def test_without_a_checkpoint_of_its_step_a_sample_is_opened_with_the_newest(tmp_path: Path) -> None:
    models = ToyModels()
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("live", 80, 40, None, alive=True))
        maker.connection.execute("DELETE FROM checkpoint WHERE step = 30")
        app = LmwbApp(maker.home)
        app._models = models
        async with app.run_test(size=(120, 36), notifications=True) as pilot:
            await settle(pilot)
            await press(pilot, "comma", "l")
            assert "There is no checkpoint of step 30" in shown(pilot)
            assert asked(models, "load")[0][1].endswith("/train@40")


async def test_a_recorded_sample_goes_on_with_exactly_its_tokens(runs: Pilot[None]) -> None:
    pilot, models = runs, ToyModels()
    async with from_runs(pilot, models):
        await settle(pilot)
        await press(pilot, "right", "right", "enter")
        trace = home_screen(pilot).app.seen.detail.trace  # type: ignore[union-attr]
        assert trace is not None
        (question,) = asked(models)
        assert [*question[2]] == [*map(int, trace.ids[: trace.prompt_length + 3])]


async def test_a_recorded_sample_is_said_anew_from_exactly_what_was_given(runs: Pilot[None]) -> None:
    pilot, models = runs, ToyModels()
    async with from_runs(pilot, models):
        await settle(pilot)
        await press(pilot, "r")
        trace = home_screen(pilot).app.seen.detail.trace  # type: ignore[union-attr]
        assert trace is not None
        (question,) = asked(models)
        assert [*question[2]] == [*map(int, trace.ids[: trace.prompt_length])]
        assert "prompt The with statement" in shown(pilot)


async def test_without_any_model_the_lab_says_how_to_name_one(pilot: Pilot[None]) -> None:
    async with opened(pilot, ToyModels()):
        assert "No model yet: M names one." in shown(pilot)
        await press(pilot, "enter", "b", "a", "o", "comma", "2", "right", "down", "3", "left", "4", "x", "backspace")


async def test_a_model_that_does_not_exist_is_told_where_its_words_would_be(pilot: Pilot[None]) -> None:
    async with opened(pilot, ToyModels()):
        await enter(pilot, "M", "nobody")
        assert "there is no run 'nobody'" in shown(pilot)


# -- speaking -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_text_inspector_tree_and_steps_are_there_at_every_size(pilot: Pilot[None], size: tuple[int, int]) -> None:
    async with speaking(pilot, ToyModels(), size):
        assert "1 of 5" in shown(pilot)
        assert texts(pilot)[0].split("\n")[0][:20] in shown(pilot)
        assert "rank 1" in shown(pilot)
        await press(pilot, "2")
        assert "step 8 of 8, candidate 1 of 10: kept" in shown(pilot)
        await press(pilot, "3")
        assert "beams 5" in shown(pilot)
        assert "$ lmwb generate --tokens 8 toy 'the cat'" in shown(pilot)


async def test_settings_are_changed_with_arrow_keys_and_used(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "s", "right", "down", "down", "right", "down", *["right"] * 3, *["up"] * 3)
        assert "settings changed: r speaks" in shown(pilot)
        assert "$ lmwb generate --beams 3 --tokens 4 --block trigrams toy 'the cat'" in shown(pilot)
        await press(pilot, "enter")
        assert "settings changed" not in shown(pilot)
        *_, settings = asked(models)[-1]
        assert settings["beams"] == 3
        assert settings["tokens"] == 4
        assert settings["processors"] == [{"kind": "ngrams", "n": 3}]
        assert "1 of 3" in shown(pilot)


async def test_the_best_texts_take_turns_and_the_tree_follows(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels()):
        await press(pilot, "full_stop")
        assert "2 of 5" in shown(pilot)
        assert "candidate 2 of 10" in shown(pilot)
        await press(pilot, "comma", "comma")
        assert "5 of 5" in shown(pilot)


async def test_steps_are_counted_while_it_speaks_and_it_can_be_stopped(pilot: Pilot[None]) -> None:
    models = ToyModels()
    models.gate.clear()
    async with opened(pilot, models):
        await enter(pilot, "M", "toy")
        await press(pilot, "e", *"the")
        await pilot.press("enter")
        await turns(pilot)
        assert "step 1 of 32" in shown(pilot)
        await press(pilot, "x")
        assert models.cancelled == 1
        assert "step 1" not in shown(pilot)


async def test_a_new_question_takes_the_place_of_the_one_under_way(pilot: Pilot[None]) -> None:
    models = ToyModels()
    models.gate.clear()
    async with opened(pilot, models):
        await enter(pilot, "M", "toy")
        await press(pilot, "e", *"the")
        await pilot.press("enter")
        await turns(pilot)
        await pilot.press("r")
        await turns(pilot)
        models.gate.set()
        await settle(pilot)
        assert models.cancelled == 1
        assert len(asked(models)) == 2
        assert "1 of 5" in shown(pilot)


async def test_the_death_of_the_service_is_a_sentence_and_the_next_question_works(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        models.troubles.append(ServiceDied("The model service is gone: it was killed by SIGKILL (out of memory?)."))
        await press(pilot, "r")
        assert "The model service is gone: it was killed by SIGKILL" in shown(pilot)
        await press(pilot, "r")
        assert "is gone" not in shown(pilot)
        assert "1 of 5" in shown(pilot)


async def test_the_prompt_is_edited_and_line_breaks_have_a_sign(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "e")
        screen(pilot).query_one(Entry).insert_text_at_cursor("\nx")
        await press(pilot, "enter")
        assert asked(models)[-1][2] == "the cat\nx"
        assert "prompt the cat␊x" in shown(pilot)
        await press(pilot, "e", "escape")
        assert len(asked(models)) == 2


async def test_a_given_text_is_coloured_by_what_the_model_thinks_of_it(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "t")
        assert asked(models, "score") == [("score", "toy", "the cat", None)]
        assert "2 tokens" in shown(pilot)
        assert "surprisal 16+" in shown(pilot)
        assert "$ lmwb score toy 'the cat'" in shown(pilot)
        assert texts(pilot) == ["the cat"]
        await press(pilot, "2")
        assert "No tree: this text was given" in shown(pilot)


# -- the screen ---------------------------------------------------------------------------------------


async def test_escape_goes_back_one_step_at_a_time(pilot: Pilot[None]) -> None:
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "2", "z")
        assert "Steps" not in shown(pilot)
        await press(pilot, "escape")
        assert "Steps" in shown(pilot)
        await press(pilot, "s", "escape")
        assert screen(pilot).focused_pane.title == "Text"
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, HomeScreen)
        assert not models.closed  # models stay for a while


async def test_models_rest_some_time_after_the_lab_was_left(
    pilot: Pilot[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmwb.tui.app._REST_SECONDS", 0.01)
    models = ToyModels()
    async with speaking(pilot, models):
        await press(pilot, "q")
        await pilot.pause(0.1)
        assert models.closed


async def test_tab_walks_over_settings_and_panes(pilot: Pilot[None]) -> None:
    async with speaking(pilot, ToyModels()):
        titles = []
        for _ in range(5):
            titles.append(screen(pilot).focused_pane.title)
            await press(pilot, "tab")
        assert titles == ["Text", "Tree", "Steps", "Settings", "Text"]


@pytest.mark.parametrize(
    "size", [(20, 6), *(pytest.param(size, marks=pytest.mark.slow) for size in ((60, 13), (1, 1)))]
)
async def test_any_size_is_survived(pilot: Pilot[None], size: tuple[int, int]) -> None:
    async with speaking(pilot, ToyModels(), size):
        await press(pilot, "2", "left", "down", "3", "b", "right")
        await enter(pilot, "m", "two")
        await press(pilot, "4", "z", "s", "up", "S", "down", "left", "d", "1", "o", "y", "c")
        await resize(pilot, (120, 36))
        await settle(pilot)
        assert "surprisal" in shown(pilot)


async def test_hostile_tokens_prompts_and_names_do_no_harm(pilot: Pilot[None]) -> None:
    models = ToyModels(tuple(HOSTILE))
    async with opened(pilot, models):
        lab = screen(pilot)
        lab._session.name_model(0, "mo\x1b[2Jdel[/]")
        lab._session.branches[-1] = Branch("a \x1b[31m[/] \udcff", way="[@click=app.quit]\x07")
        lab._load(0)
        await press(pilot, "r", "a", "right", "right", "2", *["left", "down"] * 4, "b", "1", "a", "c")
        harmful = [character for character in shown(pilot) if unicodedata.category(character) in ("Cc", "Cf", "Cs")]
        assert set(harmful) <= {"\n"}
        assert "[@click=app.quit]" in shown(pilot)


async def test_without_colours_the_tree_still_tells_what_was_dropped(
    pilot: Pilot[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with speaking(pilot, ToyModels()):
        lines = shown(pilot).splitlines()
        assert sum("×" in line for line in lines) >= 5
