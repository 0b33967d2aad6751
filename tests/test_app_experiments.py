"""Runs with members, marks, stages and the compare screen, driven by keys on a real history."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import home_screen, look_again, press, running_app, settle, shown
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.home import Home
from lmwb.tui.screens.compare import CompareScreen
from lmwb.tui.screens.home import HomeScreen
from make_experiments import add_experiment
from make_history import HistoryMaker, Sketch


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A finished experiment, a sweep and an experiment that go on, and two runs of one name; tests only read it."""
    place = Home(tmp_path_factory.mktemp("experiments"))
    with HistoryMaker(place) as maker:
        maker.add(Sketch("stillborn", 40, 0, "failed", message="there is no such file", samples=False))
        maker.add(Sketch("alone", 40, 40, seed=1))
        maker.add(Sketch("twice", 40, 40, seed=2))
        maker.add(Sketch("twice", 40, 40, seed=3))
        add_experiment(maker, "transfer", over=4)
        add_experiment(maker, "sweep", ("lr 0.0001", "lr 0.0003", "lr 0.001"), over=1, going=1)
        add_experiment(maker, "strategies", over=2, going=1)
        yield place


def rows(text: str, width: int = 36) -> list[str]:
    """The list of runs as it is shown: words only."""
    lines = [line[1 : width - 1].strip("▌│ ") for line in text.splitlines()[2:-1]]
    return [" ".join(line.split()) for line in lines if line.split()]


async def find(pilot, words: str) -> None:  # type: ignore[no-untyped-def]
    """Select the first run with these words, and show all again."""
    await press(pilot, "slash", *("space" if letter == " " else letter for letter in words), "enter")
    await press(pilot, "escape")


async def test_the_members_of_a_run_that_goes_on_are_seen_at_once(home: Home) -> None:
    async with running_app(home) as pilot:
        assert rows(shown(pilot))[:6] == [
            "● ▾ strategies 2/4",
            "4 seeds · 1 running",
            "✓ seed 0 accuracy 0.838",
            "✓ seed 1 accuracy 0.837",
            "● seed 2 200/400",
            "loss 0.273 8.1/s 25 s left",
        ]


async def test_members_are_hidden_and_shown_by_keys_and_stay_as_they_were(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "space")
        assert rows(shown(pilot))[:4] == [
            "● ▸ strategies 2/4",
            "4 seeds · 1 running",
            "● ▸ sweep 1/3",
            "3 members · 1 running",
        ]
        await look_again(pilot)
        assert "seed 2" not in shown(pilot)
        await press(pilot, "right", "down", "left")
        selected = home_screen(pilot).runs.selected
        assert selected is not None
        assert (selected.name, selected.member) == ("strategies", None)
        assert "seed 2" not in shown(pilot)


async def test_a_finished_experiment_shows_its_best_mean_and_how_far_it_scatters(home: Home) -> None:
    async with running_app(home) as pilot:
        assert "✓ ▸ transfer acc 0.856 ±.010" in rows(shown(pilot))
    async with running_app(home, (80, 24)) as pilot:
        assert "✓ ▸ transfer 0.856 ±.010" in rows(shown(pilot), 30)


async def test_the_filter_finds_members_and_shows_them_under_their_run(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "slash", *"0.0003")
        assert rows(shown(pilot))[:3] == ["● ▾ sweep 1/3", "3 members · 1 running", "● lr 0.0003 200/400"]


async def test_runs_of_one_name_are_told_apart_by_the_ends_of_their_ids(home: Home) -> None:
    async with running_app(home) as pilot:
        found = [row for row in rows(shown(pilot)) if "twice" in row]
        assert len(found) == 2
        assert len(set(found)) == 2
        assert not any(len(row.split()) > 4 for row in rows(shown(pilot)) if "alone" in row)


async def test_a_run_with_members_shows_their_curves_and_the_mean_over_seeds(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "transfer")
        assert "mean of 4" in shown(pilot)
        await press(pilot, "v")
        assert "lora · accuracy" in shown(pilot)
        assert "1.0┤" in shown(pilot)
        await press(pilot, "y")
        assert "fitted y" in shown(pilot)
        assert "1.0┤" not in shown(pilot)


async def test_members_that_differ_in_more_than_seeds_have_no_mean(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "sweep")
        text = shown(pilot)
        assert "mean of" not in text
        assert "lr 0.0001" in text.splitlines()[2]
        assert "lr 0.0003" in text.splitlines()[2]


async def test_the_stage_can_be_chosen_and_stays_chosen_among_siblings(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "down")
        assert "lora · loss" in shown(pilot)
        assert "stage 5 of 5" in shown(pilot)
        await press(pilot, "right_square_bracket")
        assert "scratch · loss" in shown(pilot)
        await press(pilot, "down")
        assert "scratch · loss" in shown(pilot)
        await press(pilot, "left_square_bracket", "left_square_bracket")
        assert "adapters · loss" in shown(pilot)
        await find(pilot, "transfer")
        assert "adapters" not in shown(pilot)


async def test_a_run_with_one_stage_says_so(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "alone")
        await press(pilot, "right_square_bracket")
        assert "one stage only" in shown(pilot)


async def test_marked_runs_share_the_curves(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "alone")
        await press(pilot, "m")
        await find(pilot, "twice")
        await press(pilot, "m", "up", "up")
        assert "2 marked" in shown(pilot)
        legend = shown(pilot).splitlines()[2][36:]
        assert "• alone" in legend
        assert "▴ twice" in legend
        await press(pilot, "M")
        assert "marked" not in shown(pilot)
        assert "alone" not in shown(pilot).splitlines()[2][36:]


async def test_no_more_runs_are_marked_than_there_are_colours(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        for number in range(9):
            maker.add(Sketch(f"run {number}", 10, 10, samples=False))
    async with running_app(Home(tmp_path)) as pilot:
        await press(pilot, *["m", "down"] * 9)
        assert "8 runs are marked" in shown(pilot)
        assert len(home_screen(pilot).runs.marked) == 8


# -- the compare screen ---------------------------------------------------------------------------


async def test_the_compare_screen_shows_table_bars_and_curves(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "transfer")
        await press(pilot, "c")
        text = shown(pilot)
        for expected in (
            "test/accuracy", "0.803 ± 0.007", "baseline", "<.001", "258 (0.0214 %)", "weights trained", "33.3k",
            "validation/accuracy", "mean ± standard deviation over n seeds",
        ):  # fmt: skip
            assert expected in text, expected
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_metric_and_baseline_of_a_comparison_can_be_changed(home: Home) -> None:
    async with running_app(home) as pilot:
        await find(pilot, "transfer")
        await press(pilot, "c", "b")
        full = next(line for line in shown(pilot).splitlines() if "▴ full" in line)
        assert "baseline" in full
        assert "--baseline full" in shown(pilot)
        await press(pilot, "v")
        assert "--metric validation/loss" in shown(pilot)
        assert "less is better" in shown(pilot)


async def test_one_seed_is_called_one_seed(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "down", "c")
        assert "one seed" in shown(pilot)
        assert "of one seed each" in shown(pilot)


async def test_a_comparison_of_nothing_says_why(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "slash", *"stillborn", "enter", "c")
        assert isinstance(pilot.app.screen, CompareScreen)
        assert "there is nothing to compare" in shown(pilot)
        await press(pilot, "v", "b", "escape")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_drawing_is_left_to_the_command_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def drawn(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(words)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", drawn)
    async with running_app(home) as pilot:
        await find(pilot, "transfer")
        await press(pilot, "c", "w")
        assert "The pictures are in" in shown(pilot)
    assert commands[0][commands[0].index("compare") :][0:2] == ["compare", "transfer-440xy"]
    assert commands[0][-2] == "--figures"
    assert commands[0][-1].endswith("transfer-440xy/compare")


async def test_the_comparison_of_a_running_experiment_follows_it(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        add_experiment(maker, "growing", over=1, going=1)
        async with running_app(Home(tmp_path)) as pilot:
            await press(pilot, "c")
            assert "one seed" in shown(pilot)
            screen = pilot.app.screen
            assert isinstance(screen, CompareScreen)
            row = maker.connection.execute("SELECT id FROM run WHERE member = 'seed 1'").fetchone()
            first = maker.connection.execute(
                "SELECT summary FROM stage WHERE name = 'scratch' AND summary IS NOT NULL"
            ).fetchone()
            maker.connection.execute(
                "UPDATE stage SET outcome = 'finished', summary = ? WHERE run_id = ? AND name = 'full'",
                (first[0], row[0]),
            )
            maker.kill("growing-411xy-2")
            await look_again(pilot)
            screen._look()
            await settle(pilot)
            assert "full: seed 1 has died" not in shown(pilot)
            assert "seed 1 has died" in shown(pilot)


# -- recipes --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with one recipe."""
    (tmp_path / "text.txt").write_text("Some text.\n" * 100)
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[model]\ntype = "gpt2"\n[tokenizer]\nkind = "bpe"\n[data]\ntrain = "text.txt"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_recipe_is_changed_before_it_is_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[object] = []

    def launch(home: Home, loaded: object) -> object:
        launched.append(loaded)
        raise UsageError("enough")

    monkeypatch.setattr(runs, "launch", launch)
    async with running_app(Home(folder / "home")) as pilot:
        await press(pilot, "n", "end", "e", *"train.lr=2e-4", "space", *"seeds=[0,", "space", *"1]", "enter")
        assert "lmwb run own.toml --set train.lr=2e-4 --set 'seeds=[0, 1]'" in shown(pilot)
        await press(pilot, "enter")
        assert "enough" in shown(pilot)
    recipe = launched[0].recipe  # type: ignore[attr-defined]
    assert recipe.seeds == [0, 1]
    assert recipe.stage[0].train.lr == 2e-4


async def test_wrong_changes_are_explained_and_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "launch", lambda *_: pytest.fail("it must not start"))
    async with running_app(Home(folder / "home")) as pilot:
        await press(pilot, "n", "end", "e", *"train.rl=2", "enter", "enter")
        assert "This recipe cannot be started:" in shown(pilot)
        assert "--set train.rl=2: unknown key 'rl'" in shown(pilot)
        await press(pilot, "e")
        assert "train.rl=2" in shown(pilot).splitlines()[-1]
        await press(pilot, "escape")
        assert not isinstance(pilot.app.screen, HomeScreen)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_a_recipe_can_be_made_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[object] = []
    monkeypatch.setattr(runs, "launch", lambda home, loaded: launched.append(loaded) or _refuse())
    async with running_app(Home(folder / "home")) as pilot:
        await press(pilot, "n", "end", "s")
        assert "lmwb run own.toml --smoke" in shown(pilot)
        await press(pilot, "enter")
    assert launched[0].notes  # type: ignore[attr-defined]


def _refuse() -> None:
    raise UsageError("enough")
