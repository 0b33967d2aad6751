"""Statistics against scipy and by hand, the choice of the metric, and the tables."""

import csv
import io
import json
import math
import statistics

import pytest
from experiments import make_experiment
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core import tables
from lmwb.core.comparison import Outcome, compare, differences, outcomes_of, recipe_differences
from lmwb.core.errors import UsageError, ValueInRecipeError
from lmwb.core.home import Home
from scipy import stats
from small_history import begin, reading

ACCURACIES = {"scratch": [0.5, 0.6, 0.7, 0.6], "full": [0.8, 0.9, 0.8, None], "probe": [0.4, 0.5, 0.6, 0.5]}
VALUES = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=8)


def outcome(label, seed, missing=None, **figures):
    named = {name.replace("__", "/"): value for name, value in figures.items()}
    return Outcome(label, seed, f"run-{seed}", label, missing, named, {})


@given(VALUES)
def test_paired_differences_agree_with_scipy(pairs):
    values, reference = zip(*pairs, strict=True)
    got = differences(values, reference)
    gaps = [a - b for a, b in pairs]
    if statistics.stdev(gaps) < 1e-9:
        return
    expected = stats.ttest_rel(values, reference)
    low, high = expected.confidence_interval(0.95)
    assert (got.n, got.mean) == (len(pairs), pytest.approx(statistics.fmean(gaps)))
    assert got.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (got.low, got.high) == (pytest.approx(low, rel=1e-6, abs=1e-6), pytest.approx(high, rel=1e-6, abs=1e-6))


def test_paired_differences_by_hand():
    # gaps 1, 2, 3: mean 2, s = 1, t = 2·√3 = 3.4641, t(0.975, 2) = 4.3027
    got = differences([2, 4, 6], [1, 2, 3])
    assert got.mean == 2
    assert got.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert got.p == pytest.approx(0.0741799, abs=1e-6)


@pytest.mark.parametrize(("gap", "p"), [(0.5, 0.0), (0.0, 1.0)])
def test_differences_without_scatter_have_an_interval_of_one_point(gap, p):
    got = differences([1 + gap, 2 + gap], [1, 2])
    assert (got.low, got.high, got.p) == (gap, gap, p)


def test_a_single_pair_and_values_that_are_not_finite_have_no_interval():
    for got in (differences([2], [1]), differences([math.nan, 1], [1, 1]), differences([math.inf, 1], [1, 1])):
        assert (got.low, got.high, got.p) == (None, None, None)


@pytest.fixture
def table(tmp_path):
    make_experiment(Home(tmp_path), ACCURACIES, trained={"probe": 1_200})
    with reading(Home(tmp_path)) as history:
        yield compare(outcomes_of(history, [history.find("exp")]))


def test_an_experiment_becomes_a_row_for_each_strategy(table):
    scratch, full, probe = table.rows
    assert (table.metric, table.baseline, table.lower_is_better) == ("test/accuracy", "scratch", False)
    assert (scratch.n, scratch.mean, scratch.best, scratch.difference) == (4, pytest.approx(0.6), 0.7, None)
    assert scratch.deviation == pytest.approx(math.sqrt(0.02 / 3))
    assert (full.n, list(full.seeds), full.missing) == (3, [0, 1, 2], ["seed 3 has failed: RuntimeError: out of luck"])
    assert full.difference is not None
    assert (full.difference.n, full.difference.mean) == (3, pytest.approx(0.7 / 3))
    assert probe.difference is not None
    assert (probe.difference.mean, probe.difference.p) == (pytest.approx(-0.1), pytest.approx(0, abs=1e-9))
    assert (probe.costs["trained"], probe.costs["parameters"]) == (1_200, 120_000)


def test_tables_hold_every_digit_and_name_what_is_missing(table):
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(table))))
    assert [row["label"] for row in rows] == ["scratch", "full", "probe"]
    assert [float(value) for value in rows[0]["values"].split()] == ACCURACIES["scratch"]
    assert float(rows[1]["deviation"]) == statistics.stdev([0.8, 0.9, 0.8])
    assert float(rows[2]["trained_percent"]) == 1.0
    assert rows[1]["missing"] == "seed 3 has failed: RuntimeError: out of luck"
    parsed = json.loads(tables.as_json(table))
    assert (parsed["metric"], parsed["rows"][1]["pairs"], parsed["rows"][0]["difference"]) == ("test/accuracy", 3, None)
    markdown = tables.as_markdown(table)
    assert "| scratch | 4 | 0.600 ± 0.082 | 0.700 |" in markdown
    assert "full: seed 3 has failed: RuntimeError: out of luck." in markdown


def test_names_cannot_break_a_markdown_table():
    table = compare([outcome("a|b\nc", 0, test__accuracy=0.5)])
    assert tables.as_markdown(table).splitlines()[2].startswith("| a\\|b c | 1 |")


def test_one_seed_is_called_one_seed():
    both = [
        outcome("a", 0, test__accuracy=0.5),
        outcome("a", 1, test__accuracy=0.6),
        outcome("b", 0, test__accuracy=0.7),
    ]
    assert "b: one seed." in tables.explanation(compare(both))
    alone = tables.explanation(compare(both[:1]))
    assert alone == ["test/accuracy of one seed each; nothing is known of how far it scatters; more is better."]


@pytest.mark.parametrize(
    ("figures", "metric", "lower"),
    [
        (("validation/loss", "validation/accuracy", "test/loss", "test/f1"), "test/f1", False),
        (("validation/loss", "validation/accuracy", "test/loss"), "test/loss", True),
        (("test/loss", "test/matthews", "test/accuracy"), "test/accuracy", False),
        (("validation/loss", "validation/perplexity"), "validation/perplexity", True),
        (("validation/loss", "validation/accuracy"), "validation/accuracy", False),
        (("test-mismatched/loss", "test/loss"), "test/loss", True),
    ],
)
def test_the_metric_is_the_one_that_says_most(figures, metric, lower):
    table = compare([outcome("a", 0, **{name.replace("/", "__"): 1.0 for name in figures})])
    assert (table.metric, table.lower_is_better) == (metric, lower)


def test_less_is_better_for_losses():
    (row,) = compare([outcome("a", seed, test__loss=float(seed)) for seed in (3, 1, 2)]).rows
    assert (row.best, list(row.seeds)) == (1.0, [1, 2, 3])


def test_what_cannot_be_compared_is_told():
    there = [outcome("a", 0, test__accuracy=0.5), outcome("b", 0, test__mse=0.5)]
    with pytest.raises(ValueInRecipeError, match="no metric in common"):
        compare(there)
    with pytest.raises(ValueInRecipeError, match="no stage gives 'f1'; they give test/accuracy or test/mse"):
        compare(there, "f1")
    with pytest.raises(ValueInRecipeError, match="no 'c' to compare with; there is a or b"):
        compare(there, "accuracy", "c")
    with pytest.raises(UsageError, match="nothing to compare: seed 1 has died"):
        compare([outcome("a", 1, "seed 1 has died")])
    (_, without) = compare(there, "accuracy").rows
    assert (without.n, list(without.missing)) == (0, ["run-0 gives no test/accuracy"])


def test_runs_of_one_name_are_told_apart_by_their_ids(tmp_path):
    home = Home(tmp_path)
    make_experiment(home, {"only": [0.5, 0.6]}, uid="exp-aaaaa", seeds=[1, 2])
    make_experiment(home, {"only": [0.7, 0.8]}, uid="exp-bbbbb", seeds=[1, 2])
    begin(home, uid="other-22222", name="other")
    with reading(home) as history:
        found = [history.find(uid) for uid in ("exp-aaaaa", "exp-bbbbb", "other")]
        table = compare(outcomes_of(history, found))
        alone = compare(outcomes_of(history, found[:1]))
    assert [(row.label, row.n) for row in table.rows] == [
        ("exp-aaaaa · only", 2),
        ("exp-bbbbb · only", 2),
        ("other · stage-0", 0),
    ]
    assert [row.label for row in alone.rows] == ["only"]


def test_recipes_differ_in_the_keys_that_differ():
    left = 'name = "a"\n[[stage]]\nname = "x"\ntrain = { lr = 1.0, steps = 5 }\nmethod = [{ kind = "lora", rank = 2 }]'
    right = (
        'name = "a"\n[[stage]]\nname = "x"\ntrain = { lr = 2.0, epochs = 1.0 }\nmethod = [{ kind = "lora", rank = 4 }]'
    )
    assert recipe_differences(left, right) == [
        ("stage.x.train.lr", 1.0, 2.0),
        ("stage.x.train.steps", 5, None),
        ("stage.x.method.0.rank", 2, 4),
        ("stage.x.train.epochs", None, 1.0),
    ]
    assert recipe_differences(left, left) == []
