"""The app's pure parts: nesting, changes in a line, bars, curves of several runs."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lmwb.core.history.blocks import Points
from lmwb.core.history.results import telling_figure
from lmwb.core.text import printable
from lmwb.tui import words
from lmwb.tui.deeds import split_changes
from lmwb.tui.pictures.bars import Bar, draw_bars, quantity
from lmwb.tui.pictures.overlay import RunCurves, bounds, mean_of, one_run, several_runs
from lmwb.tui.pictures.series import Series
from rich.cells import cell_len


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("", []),
        ("train.lr=1e-4", ["train.lr=1e-4"]),
        ("  a=1   b=2 ", ["a=1", "b=2"]),
        ("seeds=[0, 1] b=2", ["seeds=[0, 1]", "b=2"]),
        ('name="two words" b=2', ['name="two words"', "b=2"]),
        ('train={ lr = 1, betas = [0.9, 0.99] } b="]"', ["train={ lr = 1, betas = [0.9, 0.99] }", 'b="]"']),
        ("a=[1, 2", ["a=[1, 2"]),
        ("a=] b=1", ["a=]", "b=1"]),
    ],
)
def test_a_line_of_changes_is_split_at_spaces_outside_of_values(line: str, changes: list[str]) -> None:
    assert split_changes(line) == changes


@given(st.text())
def test_splitting_changes_loses_nothing_but_spaces(line: str) -> None:
    assert "".join("".join(split_changes(line)).split()) == "".join(line.split())


_TABLE = """{"metric": "METRIC", "lower_is_better": LOWER, "rows": [
    {"mean": 0.1, "deviation": null}, {"mean": 0.4, "deviation": 0.02}, {"mean": NaN, "deviation": null}]}"""


@pytest.mark.parametrize(
    ("summary", "name", "value"),
    [
        ('{"validation": {"loss": 1.0, "accuracy": 0.5}}', "accuracy", 0.5),
        ('{"validation": {"loss": 1.0, "f1": 0.2, "matthews": 0.3}}', "matthews", 0.3),
        ('{"validation": {"loss": 1.0, "perplexity": 2.7}, "test": {"accuracy": 1}}', "perplexity", 2.7),
        ('{"test": {"loss": 1.5}}', "loss", 1.5),
        (_TABLE.replace("METRIC", "test/f1").replace("LOWER", "false"), "f1", 0.4),
        (_TABLE.replace("METRIC", "test/loss").replace("LOWER", "true"), "loss", 0.1),
    ],
)  # fmt: skip
def test_the_figure_that_says_most_is_found(summary: str, name: str, value: float) -> None:
    figure = telling_figure(summary)
    assert figure is not None
    assert (figure.name, figure.value) == (name, value)


@pytest.mark.parametrize("summary", [None, "{}", "[]", '{"validation": {"loss": null}}', '{"validation": 3}'])
def test_results_without_figures_say_nothing(summary: str | None) -> None:
    assert telling_figure(summary) is None


@pytest.mark.parametrize(
    ("value", "deviation", "text"),
    [(0.862, 0.0118, "±.012"), (11.21, 0.34, "±0.3"), (231.0, 4.4, "±4"), (0.5, None, ""), (3e-5, 1e-6, "±1e-6")],
)
def test_a_deviation_has_as_many_decimals_as_its_mean(value: float, deviation: float | None, text: str) -> None:
    assert words.spread_of(value, deviation).replace("1.e-6", "1e-6") == text


# -- bars -----------------------------------------------------------------------------------------


def test_bars_end_where_their_values_are() -> None:
    drawn = str(draw_bars([Bar("a", 1.0, "1.0"), Bar("b", 0.5, "0.5", colour=1)], 40, "figure")).splitlines()
    long, short = (row.count("━") for row in drawn[1:3])
    assert abs(short / long - 0.5) < 0.05
    assert drawn[0] == "figure"
    assert drawn[1].endswith("1.0")


def test_an_error_bar_reaches_a_deviation_to_both_sides() -> None:
    row = str(draw_bars([Bar("a", 0.5, "", 0.25), Bar("b", 1.0)], 84)).splitlines()[1]
    left, middle, right = row.index("├"), row.rindex("•"), row.index("┤")
    assert abs((right - middle) - (middle - left)) <= 1
    assert abs((middle - left) / 80 - 0.25) < 0.03


def test_bars_that_differ_little_begin_near_the_shortest() -> None:
    drawn = str(draw_bars([Bar("a", 0.84), Bar("b", 0.86)], 60)).splitlines()
    assert drawn[2].count("━") > 1.5 * drawn[1].count("━")
    assert "0.8" in drawn[3]
    assert not drawn[3].split()[0].startswith("0.0")


def test_equal_factors_are_equal_lengths_on_a_logarithmic_axis() -> None:
    drawn = str(draw_bars([Bar("a", 1e2), Bar("b", 1e4), Bar("c", 1e6)], 60, log=True)).splitlines()
    lengths = [row.count("━") for row in drawn[1:4]]
    assert abs((lengths[2] - lengths[1]) - (lengths[1] - lengths[0])) <= 1


_NUMBERS = st.none() | st.floats()


@given(
    st.lists(st.tuples(st.text(max_size=30), _NUMBERS, st.none() | st.floats(min_value=0)), max_size=8),
    st.integers(0, 120), st.booleans(), st.booleans(),
)  # fmt: skip
@example([("", 1.0, None), ("", 5e-324, None)], 14, True, False)
@example([("⺀", None, None)], 4, False, False)
@example([("⺀⺀", None, None)], 5, False, False)
def test_whatever_the_bars_they_stay_within_their_room(rows, width, log, ascii_only) -> None:  # type: ignore[no-untyped-def]
    bars = [Bar(name, value, "7", deviation, colour) for colour, (name, value, deviation) in enumerate(rows)]
    grid = draw_bars(bars, width, "title", log=log, ascii_only=ascii_only)
    assert grid.characters.shape == (len(bars) + 2, width)
    for row in str(grid).splitlines():
        assert cell_len(row) <= width
        assert printable(row) == row


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (258, "258"), (4354, "4.35k"), (999_600, "1M"), (1_204_226, "1.2M"), (7e9, "7G")]
)
def test_counts_take_few_characters(value: float, text: str) -> None:
    assert quantity(value) == text


# -- curves of several runs -----------------------------------------------------------------------


def points(steps: list[int], values: list[float]) -> Points:
    return Points(np.array(steps), np.zeros(len(steps), np.int64), np.array(values, float))


def test_the_mean_is_taken_where_all_runs_have_measured() -> None:
    a, b = (Series(name, np.array(x, float), np.array(y)) for name, x, y in (
        ("a", [1, 2, 3], [1.0, 2.0, 3.0]), ("b", [2, 3, 4], [4.0, 5.0, 6.0])))  # fmt: skip
    mean = mean_of([a, b], "mean")
    assert mean.x.tolist() == [2, 3]
    assert mean.y.tolist() == [3.0, 4.0]
    assert len(mean_of([a, Series("c", np.array([9.0]), np.array([1.0]))], "mean")) == 0


def test_each_run_has_its_colour_and_validation_stands_before_training() -> None:
    curves = {"train/loss": points([1, 2], [2.0, 1.0]), "validation/loss": points([2], [1.5])}
    drawn = several_runs([RunCurves("a", 3, curves), RunCurves("b", 5, {"train/loss": points([1], [2.0])})], "loss", 0)
    assert [(one.name, one.colour, one.faint, one.y.tolist()) for one in drawn] == [
        ("a", 3, True, [2.0, 1.0]),
        ("a", 3, False, [1.5]),
        ("b", 5, False, [2.0]),
    ]


def test_the_best_of_validation_is_the_highest_accuracy_and_the_lowest_loss() -> None:
    for group, best in (("accuracy", "max"), ("matthews", "max"), ("loss", "min"), ("lr", None)):
        drawn = one_run({f"train/{group}": points([1], [1.0]), f"validation/{group}": points([1], [1.0])}, group, 0)
        assert [one.best for one in drawn] == [None, best]


def test_metrics_with_a_range_show_it() -> None:
    low = [Series("a", np.array([1.0]), np.array([-0.5]))]
    assert bounds("accuracy", []) == (0, 1)
    assert bounds("matthews", []) == (0, 1)
    assert bounds("matthews", low) == (-1, 1)
    assert bounds("loss", low) is None
