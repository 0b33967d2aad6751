"""The table of actions is the only source of keys, help and palette, and agrees with the command line."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lmwb.tui
import pytest
from driving import home_screen, press, running_app, settle, shown
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.home import Home
from lmwb.tui.actions import ACTIONS, actions_of, bindings_of, shown_key
from lmwb.tui.app import LmwbApp
from lmwb.tui.cli import app as command_line
from lmwb.tui.screens.commands import CommandsScreen
from lmwb.tui.screens.compare import CompareScreen
from lmwb.tui.screens.confirm import Confirm
from lmwb.tui.screens.home import HomeScreen
from lmwb.tui.screens.influence import InfluenceScreen
from lmwb.tui.screens.lab import LabScreen
from lmwb.tui.screens.recipes import RecipesScreen
from make_history import HistoryMaker, Sketch
from textual.binding import Binding
from textual.dom import DOMNode

SCOPES = {
    "app": LmwbApp,
    "home": HomeScreen,
    "compare": CompareScreen,
    "recipes": RecipesScreen,
    "lab": LabScreen,
    "influence": InfluenceScreen,
    "commands": CommandsScreen,
    "confirm": Confirm,
}


def our_classes() -> Iterator[type[DOMNode]]:
    """Every app, screen and widget that lmwb defines."""
    for module in pkgutil.walk_packages(lmwb.tui.__path__, "lmwb.tui."):
        found = importlib.import_module(module.name)
        for thing in vars(found).values():
            if isinstance(thing, type) and issubclass(thing, DOMNode) and thing.__module__ == found.__name__:
                yield thing


def commands_of_the_command_line() -> set[str]:
    """The names of all commands, groups' commands as ``group command``."""
    names = {c.name or c.callback.__name__.replace("_", "-") for c in command_line.registered_commands if c.callback}
    for group in command_line.registered_groups:
        assert group.typer_instance is not None
        for c in group.typer_instance.registered_commands:
            assert c.callback is not None
            names.add(f"{group.name} {c.name or c.callback.__name__.replace('_', '-')}")
    return names


def test_every_binding_comes_from_the_table() -> None:
    of_scopes = {cls: {b.key for b in bindings_of(scope)} for scope, cls in SCOPES.items()}  # type: ignore[union-attr]
    for cls in our_classes():
        own = {b.key if isinstance(b, Binding) else b[0] for b in cls.__dict__.get("BINDINGS", ())}
        assert own == of_scopes.get(cls, set()), cls


@pytest.mark.parametrize("scope", SCOPES)
def test_every_action_has_a_method_on_its_screens(scope: str) -> None:
    for action in actions_of(scope):  # type: ignore[arg-type]
        assert callable(getattr(SCOPES[scope], f"action_{action.name}", None)), (scope, action.name)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_key_means_two_things_on_one_screen(scope: str) -> None:
    actions = {*actions_of(scope), *actions_of("app")}  # type: ignore[arg-type]
    assert [key for key, n in Counter(key for action in actions for key in action.keys).items() if n > 1] == []


def test_escape_is_never_the_only_way_out() -> None:
    for action in ACTIONS:
        if action.name in ("close", "no"):
            assert len(action.keys) > 1


def test_no_key_needs_a_terminal_that_knows_more_than_tmux() -> None:
    for action in ACTIONS:
        for key in action.keys:
            assert "ctrl+shift" not in key
            assert "alt+" not in key


def test_names_are_unique_and_words_are_sentences() -> None:
    assert [name for name, n in Counter(action.name for action in ACTIONS).items() if n > 1] == []
    for action in ACTIONS:
        assert action.words[0].isupper(), action.name
        assert not action.words.endswith("."), action.name


def test_each_headless_twin_exists() -> None:
    known = commands_of_the_command_line()
    for action in ACTIONS:
        if action.command:
            program, *words = action.command.split()
            name = " ".join(word for word in words if word.islower() and not word.startswith("-"))
            assert program == "lmwb"
            assert not name or name in known, f"{action.name}: {action.command}; there are {sorted(known)}"


async def test_the_help_screen_shows_every_action_and_its_keys(tmp_path: Path) -> None:
    async with running_app(Home(tmp_path), (120, 170)) as pilot:
        await press(pilot, "question_mark")
        text = shown(pilot)
        for action in (
            each for scope in ("home", "app", "compare", "recipes", "lab", "influence") for each in actions_of(scope)
        ):
            assert action.words in text
            assert " ".join(map(shown_key, action.keys)) in text
            assert action.command is None or action.command in text
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_the_palette_finds_commands_by_their_words_and_does_them(tmp_path: Path) -> None:
    async with running_app(Home(tmp_path)) as pilot:
        await press(pilot, "ctrl+p", *"light", "enter")
        assert isinstance(pilot.app.screen, HomeScreen)
        assert not home_screen(pilot).app.palette.dark
        await press(pilot, "ctrl+p", *"zzzz")
        assert "No command has these words" in shown(pilot)
        await press(pilot, "enter", "escape")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_the_footer_shows_what_fits_and_always_help_and_quit(tmp_path: Path) -> None:
    for width in (200, 80, 40, 20):
        async with running_app(Home(tmp_path), (width, 24)) as pilot:
            footer = shown(pilot).splitlines()[-1]
            assert "? keys" in footer
            assert "q quit" in footer


# -- what actions do to runs ----------------------------------------------------------------------


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[HistoryMaker]:
    """A run that goes on, and one that was stopped."""
    with HistoryMaker(Home(tmp_path / "home")) as made:
        made.add(Sketch("halted", 40, 20, "stopped", samples=False))
        made.add(Sketch("going", 40, 20, None, alive=True, samples=False))
        yield made


@pytest.mark.parametrize(("answer", "stopped"), [("y", ["going"]), ("n", []), ("escape", []), ("enter", ["going"])])
async def test_stopping_asks_first(
    maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch, answer: str, stopped: list[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runs, "stop", lambda run: asked.append(run.name))
    async with running_app(maker.home) as pilot:
        await press(pilot, "x")
        assert "Stop going?" in shown(pilot)
        await press(pilot, answer)
    assert asked == stopped


async def test_a_run_that_is_not_running_cannot_be_stopped(maker: HistoryMaker) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "end", "x")
        assert isinstance(pilot.app.screen, HomeScreen)
        assert "The selected run is not running." in shown(pilot)


async def test_resuming_goes_through_the_library(maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runs, "resume", lambda home, run: asked.append(run.name))
    async with running_app(maker.home) as pilot:
        await press(pilot, "end", "r")
        assert "halted goes on where it was." in shown(pilot)
    assert asked == ["halted"]


async def test_what_the_library_refuses_is_told_in_its_words(
    maker: HistoryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(home: Home, run: object) -> None:
        raise UsageError("run [/x] is [b]busy\x1b[2J; wait")

    monkeypatch.setattr(runs, "resume", refuse)
    async with running_app(maker.home) as pilot:
        await press(pilot, "r")
        assert "run [/x] is [b]busy␛[2J; wait" in shown(pilot)


async def test_without_runs_stop_and_resume_say_so(tmp_path: Path) -> None:
    async with running_app(Home(tmp_path)) as pilot:
        await press(pilot, "x")
        assert "There is no run to stop." in shown(pilot)
        await press(pilot, "r")
        assert "There is no run to resume." in shown(pilot)


GOOD = """\
name = "mine"
[model]
type = "gpt2"
[tokenizer]
kind = "bpe"
[data]
train = "text.txt"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a good recipe and a bad one."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "text.txt").write_text("Some text.\n" * 100)
    (here / "a-good.toml").write_text(GOOD)
    (here / "b-bad.toml").write_text(GOOD.replace("type", "tpye") + 'colour = "[/red]"\n')
    monkeypatch.chdir(here)
    return here


async def test_recipes_shipped_and_own_can_be_read(maker: HistoryMaker, folder: Path) -> None:
    async with running_app(maker.home) as pilot:
        await press(pilot, "n")
        text = shown(pilot)
        for expected in ("With lmwb", "quickstart", "In this folder", "a-good.toml", "b-bad.toml", 'name = "'):
            assert expected in text
        await press(pilot, "end", "up")
        assert 'name = "mine"' in shown(pilot)
        await press(pilot, "tab", "end", "pageup", "home", "tab", "q")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_a_bad_recipe_is_explained_and_nothing_starts(
    maker: HistoryMaker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "launch", lambda *_: pytest.fail("it must not start"))
    async with running_app(maker.home) as pilot:
        await press(pilot, "n", "end", "enter")
        text = shown(pilot).replace("│", "")
        assert "This recipe cannot be started:" in text
        assert "b-bad.toml:3:" in text
        assert "tpye" in text
        assert "colour" in text


async def test_a_started_run_is_selected_when_it_appears(
    maker: HistoryMaker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[str] = []

    def launch(home: Home, loaded: object) -> object:
        launched.append(loaded.recipe.name)  # type: ignore[attr-defined]
        uid = maker.add(Sketch("mine", 40, 0, None, alive=True, begun=False, samples=False))
        from lmwb.core.history.queries import History

        return History(home).find(uid)

    monkeypatch.setattr(runs, "launch", launch)
    async with running_app(maker.home) as pilot:
        await press(pilot, "n", "end", "up", "enter")
        await settle(pilot)
        selected = home_screen(pilot).runs.selected
        assert selected is not None
        assert selected.name == "mine"
    assert launched == ["mine"]


def test_the_apps_own_bindings_are_ours_alone() -> None:
    assert set(LmwbApp._merged_bindings.key_to_bindings) == {key for a in actions_of("app") for key in a.keys}  # type: ignore[union-attr]
