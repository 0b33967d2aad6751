"""Pictures: there is something in them, they are the same every time, and names in them are data."""

import subprocess
import sys
from typing import cast

import numpy as np
import pytest
from experiments import make_experiment
from lmwb.core import figures
from lmwb.core.comparison import Outcome, compare, outcomes_of
from lmwb.core.figures.progress import progress, with_confidence
from lmwb.core.figures.sparsity import kept_weights
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from PIL import Image
from small_history import reading

HEADS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "jpg": b"\xff\xd8"}


@pytest.fixture
def drawn(tmp_path):
    home = Home(tmp_path)
    make_experiment(
        home,
        {"full": [0.8, 0.9, 0.85, 0.8], "lora $x_1$ [/red] \x1b": [0.8, 0.7, 0.75, None]},
        trained={"lora $x_1$ [/red] \x1b": 300},
        curves=True,
        extra={
            "lora $x_1$ [/red] \x1b": {
                "spectrum": {"layers.0.query": [2.0, 1.0, 0.1], "layers.0.value": [1.0, 0.5, 0.0]}
            }
        },
    )
    with reading(home) as history:
        table = compare(outcomes_of(history, [history.find("exp")]))
        yield lambda: dict(figures.draw_all(history, table))


@pytest.mark.slow
def test_every_kind_is_drawn_in_every_format_and_is_the_same_again(drawn, tmp_path):
    first, second = drawn(), drawn()
    assert list(first) == [kind for kind in figures.KINDS if kind != "kept"]
    assert list(first) == ["curves", "metric", "parameters", "lr", "spectrum", "progress"]
    for name, picture in first.items():
        for suffix in figures.FORMATS:
            one, other = tmp_path / f"{name}.{suffix}", tmp_path / f"{name}-2.{suffix}"
            picture.save(one)
            second[name].save(other)
            assert one.read_bytes().startswith(HEADS[suffix])
            assert one.read_bytes() == other.read_bytes(), one
        colours = Image.open(tmp_path / f"{name}.png").convert("RGB").getcolors(2**24)
        assert len(colours) > 20  # axes, letters and colours, not a blank sheet


def test_what_is_not_there_is_not_drawn(tmp_path):
    home = Home(tmp_path)
    make_experiment(home, {"only": [0.5]}, seeds=[0])
    with reading(home) as history:
        table = compare(outcomes_of(history, [history.find("exp")]))
        assert [name for name, _ in figures.draw_all(history, table)] == ["metric", "parameters"]


def test_progress_is_drawn_with_the_confidence_of_its_seeds() -> None:
    curve = with_confidence([{0: 1.0, 5: 1.0}, {0: 1.0, 5: 2.0}, {0: 1.0, 5: 3.0, 9: 7.0}])
    assert curve.steps.tolist() == [0, 5, 9]
    assert curve.mean.tolist() == [1, 2, 7]
    # 4.30265 is the 97.5 % point of Student's t with two degrees of freedom; one curve alone tells nothing
    assert np.allclose(curve.deviation, [0, 4.30265 * 1 / np.sqrt(3), 0], atol=1e-5)


def test_differences_in_progress_pair_up_seeds(drawn, tmp_path) -> None:
    with reading(Home(tmp_path)) as history:
        comparison = compare(outcomes_of(history, [history.find("exp")]), "validation/accuracy")
        figure = progress(history, comparison)
    assert figure is not None
    levels, gaps = figure.axes
    full, lora = (line.get_ydata() for line in levels.lines)
    zero, gap = gaps.lines if len(gaps.lines[0].get_xdata()) == 2 else reversed(gaps.lines)
    assert set(zero.get_ydata()) == {0}
    assert len(gap.get_ydata()) == len(full) == len(lora)
    assert not np.allclose(gap.get_ydata(), lora - full)  # the seed that only one of them has is left out


def test_one_seed_has_no_picture_of_progress(tmp_path) -> None:
    home = Home(tmp_path)
    make_experiment(home, {"full": [0.5], "lora": [0.6]}, seeds=[0], curves=True)
    with reading(home) as history:
        assert progress(history, compare(outcomes_of(history, [history.find("exp")]))) is None


def test_another_process_draws_the_same_svg(drawn, tmp_path):
    drawn()["metric"].save(tmp_path / "here.svg")
    code = (
        "import sys; from pathlib import Path; from contextlib import closing\n"
        "from lmwb.core import figures; from lmwb.core.home import Home\n"
        "from lmwb.core.history.queries import History\n"
        "from lmwb.core.comparison import compare, outcomes_of\n"
        "with closing(History(Home(Path(sys.argv[1])))) as h:\n"
        "    picture = figures.draw('metric', h, compare(outcomes_of(h, [h.find('exp')])))\n"
        "    picture.save(Path(sys.argv[1]) / 'there.svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "here.svg").read_bytes() == (tmp_path / "there.svg").read_bytes()


def test_what_pruning_costs_is_drawn_against_what_is_kept_a_line_for_each_way() -> None:
    def outcome(way: str, kept: float | None, seed: int, value: float) -> Outcome:
        label = way if kept is None else f"{way} · keep={kept}"
        costs = {} if kept is None else {"kept": kept}
        return Outcome(label, seed, f"{label}-{seed}", "train", None, {"test/accuracy": value}, costs, way=way)

    made = [
        outcome(way, kept, seed, level + kept / 5 + seed / 100)
        for way, level in (("magnitude", 0.5), ("soft", 0.6))
        for kept in (0.03, 0.1, 0.5)
        for seed in (0, 1)
    ]
    comparison = compare([outcome("dense", None, 0, 0.86), *made], "test/accuracy")
    figure = kept_weights(cast("History", None), comparison)
    assert figure is not None
    (axes,) = figure.axes
    drawn = {str(lines.get_label()): lines.lines[0] for lines in axes.containers}
    assert set(drawn) == {"magnitude", "soft"}
    assert all(list(line.get_xdata()) == [3.0, 10.0, 50.0] for line in drawn.values())
    assert np.allclose(drawn["soft"].get_ydata(), [0.611, 0.625, 0.705])
    assert axes.get_legend_handles_labels()[1] == ["dense", "magnitude", "soft"]


def test_what_was_not_pruned_has_no_picture_of_it() -> None:
    outcomes = [Outcome("full", 0, "a-1", "train", None, {"test/accuracy": 0.8}, {})]
    assert kept_weights(cast("History", None), compare(outcomes, "test/accuracy")) is None
