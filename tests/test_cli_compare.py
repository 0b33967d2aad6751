"""The commands that compare runs and show members: what they print, to the letter."""

import json

import pytest
from experiments import make_experiment
from lmwb.core.home import Home
from lmwb.core.recipe import freeze, load
from lmwb.tui.cli import run

ACCURACIES = {"full": [0.8, 0.9, 0.85, 0.8], "probe": [0.7, 0.7, 0.75, None]}


@pytest.fixture
def lmwb(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_experiment(Home(tmp_path), ACCURACIES, trained={"probe": 1_200}, curves=True)

    def call(*words):
        code = run(["--home", str(tmp_path), *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_the_table_fits_an_ordinary_terminal(lmwb):
    code, out, _ = lmwb("compare", "last")
    assert code == 0
    assert out.splitlines() == [
        "       n  test/accuracy   best        difference [95 %]      p",
        "full   4  0.838 ± 0.048  0.900",
        "probe  3  0.717 ± 0.029  0.750  -0.133 [-0.277, +0.010]  0.057",
        "",
        "               trained  s/step  time  memory",
        "full   120,000 (100 %)     0.1   6 s  400 MB",
        "probe      1,200 (1 %)     0.1   6 s  400 MB",
        "",
        "Differences are to full.",
        "test/accuracy: mean ± standard deviation over n seeds; more is better.",
        "Differences pair up seeds; in brackets their 95 % t interval; p is two-sided.",
        "probe: seed 3 has failed: RuntimeError: out of luck.",
    ]
    assert max(map(len, out.splitlines())) <= 80


RECIPE = """
name = "exp"
[defaults]
objective = "classification"
model = { kind = "bag" }
tokenizer = { kind = "words" }
data = { train = "rows.csv" }
[[stage]]
name = "pretrain"
[[stage]]
name = "full"
[[stage]]
name = "probe"
[[stage]]
kind = "compare"
stages = ["full", "probe"]
baseline = "probe"
metric = "test/loss"
"""


def test_a_run_is_compared_as_its_recipe_would(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\n")
    (tmp_path / "exp.toml").write_text(RECIPE)
    frozen = freeze(load(tmp_path / "exp.toml").recipe)
    make_experiment(Home(tmp_path), {"pretrain": [0.9] * 4, **ACCURACIES}, recipe=frozen)
    assert run(["--home", str(tmp_path), "compare", "last"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["full", "probe"]
    assert "test/loss" in lines[0]
    assert "Differences are to probe." in lines


def test_other_metrics_baselines_and_formats(lmwb):
    code, out, _ = lmwb("compare", "last", "--metric", "loss", "--baseline", "probe", "--json")
    parsed = json.loads(out)
    assert (code, parsed["metric"], parsed["baseline"], parsed["lower_is_better"]) == (0, "test/loss", "probe", True)
    assert lmwb("compare", "last", "--csv")[1].startswith("metric,label,n,seeds,values,mean,deviation,best,")
    assert lmwb("compare", "last", "--markdown")[1].startswith("|  | n | test/accuracy | best |")
    assert lmwb("compare", "last", "--csv", "--json")[0] == 2
    code, _, err = lmwb("compare", "last", "--metric", "bleu")
    assert (code, "no stage gives 'bleu'" in err) == (2, True)


def test_pictures_are_drawn_into_a_folder_or_a_file(lmwb, tmp_path):
    code, _, err = lmwb("compare", "last", "--figures", "out", "--format", "png")
    assert code == 0
    assert err.splitlines() == [f"out/{name}.png" for name in ("curves", "metric", "parameters", "lr", "progress")]
    assert all((tmp_path / line).stat().st_size > 1000 for line in err.splitlines())
    assert lmwb("figures", "last", "--kind", "lr", "--out", "rates.svg")[:2] == (0, "rates.svg\n")
    assert (tmp_path / "rates.svg").stat().st_size > 1000
    for words, sentence in (
        (("--kind", "pie"), "there is no picture 'pie'"),
        (("--out", "x.gif"), "x.gif must end with .svg"),
        (("--kind", "spectrum"), "nothing to show in a picture of kind 'spectrum'"),
    ):
        code, _, err = lmwb("figures", "last", *words)
        assert (code, sentence in err) == (2, True), err


def test_recipes_of_two_runs_are_laid_beside_each_other(lmwb):
    code, out, _ = lmwb("compare", "exp-abcde-1", "exp-abcde-2", "--recipes")
    assert (code, out.splitlines()) == (0, ["key   exp-abcde-1  exp-abcde-2", "seed  0            1"])
    assert lmwb("compare", "exp-abcde-1", "exp-abcde-1", "--recipes")[0] == 2


def test_lists_show_a_run_with_its_members_as_one_line(lmwb):
    (head, *lines) = lmwb("runs")[1].splitlines()
    assert head.split()[0] == "run"
    assert len(lines) == 1
    assert "4 members: 3 finished, 1 failed" in lines[0]
    assert [line.split()[0] for line in lmwb("runs", "--members")[1].splitlines()[1:]] == [
        "exp-abcde",
        *(f"exp-abcde-{number}" for number in (1, 2, 3, 4)),
    ]
    (facts,) = json.loads(lmwb("runs", "--json")[1])
    assert facts["parent"] is None
    member = json.loads(lmwb("runs", "--json", "--members")[1])[1]
    assert (member["parent"], member["member"]) == ("exp-abcde", "seed 0")


def test_show_lists_members_with_their_state_and_result(lmwb):
    shown = lmwb("show", "exp")[1]
    assert "  seed 0                     finished exp-abcde-1  test accuracy 0.700, loss 0.300" in shown
    assert "  seed 3                     failed   exp-abcde-4  RuntimeError: out of luck" in shown
    members = json.loads(lmwb("show", "exp", "--json")[1])["members"]
    assert [member["state"] for member in members] == ["finished"] * 3 + ["failed"]
    assert members[0]["results"]["full"]["test"]["accuracy"] == 0.8
