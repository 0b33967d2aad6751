"""`lmwb influence` and `lmwb inspect` as scripts and people use them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from lmwb.core import runs
from lmwb.core.errors import ExitCode
from lmwb.core.home import Home
from lmwb.core.influence_report import Found
from lmwb.tui.cli import run
from lmwb.tui.commands import following
from make_history import HistoryMaker, Sketch
from make_influence import add_answer, make_report

HOSTILE = "[/red]\x1b[31m"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    home.create()
    with HistoryMaker(home) as maker:
        made = SimpleNamespace(home=home, trained=maker.add(Sketch("trained")))
        report = make_report(f"{made.trained}/train", HOSTILE)
        own = {"ekfac": (Found(next(iter(report.rows)), 9.5),)}
        made.asked = add_answer(maker, replace(report, self_scores=own))
        together = {strategy: answers[:1] for strategy, answers in report.answers.items()}
        made.together = add_answer(maker, replace(report, answers=together))
        made.open = add_answer(maker, None, outcome="failed", message="no")
    return made


@pytest.fixture
def lmwb(home, capsys):
    def lmwb(*words, code=0):
        """Run the command in this process; what it printed, and what it told beside."""
        assert run([*words, "--home", str(home.home.root)]) == code
        told = capsys.readouterr()
        assert not {"\x1b", "\x9b"} & {*told.out, *told.err}
        return told.out, told.err

    return lmwb


def test_inspect_shows_each_query_with_its_highest_and_lowest_rows(home, lmwb):
    out, _ = lmwb("inspect", home.asked, "--top", "2")
    lines = out.splitlines()
    assert lines[0] == f"{home.trained}/train, 311 training rows"
    assert [line for line in lines if line.startswith("query")] == [
        "query 1 of 2  loss 4.200 nats over 3 tokens",
        "query 2 of 2  loss 5.200 nats over 3 tokens",
    ]
    assert out.count("ekfac: highest scores") == out.count("identity: lowest scores") == 2
    assert sum("  row " in line for line in lines) == 2 * 2 * 2 * 2  # queries, strategies, sides, top
    assert out.count("⟦to wrap the⟧") == 1  # what the first query asks about
    assert "seen in step" in out
    assert "strongest  “" in out
    assert "note  the table of embeddings and the last layer are left out" in out
    assert "[/red]␛[31m" in out


def test_inspect_can_be_narrowed_to_a_query_and_a_strategy(home, lmwb):
    out, _ = lmwb("inspect", f"{home.asked}/influence", "--query", "2", "--strategy", "identity", "--top", "1")
    assert "query 2 of 2" in out
    assert "query 1 of 2" not in out
    assert "ekfac" not in out
    assert "tokens behind are left out" not in lmwb("inspect", home.asked, "--tokens", "0")[0]
    assert "tokens behind are left out" in lmwb("inspect", home.asked, "--tokens", "8")[0]


def test_inspect_as_json_has_every_number(home, lmwb):
    out, _ = lmwb("inspect", home.asked, "--json", "--top", "3")
    found = json.loads(out)
    report = make_report(f"{home.trained}/train", HOSTILE)
    best = found["queries"][1]["answers"]["ekfac"]["best"]
    wanted = report.answers["ekfac"][1].best[:3]
    assert [(each["row"], each["score"]) for each in best] == [(each.row, each.score) for each in wanted]
    assert best[0]["token_scores"] == list(wanted[0].tokens)
    assert "".join(best[0]["tokens"]).endswith(f" {HOSTILE}")  # exact, not made printable
    assert best[0]["seen"][0] == {"step": report.rows[best[0]["row"]].seen[0][0], "place": best[0]["row"] % 16}
    assert found["together"] is None
    assert found["sign"].startswith("a positive score says")


def test_inspect_shows_rows_that_explain_themselves_and_queries_taken_together(home, lmwb):
    out, _ = lmwb("inspect", home.asked, "--self", "--strategy", "ekfac")
    assert "ekfac: rows with the highest scores with themselves" in out
    assert "+9.5" in out
    out, _ = lmwb("inspect", home.together, "--top", "1")
    assert out.index("query 2 of 2") < out.index("ekfac: highest scores")
    assert out.count("ekfac: highest scores") == 1
    assert json.loads(lmwb("inspect", home.together, "--json")[0])["together"]["ekfac"]["best"]


def test_what_cannot_be_shown_is_told(home, lmwb):
    for words, code, told in (
        (["inspect", "nobody"], ExitCode.NOT_FOUND, "there is no run 'nobody'"),
        (["inspect", home.trained], ExitCode.USAGE, "has no stage that asks for influence; `lmwb influence"),
        (
            ["inspect", f"{home.asked}/else"],
            ExitCode.USAGE,
            "no stage 'else' that asks for influence; it has",
        ),
        (["inspect", home.open], ExitCode.USAGE, "has not finished"),
        (["inspect", home.asked, "--query", "3"], ExitCode.USAGE, "there is no query 3; there are 2"),
        (["inspect", home.asked, "--strategy", "kfac"], ExitCode.USAGE, "was not asked for; there is ekfac, identity"),
        (["inspect", home.together, "--self"], ExitCode.USAGE, "say self_scores = true"),
        (["influence", "nobody", "--text", "a b"], ExitCode.USAGE, "nobody comes from no run"),
        (["influence", home.trained, "--text", ""], ExitCode.USAGE, "there is nothing to ask about"),
        (["influence", home.trained, "--text", "a b a", "--mark", "a"], ExitCode.USAGE, "in the text 2 times"),
        (["influence", home.trained, "--text", "a b", "--mark", ""], ExitCode.USAGE, "is empty"),
    ):
        out, err = lmwb(*words, code=code)
        assert not out
        assert told in err
        assert err.count("\n") == 1


def test_influence_launches_a_run_and_prints_its_answer(home, lmwb, monkeypatch):
    launched = []

    def launch(_, loaded):
        launched.append(loaded)
        return SimpleNamespace(uid=home.asked)

    monkeypatch.setattr(runs, "launch", launch)
    monkeypatch.setattr(following, "follow", lambda *_: ExitCode.OK)
    words = ("influence", f"{home.trained}@40", "--prompt", "The with", "--text", " statement is used to", "--top", "1")
    out, _ = lmwb(*words, "--mark", "is used", "--strategy", "identity", "--set", "factors.share=0.5")
    assert "ekfac: highest scores" in out
    (stage,) = launched[0].recipe.stage
    assert (stage.of, stage.checkpoints, stage.strategies) == (f"run:{home.trained}/train", [40], ["identity"])
    assert (stage.query[0].prompt, stage.query[0].text) == ("The with statement ", "is used")
    assert stage.factors.share == 0.5
    assert launched[0].recipe.name == "where from · is used"
    last = lmwb(*words, "--json")[0].splitlines()[-1]
    assert json.loads(last)["event"] == "answer"
    assert lmwb(*words, "--detach")[0] == f"{home.asked}\n"
    lmwb(*words, "--set", "factors.shares=1", code=ExitCode.USAGE)
