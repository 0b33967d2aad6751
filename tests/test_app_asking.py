"""Marking what a model said, and asking where it comes from, driven by keys."""

import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import small_runs
from driving import home_screen, press, running_app, settle, shown
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.tui import deeds
from lmwb.tui.asking import question, training_of
from lmwb.tui.influence import Look, read_answer
from lmwb.tui.lab import Branch, Opening
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.screens.influence import InfluenceScreen
from lmwb.tui.screens.lab import LabScreen
from lmwb.tui.widgets.tokens import TokenView
from make_history import HistoryMaker, Sketch, make_trace
from make_influence import add_answer
from textual.pilot import Pilot
from toy_models import ToyModels


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[HistoryMaker]:
    """A home with a training that has finished."""
    with HistoryMaker(Home(tmp_path)) as made:
        made.add(Sketch("taught", 80, 80))
        yield made


@pytest.fixture
def launched(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The frozen recipes of the runs that were launched; each goes on for ever, without a process."""
    recipes: list[dict[str, Any]] = []

    def launch(home: Home, loaded: Any) -> object:
        recipes.append(tomllib.loads(loaded.frozen))
        uid = add_answer(maker, None, name=loaded.recipe.name, outcome=None)
        with closing(History(home)) as history:
            return history.find(uid)

    monkeypatch.setattr(runs, "launch", launch)
    return recipes


def training(maker: HistoryMaker) -> str:
    """What the training in the home is called."""
    with closing(History(maker.home)) as history:
        return f"{history.find('taught').uid}/train"


def tokens(pilot: Pilot[None]) -> TokenView:
    return home_screen(pilot).tokens.query_one(TokenView)


def answer(pilot: Pilot[None]) -> InfluenceScreen:
    assert isinstance(pilot.app.screen, InfluenceScreen)
    return pilot.app.screen


# -- marking --------------------------------------------------------------------------------------


async def test_a_span_goes_from_where_it_began_to_the_cursor_until_it_is_ended(maker: HistoryMaker) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "f", "right", "right")
        view = tokens(pilot)
        assert view.cluster is not None
        first, end = view.span or (0, 0)
        assert end - first == 3
        assert view.cluster.last == end
        assert "3 tokens marked" in shown(pilot)
        await press(pilot, "f", "right", "right")
        assert view.span == (first, end)
        await press(pilot, "f")
        assert view.span == (end + 1, end + 2)  # a new span begins at the cursor
        await press(pilot, "left", "left", "left")
        assert view.span == (end - 2, end + 2)  # and may go backwards


async def test_a_span_is_seen_without_colours(maker: HistoryMaker) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "f", "right", "right")
        view = tokens(pilot)
        reversed_text = "".join(s.text for y in range(view.size.height) for s in view.render_line(y)
                                if s.style and s.style.reverse)  # fmt: skip
        trace, (first, end) = home_screen(pilot).tokens.asked or (None, (0, 0))
        assert trace is not None
        assert reversed_text == "".join(trace.piece(int(i)) for i in trace.ids[first:end])
        assert any(s.style and s.style.reverse and s.style.underline for s in view.render_line(0))  # the cursor in it


@pytest.mark.slow
async def test_escape_takes_the_mark_away_and_so_does_another_text(maker: HistoryMaker) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "f", "right", "escape")
        assert tokens(pilot).span is None
        assert "marked" not in shown(pilot)
        await press(pilot, "f", "comma")
        assert tokens(pilot).span is None


@pytest.mark.slow
async def test_without_a_text_there_is_nothing_to_mark(tmp_path: Path) -> None:
    async with running_app(Home(tmp_path)) as pilot:
        await press(pilot, "f")
        assert "no text to mark" in shown(pilot)
        await press(pilot, "w")
        assert "no text to ask about" in shown(pilot)


# -- asking ---------------------------------------------------------------------------------------


async def test_a_marked_span_is_asked_about_token_by_token(maker: HistoryMaker, launched: list[dict[str, Any]]) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "right", "f", "right", "right", "f", "right")
        trace, (first, end) = home_screen(pilot).tokens.asked or (None, (0, 0))
        assert trace is not None
        await press(pilot, "w")
        assert "covariance" in shown(pilot)
        assert answer(pilot)
    (recipe,) = launched
    (stage,) = recipe["stage"]
    assert (stage["kind"], stage["of"], stage["checkpoints"]) == ("influence", f"run:{training(maker)}", [80])
    assert stage["query"] == [{"prompt": "", "text": "", "ids": trace.ids.tolist(), "mark": [first, end]}]
    assert recipe["name"].startswith("where from · ")
    assert recipe["name"].endswith(trace.piece(int(trace.ids[end - 1])).strip())


@pytest.mark.slow
async def test_without_a_mark_the_token_at_the_cursor_is_asked_about(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "right", "right")
        cluster = tokens(pilot).cluster
        assert cluster is not None
        await press(pilot, "w")
    assert launched[0]["stage"][0]["query"][0]["mark"] == [cluster.first, cluster.last]


async def test_nothing_is_asked_from_the_list_of_runs_without_a_mark(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "w")
        assert "f begins and ends a span" in shown(pilot)
        assert home_screen(pilot).focused is home_screen(pilot).tokens
    assert not launched


async def test_a_run_that_trains_and_answers_is_asked_from_its_text_and_shown_from_the_list(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    run_id = maker._one("SELECT id FROM run WHERE name = 'taught'")
    maker.connection.execute(
        "INSERT INTO stage (run_id, position, name, kind) VALUES (?, 1, 'answer', 'influence')", (run_id,)
    )
    async with running_app(maker.home) as pilot:
        await press(pilot, "w")
        assert "It has finished without an answer" in shown(pilot)
        await press(pilot, "q", "3", "w")
        assert len(launched) == 1


@pytest.mark.slow
async def test_how_to_ask_can_be_changed_and_what_is_asked_stays(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "f", "right")
        trace, span = home_screen(pilot).tokens.asked or (None, ())
        assert trace is not None
        await press(pilot, "W")
        tokens(pilot).show(make_trace("a text that came meanwhile", 0.5, 3))
        for character in 'scores.top=3 strategies=["identity", "kfac"]':
            await pilot.press("space" if character == " " else character)
        await press(pilot, "enter")
        assert answer(pilot)
    (stage,) = launched[0]["stage"]
    assert (stage["scores"]["top"], stage["strategies"]) == (3, ["identity", "kfac"])
    assert (stage["query"][0]["ids"], stage["query"][0]["mark"]) == (trace.ids.tolist(), list(span))


@pytest.mark.slow
async def test_wrong_changes_are_explained_and_escape_leaves_them(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "W", *"topp=3", "enter")
        assert "topp" in shown(pilot)
        await press(pilot, "W", *"/x", "escape")
        assert isinstance(pilot.app.screen, HomeScreen)
        assert home_screen(pilot).runs.filter == ""
    assert not launched


@pytest.mark.slow
async def test_the_first_token_of_a_text_cannot_be_asked_about(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "3", "g", *["left"] * 10, "w")
        assert "nothing predicts it" in shown(pilot).replace("\n", " ")
    assert not launched


def test_a_question_needs_a_model_that_a_finished_run_trained(maker: HistoryMaker, tmp_path: Path) -> None:
    maker.add(Sketch("live", 80, 40, None, alive=True))
    home, trace = maker.home, make_trace("a prompt of words", 0.5, 1)
    uid = training(maker).partition("/")[0]
    assert training_of(home, uid) == training_of(home, f"run:{uid}/train") == (f"{uid}/train", None)
    assert training_of(home, "taught@40") == (f"{uid}/train", 40)
    (tmp_path / "folder").mkdir()
    for model in ("gpt2", "openai-community/gpt2", str(tmp_path / "folder"), "hub:gpt2", "[/x]\x1b"):
        with pytest.raises(UsageError, match="comes from no run of lmwb") as told:
            training_of(home, model)
        assert "\x1b" not in str(told.value)
    with pytest.raises(UsageError, match="has not finished"):
        training_of(home, "live")
    with pytest.raises(UsageError, match="has no stage 'elsewhere'; it has train"):
        training_of(home, f"{uid}/elsewhere")
    asked = question(home, "taught", trace, (0, 3))
    assert asked.mark == (1, 3)  # nothing predicts the first token
    assert asked.ids == tuple(trace.ids.tolist())
    assert asked.words == " prompt of"


# -- in the lab -----------------------------------------------------------------------------------


async def test_what_a_run_says_in_the_lab_can_be_asked_about(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        pilot.app._models = ToyModels()  # type: ignore[attr-defined]
        pilot.app.push_screen(LabScreen(Opening("taught", Branch("the cat"))))
        await settle(pilot)
        await press(pilot, "enter", "right", "f", "right", "w")
        assert answer(pilot)
        (stage,) = launched[0]["stage"]
        assert stage["of"] == f"run:{training(maker)}"
        assert "checkpoints" not in stage
        first, end = stage["query"][0]["mark"]
        assert end - first == 2
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, LabScreen)
        await press(pilot, "escape")  # the mark goes first
        assert isinstance(pilot.app.screen, LabScreen)


async def test_a_model_from_elsewhere_cannot_be_asked_and_the_reason_is_given(
    maker: HistoryMaker, launched: list[dict[str, Any]]
) -> None:
    async with running_app(maker.home) as pilot:
        pilot.app._models = ToyModels()  # type: ignore[attr-defined]
        pilot.app.push_screen(LabScreen(Opening("toy", Branch("the cat"))))
        await settle(pilot)
        await press(pilot, "enter", "w")
        assert "toy comes from no run of lmwb" in " ".join(shown(pilot).split())
    assert not launched


# -- the whole way --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_run_answers_about_a_real_sample(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    trained = small_runs.wait(home, runs.launch(home, small_runs.recipe(tmp_path, steps=20)), small_runs.ended)
    with closing(History(home)) as history:
        stage = history.stages(trained.id)[0]
        trace = history.sample(history.samples(stage.id)[-1].id)
    span = (len(trace) - 2, len(trace))
    asked = deeds.ask_where_from(home, f"{trained.uid}/{stage.name}", trace, span, "scores.top=3")
    answered = read_answer(home, small_runs.wait(home, asked, small_runs.ended).id)
    assert answered.trouble == ""
    assert answered.report is not None
    assert answered.asked_run is not None
    assert (answered.asked_run.uid, answered.last_step) == (trained.uid, 20)
    (query,) = answered.report.queries
    assert (query.ids, query.first, query.end) == (tuple(trace.ids.tolist()), *span)
    look = Look(answered.report)
    for rank in range(3):
        here = look.to_rank(rank)
        assert here.chosen is not None
        assert sum(here.chosen.tokens) == pytest.approx(here.chosen.score, rel=1e-3, abs=1e-6)
        if here.seen is not None:
            step, place = here.seen
            assert 1 <= step <= 20
            assert here.batch is not None
            assert here.batch[place] == here.chosen.row
