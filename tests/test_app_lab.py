"""The lab, driven by keys, with a toy language behind it."""

import asyncio
import math
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from driving import home_screen, press, settle, shown
from lmwb.core.decoding.client import ServiceDied
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.lab import Branch, Opening
from lmwb.tui.lab_settings import Settings
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.screens.lab import LabScreen
from lmwb.tui.widgets.entry import Entry
from lmwb.tui.widgets.lab_lines import SettingsChanged
from made_generations import HOSTILE
from make_history import HistoryMaker, Sketch
from textual.pilot import Pilot
from toy_models import ToyModels

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIZES = [(80, 24), *(pytest.param(size, marks=pytest.mark.slow) for size in ((120, 36), (200, 50)))]
STEPS = 8
"""Tokens that models say here."""


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Textual's pilot waits after each key until the processor rests; `settle` knows when everything is done."""

    async def go_on(*_: object) -> None:
        await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.app.wait_for_idle", go_on)
        patch.setattr("textual.pilot.wait_for_idle", go_on)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pilot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """One app without runs; every test that needs no other opens a lab of its own in it."""
    app = LmwbApp(Home(tmp_path_factory.mktemp("empty")))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        yield pilot


@asynccontextmanager
async def opened(
    pilot: Pilot[None], models: ToyModels, size: tuple[int, int] = (120, 36), opening: Opening | None = None
) -> AsyncIterator[LabScreen]:
    """A new lab in the shared app, in the place of the one before."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    app._models = models
    app.clear_notifications()
    await resize(pilot, size)
    while len(app.screen_stack) > 2:
        app.pop_screen()
    lab = LabScreen(opening or Opening())
    (app.switch_screen if isinstance(app.screen, LabScreen) else app.push_screen)(lab)
    await settle(pilot)
    yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pilot[None]]:
    """Another app, with a finished run and one that is at work."""
    with HistoryMaker(Home(tmp_path_factory.mktemp("runs"))) as maker:
        maker.add(Sketch("done", 80, 80))
        maker.add(Sketch("live", 80, 40, None, alive=True))
        async with LmwbApp(maker.home).run_test(size=(120, 36), notifications=True) as pilot:
            await settle(pilot)
            yield pilot


@asynccontextmanager
async def from_runs(pilot: Pilot[None], models: ToyModels, *keys: str) -> AsyncIterator[None]:
    """The lab after these keys on the home screen and `l`; then the home screen as it was."""
    app = pilot.app
    assert isinstance(app, LmwbApp)
    app._models = models
    await press(pilot, *keys)
    await pilot.press("l")
    await turns(pilot)
    yield
    await press(pilot, "escape", "backspace")


@asynccontextmanager
async def speaking(
    pilot: Pilot[None], models: ToyModels, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[LabScreen]:
    """The lab after a model has said something."""
    async with opened(pilot, models, size, Opening("toy", Branch("the cat"))) as lab:
        lab.post_message(SettingsChanged(Settings(tokens=STEPS)))
        await press(pilot, "enter")
        yield lab


async def resize(pilot: Pilot[None], size: tuple[int, int]) -> None:
    """Another terminal; Textual waits a moment for yet another."""
    if pilot.app.size != size:
        await pilot.resize_terminal(*size)
        while pilot.app.screen._compositor.size != size:
            await asyncio.sleep(0.001)


async def turns(pilot: Pilot[None]) -> None:
    """Let messages be handled while a question stays open."""
    for _ in range(5):
        await pilot.pause()


async def enter(pilot: Pilot[None], key: str, text: str) -> None:
    """Press a key that opens a line, put a text in the place of what stands there, and send it."""
    await press(pilot, key)
    pilot.app.screen.query_one(Entry).value = text
    await press(pilot, "enter")


def screen(pilot: Pilot[None]) -> LabScreen:
    assert isinstance(pilot.app.screen, LabScreen)
    return pilot.app.screen


def asked(models: ToyModels, what: str = "generate") -> list:
    return [question for question in models.questions if question[0] == what]


def texts(pilot: Pilot[None]) -> list[str]:
    """What the first model said last, best first."""
    return [trace.text() for trace in screen(pilot)._session.branch.said[0].traces]


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


# -- all settings -------------------------------------------------------------------------------------


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


# -- branches -----------------------------------------------------------------------------------------


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


# -- several ------------------------------------------------------------------------------------------


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
