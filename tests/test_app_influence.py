"""Where does this come from: marking a text, asking, and looking at answers, driven by keys."""

import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driving import home_screen, look_again, press, running_app, settle, shown
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.history.ledger import end_attempt, end_stage
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.core.influence_report import FILE, read_report, write_report
from lmwb.tui.asking import question, training_of
from lmwb.tui.influence import Look, Pace
from lmwb.tui.lab import Branch, Opening
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.screens.influence import InfluenceScreen
from lmwb.tui.screens.lab import LabScreen
from lmwb.tui.widgets.tokens import TokenView
from made_generations import HOSTILE
from make_history import HistoryMaker, Sketch, make_trace
from make_influence import WORDS, add_answer, make_report
from textual.pilot import Pilot
from toy_models import ToyModels

BAD = b"".join(HOSTILE).decode("utf-8", "surrogateescape")
"""Everything that tries to steer a terminal or to be read as markup."""
SIZES = [(80, 24), *(pytest.param(size, marks=pytest.mark.slow) for size in ((120, 36), (200, 50), (40, 12)))]


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colours, small digits would follow the tokens."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


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
    with pytest.raises(UsageError, match="has trained no model"):
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


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_an_answer_shows_rows_with_scores_next_to_the_query(maker: HistoryMaker, size: tuple[int, int]) -> None:
    add_answer(maker, make_report(training(maker)))
    async with running_app(maker.home, size) as pilot:
        await press(pilot, "w")
        text = shown(pilot)
        assert "+3.4" in text
        if size[0] >= 80:
            assert "⟦to wrap the⟧" in text
            assert "begins with" in text
            assert "% of its score" in text
        else:
            for key in "2345":
                await press(pilot, key)
                assert shown(pilot).splitlines()[1].startswith("╭─ ")


@pytest.mark.slow
async def test_ends_strategies_and_queries_turn(maker: HistoryMaker) -> None:
    report = make_report(training(maker))
    add_answer(maker, report)
    async with running_app(maker.home, (120, 36)) as pilot:
        await press(pilot, "w")
        assert "ekfac 1 of 2" in shown(pilot)
        await press(pilot, "b")
        assert "−3.4" in shown(pilot)
        assert "lowest scores" in shown(pilot)
        await press(pilot, "b", "s", "full_stop", "down")
        assert "identity 2 of 2" in shown(pilot)
        assert "query 2 of 2" in shown(pilot)
        found = report.answers["identity"][1].best[1]
        assert f"row {found.row} of 311" in shown(pilot)
        await press(pilot, "full_stop", "comma", "comma")
        assert "query 1 of 2" in shown(pilot)


async def test_the_token_at_the_cursor_has_its_numbers(maker: HistoryMaker) -> None:
    report = make_report(training(maker))
    add_answer(maker, report)
    found = report.answers["ekfac"][0].best[0]
    async with running_app(maker.home, (120, 36)) as pilot:
        await press(pilot, "w", "3")
        strongest = max(found.tokens, key=abs)
        assert f"{strongest:+.3g}" in shown(pilot)
        assert f"{strongest / found.score:.1%} of its score" in shown(pilot)
        await press(pilot, "g", *["left"] * 60)
        assert f"{found.tokens[0] / found.score:.1%}".replace("-", "−") + " of its score" in shown(pilot)
        await press(pilot, *["down"] * 20, *["right"] * 30)
        assert "nothing is predicted from here" in shown(pilot)


async def test_enter_leads_to_the_batch_and_from_there_to_the_run(maker: HistoryMaker) -> None:
    report = make_report(training(maker))
    add_answer(maker, report)
    rows = report.answers["ekfac"][0].best
    place, found = next((n, each) for n, each in enumerate(rows) if len(report.rows[each.row].seen) > 1)
    (step, at), (later, _), *_ = report.rows[found.row].seen
    async with running_app(maker.home, (120, 36)) as pilot:
        await press(pilot, "w", *["down"] * place, "enter")
        text = shown(pilot)
        assert f"step {step} of 80" in text
        assert f"row {at + 1} of 16 of its batch" in text
        marked = next(line for line in text.splitlines() if "▸" in line)
        assert f"{at + 1}  row {found.row}" in marked
        for other in report.batches[step][at + 1 : at + 2]:
            assert f"row {other}" in text
        await press(pilot, "n")
        assert f"step {later} of 80" in shown(pilot)
        assert "the batch of the first time only" in shown(pilot).replace("│", "")
        await press(pilot, "p", "h")
        home = home_screen(pilot)
        assert pilot.app.screen is home
        assert home.runs.selected is not None
        assert home.runs.selected.name == "taught"
        assert (home.request.step, home.request.stage) == (step, "train")
        assert home.curves._charts[0].cursor == step


@pytest.mark.slow
async def test_the_profile_and_the_notes_have_a_tab(maker: HistoryMaker) -> None:
    add_answer(maker, make_report(training(maker)))
    async with running_app(maker.home, (80, 24)) as pilot:
        await press(pilot, "w", "5")
        text = shown(pilot)
        assert "a positive score says" in text
        await press(pilot, "z")
        text = shown(pilot)
        assert "the table of embeddings and the last layer are left out" in text
        assert "49.0%" in text
        await press(pilot, "q", "q")
        assert isinstance(pilot.app.screen, HomeScreen)


@pytest.mark.slow
async def test_rows_that_are_no_text_and_scores_without_tokens_are_shown(maker: HistoryMaker) -> None:
    report = make_report(training(maker), tokens=False, queries=1, strategies=("kfac",))
    add_answer(maker, report)
    async with running_app(maker.home) as pilot:
        await press(pilot, "w")
        assert "the scores of tokens were not asked for" in shown(pilot)
        await press(pilot, "s")
        assert "one strategy only" in shown(pilot)


@pytest.mark.slow
async def test_an_answer_without_rows_says_so(maker: HistoryMaker) -> None:
    add_answer(maker, make_report(training(maker), top=0))
    async with running_app(maker.home) as pilot:
        await press(pilot, "w", "down", "enter", "n", "h")
        assert "No rows were kept" in shown(pilot)


# -- the work -------------------------------------------------------------------------------------


async def test_the_answer_appears_when_the_run_has_it(maker: HistoryMaker) -> None:
    uid = add_answer(maker, None, outcome=None)
    async with running_app(maker.home) as pilot:
        await press(pilot, "w")
        assert "ekfac: covariance" in shown(pilot)
        assert "3 of 12" in shown(pilot)
        await press(pilot, "enter")
        assert "There is no answer yet" in shown(pilot)
        write_report(make_report(training(maker)), maker.home.run_folder(uid) / "influence")
        run_id = maker._one("SELECT id FROM run WHERE uid = ?", uid)
        end_stage(maker.connection, maker._one("SELECT id FROM stage WHERE run_id = ?", run_id), {})
        end_attempt(maker.connection, maker._one("SELECT id FROM attempt WHERE run_id = ?", run_id), "finished", 0)
        maker.kill(uid)
        await look_again(pilot)
        answer(pilot)._watch()
        await settle(pilot)
        assert "begins with" in shown(pilot)


@pytest.mark.parametrize(
    ("outcome", "damage", "told"),
    [
        ("failed", None, "It failed: query: there is no token 70000"),
        ("finished", "{}", "is damaged (KeyError); run the stage again"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("stopped", None, "It was stopped before it had an answer; r lets it go on"),
                ("finished", "missing", "there is no report of influence in"),
                ("finished", '{"version": 99}', "was written by another version of lmwb"),
            )
        ),
    ],
)
async def test_why_there_is_no_answer_is_said_in_a_sentence(
    maker: HistoryMaker, outcome: str, damage: str | None, told: str
) -> None:
    uid = add_answer(maker, None, outcome=outcome, message="query: there is no token 70000 [/x]\x1b[2J")
    if damage not in (None, "missing"):
        (maker.home.run_folder(uid) / "influence" / FILE).write_text(damage)
    async with running_app(maker.home) as pilot:
        await press(pilot, "w")
        text = shown(pilot)
        assert told in " ".join(text.replace("│", "").split())
        assert "\x1b" not in text


async def test_hostile_texts_are_only_text(maker: HistoryMaker) -> None:
    add_answer(maker, make_report(training(maker), hostile=BAD), name="[/a]\x1b[2J\u202e")
    async with running_app(maker.home, (120, 36)) as pilot:
        seen = ""
        for keys in ("w", "enter", "down", "3", "G", "z", "up", "z", "2", "right", "5", "s", "1"):
            await press(pilot, keys)
            text = shown(pilot)
            assert not any(ord(character) < 32 and character != "\n" for character in text)
            assert not {"\x7f", "\x9b", "\u202e", "\u2066"} & set(text)
            assert "[/a]␛[2J" in text
            seen += text.replace("\n", " ")
        assert "[@click=app.quit]x" in seen


@pytest.mark.slow
async def test_a_training_that_is_gone_takes_nothing_away(maker: HistoryMaker) -> None:
    add_answer(maker, make_report("gone-22222/train"))
    async with running_app(maker.home) as pilot:
        await press(pilot, "w", "enter")
        assert "of its batch" in shown(pilot)
        await press(pilot, "h")
        assert "no longer there" in shown(pilot)


# -- parts ----------------------------------------------------------------------------------------


def test_a_made_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = make_report("a/train", hostile=BAD)
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report


def test_a_look_stays_within_what_there_is() -> None:
    report = make_report("a/train", queries=3, strategies=("ekfac", "identity"), top=4)
    look = Look(report)
    assert look.to_rank(-1) is look
    assert look.to_rank(99).rank == 3
    assert look.to_query(-1).query == 2
    assert look.to_strategy(2) == look
    assert look.to_rank(2).to_other_end().rank == 0
    for rank in range(4):
        here = look.to_rank(rank)
        assert here.row is not None
        assert here.to_time(len(here.row.seen)) == here
        assert here.batch is not None
        assert here.seen is not None
        assert here.chosen is not None
        assert here.batch[here.seen[1]] == here.chosen.row
    assert WORDS[0].startswith("The with")


def test_the_pace_is_that_of_the_present_phase(maker: HistoryMaker) -> None:
    add_answer(maker, None, outcome=None, progress=(4, 12, "a"))
    with closing(History(maker.home)) as history:
        run = history.runs()[0]
    pace = Pace()
    assert pace.seconds_left(run, now=10.0) is None
    assert pace.seconds_left(replace(run, step=8), now=12.0) == pytest.approx(2.0)  # four more, each half a second
    assert pace.seconds_left(replace(run, step=1, phase="b"), now=13.0) is None
    assert pace.seconds_left(replace(run, step=2, phase="b"), now=14.0) == pytest.approx(10.0)
