"""Answers to where a text comes from, driven by keys: rows, tokens, batches, and how the work goes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from driving import home_screen, look_again, press, running_app, settle, shown
from lmwb.core import runs
from lmwb.core.history.ledger import end_attempt, end_stage
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.core.influence_report import FILE, read_report, write_report
from lmwb.tui.influence import Look, Pace
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.screens.influence import InfluenceScreen
from made_generations import HOSTILE
from make_experiments import add_experiment
from make_history import HistoryMaker, Sketch
from make_influence import add_answer, make_report
from textual.pilot import Pilot

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


def training(maker: HistoryMaker) -> str:
    """What the training in the home is called."""
    with closing(History(maker.home)) as history:
        return f"{history.find('taught').uid}/train"


def answer(pilot: Pilot[None]) -> InfluenceScreen:
    assert isinstance(pilot.app.screen, InfluenceScreen)
    return pilot.app.screen


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


async def test_where_there_are_no_curves_the_way_to_the_answer_is_told(maker: HistoryMaker) -> None:
    add_answer(maker, make_report(training(maker)))
    async with running_app(maker.home, (80, 24)) as pilot:
        assert "w shows the rows that were found" in shown(pilot)
        await press(pilot, "down")
        assert "w shows" not in shown(pilot)
    add_answer(maker, None, outcome="stopped")
    async with running_app(maker.home, (80, 24)) as pilot:
        assert "nothing was measured here" in shown(pilot)


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


@pytest.mark.slow
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


async def test_the_way_to_the_run_leads_to_a_member_that_was_hidden(maker: HistoryMaker) -> None:
    parent = add_experiment(maker, "seeds")
    with closing(History(maker.home)) as history:
        member = history.members(history.find(parent).id)[2]
        stage = history.stages(member.id)[0].name
    add_answer(maker, make_report(f"{member.uid}/{stage}"))
    async with running_app(maker.home, (120, 36)) as pilot:
        await press(pilot, "slash", *"where", "enter", "w", "h")
        home = home_screen(pilot)
        assert home.runs.selected is not None
        assert home.runs.selected.id == member.id
        assert home.request.stage == stage
        assert "seed 2" in shown(pilot)


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


async def test_the_work_can_be_stopped_and_gone_on_with(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    add_answer(maker, None, outcome="stopped")
    uid = add_answer(maker, None, outcome=None)
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(runs, "stop", lambda run: done.append(("stop", run.uid)))
    monkeypatch.setattr(runs, "resume", lambda _, run: done.append(("resume", run.state)))
    async with running_app(maker.home) as pilot:
        await press(pilot, "w", "x", "n", "x", "y")
        assert done == [("stop", uid)]
        await press(pilot, "q", "down", "w", "x", "r")
        assert "The run is not at work" in shown(pilot)
        assert done[1:] == [("resume", "stopped")]


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


def test_the_pace_is_that_of_the_present_phase(maker: HistoryMaker) -> None:
    add_answer(maker, None, outcome=None, progress=(4, 12, "a"))
    with closing(History(maker.home)) as history:
        run = history.runs()[0]
    pace = Pace()
    assert pace.seconds_left(run, now=10.0) is None
    assert pace.seconds_left(replace(run, step=8), now=12.0) == pytest.approx(2.0)  # four more, each half a second
    assert pace.seconds_left(replace(run, step=1, phase="b"), now=13.0) is None
    assert pace.seconds_left(replace(run, step=2, phase="b"), now=14.0) == pytest.approx(10.0)
