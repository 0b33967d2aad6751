"""The home screen, driven by keys, on a real history."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from driving import home_screen, look_again, press, running_app, settle, shown
from lmwb.core.home import Home
from lmwb.tui.app import LmwbApp
from lmwb.tui.watcher import Request, Seen, Watcher
from make_history import HistoryMaker, Sketch, make_every_state


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A run in every state; tests only read it."""
    place = Home(tmp_path_factory.mktemp("states"))
    with make_every_state(place):
        yield place


@pytest.fixture
def small(tmp_path: Path) -> Iterator[HistoryMaker]:
    """A home with two runs that a test may change."""
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("older", 40, 40, samples=False))
        maker.add(Sketch("newer", 40, 20, None, alive=True, samples=False))
        yield maker


async def test_every_state_has_its_glyph_and_the_newest_run_comes_first(home: Home) -> None:
    async with running_app(home) as pilot:
        lines = [line[1:35].strip() for line in shown(pilot).splitlines()[2:]]
    firsts = [" ".join(line.strip("▌│ ").split()) for line in lines]
    assert firsts[:16] == [
        "● quickstart 412/800",
        "loss 2.37 8.1/s 48 s left",
        "◌ warming up",
        "starting …",
        "● lora · seed 1 90/400",
        "loss 3.35 0.40/s 13 min left",
        "○ remote sweep 200/800",
        "on gpu-box-7",
        "✗ glove baseline 40/600",
        "failed: train/loss is not fin…",
        "✓ full · seed 0 perplexity 11.2",
        "■ lora · rank 4 180/400",
        "✓ strategies perplexity 11.2",
        "† probe · seed 0 312/800",
        "died: killed by SIGKILL: out …",
        "",
    ]


async def test_the_title_counts_runs(home: Home) -> None:
    async with running_app(home) as pilot:
        assert "4 running · 9 runs" in shown(pilot)


async def test_the_selection_moves_and_everything_follows(home: Home) -> None:
    async with running_app(home) as pilot:
        assert "validation 2.432" in shown(pilot)
        await press(pilot, "end")
        selected = home_screen(pilot).runs.selected
        assert selected is not None
        assert selected.name == "probe · seed 0"
        assert "died: killed by SIGKILL: out of memory?" in shown(pilot)
        assert "step   300/800" in shown(pilot)
        await press(pilot, "up", "k")
        selected = home_screen(pilot).runs.selected
        assert selected is not None
        assert selected.name == "lora · rank 4"


async def test_a_gap_in_a_curve_is_marked(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "/", *"rank", "enter")
        curves = "\n".join(line[36:] for line in shown(pilot).splitlines()[1:17])
        assert "✗" in curves


async def test_the_filter_shows_runs_with_all_words_and_escape_drops_it(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "slash", *"lora stopped")
        assert "1 of 9" in shown(pilot)
        await press(pilot, "enter")
        assert "/lora stopped" in shown(pilot)
        assert "quickstart" not in shown(pilot)
        await press(pilot, "escape")
        assert "quickstart" in shown(pilot)


async def test_after_typing_a_filter_the_list_looks_focused(home: Home) -> None:
    async with running_app(home, (80, 24)) as pilot:
        await press(pilot, "slash", *"full", "enter")
        pane = home_screen(pilot).runs
        assert pane.has_focus
        assert pane.render_line(0)._segments[0].style.color == pane.palette.accent.color  # type: ignore[union-attr]


async def test_a_filter_that_matches_nothing_says_how_to_get_back(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "slash", *"zzz")
        assert "No run has these words" in shown(pilot)
        assert "no measurements yet" in shown(pilot)
        await press(pilot, "escape")
        assert "quickstart" in shown(pilot)


async def test_a_key_cycles_through_the_metrics_and_back(home: Home) -> None:
    async with running_app(home) as pilot:
        seen = []
        for key in ("v", "v", "v", "v", "v", "V"):
            await press(pilot, key)
            seen.append(shown(pilot).splitlines()[2][37:].split()[0])
    assert seen == ["perplexity", "lr", "gradient", "tokens", "loss", "tokens"]


async def test_curves_can_be_smoothed_scaled_and_zoomed(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "s", "y", "plus")
        assert "smooth 0.6 · log y · zoomed" in shown(pilot)
        await press(pilot, "0", "y", "s", "s", "s")
        assert "smooth" not in shown(pilot)
        assert "log y" not in shown(pilot)


async def test_two_charts_stand_side_by_side_where_there_is_room(home: Home) -> None:
    async with running_app(home, (200, 50)) as pilot:
        first = shown(pilot).splitlines()[2]
        assert "loss" in first[52:]
        assert "perplexity" in first[52:]


async def test_earlier_samplings_are_one_key_away_and_curves_mark_the_step(home: Home) -> None:
    async with running_app(home) as pilot:
        assert "step 400  latest" in shown(pilot)
        await press(pilot, "comma", "comma")
        assert "step 200  of 400" in shown(pilot)
        assert home_screen(pilot).request.step == 200
        assert "validation 2.801" in shown(pilot)  # the curves' legend tells the values there
        await press(pilot, "full_stop")
        assert "step 300  of 400" in shown(pilot)
        await press(pilot, "full_stop")
        assert "step 400  latest" in shown(pilot)
        assert home_screen(pilot).request.step is None


async def test_before_the_first_sampling_there_is_no_earlier_one(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, *["comma"] * 6)
        assert "step 100  of 400" in shown(pilot)


async def test_moving_along_the_curves_moves_through_the_samples(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "2", "left", *["left"] * 10)
        step = home_screen(pilot).request.step
        assert step is not None
        assert 200 < step < 400
        assert f"step {step // 100 * 100}  of 400" in shown(pilot)
        await press(pilot, "escape")
        assert home_screen(pilot).request.step is None


async def test_prompts_take_turns(home: Home) -> None:
    async with running_app(home) as pilot:
        assert "The with statement" in shown(pilot)
        await press(pilot, "p")
        assert "prompt 2 of 3" in shown(pilot)
        assert "A generator is" in shown(pilot)
        await press(pilot, "p", "p")
        assert "prompt 1 of 3" in shown(pilot)


async def test_the_token_at_the_cursor_is_explained(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "3")
        trace = home_screen(pilot).app.seen.detail.trace  # type: ignore[union-attr]
        assert trace is not None
        at = trace.prompt_length
        assert f"rank {trace.rank[at]}  entropy {trace.entropy[at]:.1f} bit" in shown(pilot)
        await press(pilot, "right")
        assert f"rank {trace.rank[at + 1]}  entropy {trace.entropy[at + 1]:.1f} bit" in shown(pilot)
        likeliest = trace.piece(int(trace.alternative_ids[at + 1, 0])).strip()
        assert likeliest in shown(pilot).splitlines()[-11]


async def test_colours_can_mean_other_things(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "o")
        assert "surprisal" in shown(pilot)
        await press(pilot, "o", "o")
        assert "surprisal" not in shown(pilot)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("4", "validation loss 2.432   checkpoint kept"),
        ("5", "validation perplexity 11.4"),
        ("6", 'schedule = "cosine"'),
        ("7", "3.4 MB  best"),
    ],
)
@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_each_tab_has_a_key(home: Home, key: str, text: str, size: tuple[int, int]) -> None:
    async with running_app(home, size) as pilot:
        await press(pilot, key, "z", "end")
        assert text in shown(pilot)


async def test_arrows_switch_between_tabs(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "4", "right")
        assert home_screen(pilot).focused_pane.title == "Events"
        await press(pilot, "left", "left")
        assert home_screen(pilot).focused_pane.title == "Details"


async def test_tab_walks_over_the_panes_on_the_screen(home: Home) -> None:
    async with running_app(home) as pilot:
        titles = []
        for _ in range(5):
            titles.append(home_screen(pilot).focused_pane.title)
            await press(pilot, "tab")
        assert titles == ["Runs", "Curves", "Tokens", "Log", "Runs"]
        await press(pilot, "shift+tab")
        assert home_screen(pilot).focused_pane.title == "Runs"


async def test_a_pane_can_have_the_whole_screen(home: Home) -> None:
    async with running_app(home) as pilot:
        await press(pilot, "3", "z")
        assert "quickstart" not in shown(pilot)
        assert "prompt 1 of 3" in shown(pilot)
        await press(pilot, "escape")
        assert "quickstart" in shown(pilot)


async def test_light_and_dark(home: Home) -> None:
    async with running_app(home) as pilot:
        text, app = shown(pilot), home_screen(pilot).app
        await press(pilot, "T")
        assert not app.palette.dark
        assert shown(pilot) == text
        await press(pilot, "T")
        assert app.palette.dark


@pytest.mark.parametrize("size", [(80, 24), (60, 13), (40, 12), (20, 6), (12, 5), (5, 2), (1, 1)])
async def test_any_size_is_survived(home: Home, size: tuple[int, int]) -> None:
    async with running_app(home, size) as pilot:
        for key in ("down", "3", "right", "z", "v", "7", "end", "z", "tab", "1"):
            await press(pilot, key)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        assert "quickstart" in shown(pilot)


async def test_without_runs_the_screen_says_how_to_start_one(tmp_path: Path) -> None:
    async with running_app(Home(tmp_path / "new")) as pilot:
        assert "No runs yet. Press n" in shown(pilot)
        await press(pilot, "down", "comma", "p", "v", "3", "right", "2", "left", "7")  # nothing to act on


async def test_a_run_whose_process_is_killed_is_shown_as_died(small: HistoryMaker) -> None:
    async with running_app(small.home) as pilot:
        assert "● newer" in shown(pilot)
        small.kill(next(iter(small.lock_of)))
        await look_again(pilot)
        assert "† newer" in shown(pilot)
        assert "died: its process is gone without a word" in shown(pilot)


async def test_dead_processes_are_noticed_without_anyone_asking(
    small: HistoryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmwb.tui.watcher.LIST_SECONDS", 0.0)
    async with running_app(small.home) as pilot:
        small.kill(next(iter(small.lock_of)))
        until = time.monotonic() + 30
        while "† newer" not in shown(pilot) and time.monotonic() < until:
            await pilot.pause(0.05)
        assert "† newer" in shown(pilot)


async def test_a_new_run_appears_above_and_the_selection_stays(small: HistoryMaker) -> None:
    async with running_app(small.home) as pilot:
        small.add(Sketch("newest", 40, 40, samples=False))
        await look_again(pilot)
        lines = shown(pilot).splitlines()
        assert "newest" in lines[2]
        selected = home_screen(pilot).runs.selected
        assert selected is not None
        assert selected.name == "newer"


async def test_a_log_is_followed_unless_the_user_scrolled_away(small: HistoryMaker) -> None:
    async with running_app(small.home) as pilot:
        run = home_screen(pilot).runs.selected
        assert run is not None
        log = run.folder / "log.txt"
        log.write_text("".join(f"line {i}\n" for i in range(100)))
        await look_again(pilot)
        assert "line 99" in shown(pilot)
        await press(pilot, "4", "pageup")
        log.write_text("".join(f"line {i}\n" for i in range(101)))
        await look_again(pilot)
        assert "line 100" not in shown(pilot)
        await press(pilot, "end")
        assert "line 100" in shown(pilot)
        log.write_text("".join(f"line {i}\n" for i in range(102)))
        await look_again(pilot)
        assert "line 101" in shown(pilot)


async def test_a_damaged_sample_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("hurt", 40, 40))
        maker.connection.execute("UPDATE sample SET tokens = x'00'")
        async with running_app(maker.home) as pilot:
            await press(pilot, "3")
            assert "a recorded sample is damaged" in shown(pilot)
            assert "validation" in shown(pilot)


async def test_damaged_points_are_counted_and_the_others_are_drawn(tmp_path: Path) -> None:
    with HistoryMaker(Home(tmp_path)) as maker:
        maker.add(Sketch("hurt", 40, 40, samples=False))
        maker.connection.execute("UPDATE block SET data = zeroblob(9) WHERE n = 40")
        async with running_app(maker.home) as pilot:
            assert "40 damaged points left out" in shown(pilot)
            assert "validation" in shown(pilot)


async def test_an_unreadable_history_is_told_in_the_title(small: HistoryMaker) -> None:
    async with running_app(small.home) as pilot:
        small.connection.execute("DROP TABLE beat")
        await look_again(pilot)
        assert "cannot read the history" in shown(pilot)


async def test_leaving_while_the_history_is_being_read_is_no_error(
    small: HistoryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, gone = threading.Event(), threading.Event()
    look = Watcher.look

    def slow_look(watcher: Watcher, request: Request, at_once: bool = False) -> Seen:
        reading.set()
        gone.wait(20)
        return replace(look(watcher, request, at_once))

    async def unmounted(app: LmwbApp) -> None:
        gone.set()  # the answer comes when there is no screen any more
        while any(worker.is_running for worker in app.workers):
            await asyncio.sleep(0.01)

    async with running_app(small.home) as pilot:
        monkeypatch.setattr(Watcher, "look", slow_look)
        monkeypatch.setattr(LmwbApp, "on_unmount", unmounted, raising=False)
        home_screen(pilot).app.ask(Request(), at_once=True)
        await asyncio.to_thread(reading.wait, 20)
        monkeypatch.setattr(pilot.app.workers, "cancel_all", lambda: None)  # asyncio sometimes loses a cancellation
        pilot.app.exit()
    assert pilot.app.return_code == 0
