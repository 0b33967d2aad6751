"""The one table of what can be done in the app.

Keys, footer, help screen and command palette are all made from `ACTIONS`. Each action is carried out by the
method ``action_<name>`` of the app or of the screens it belongs to, and names the headless command that
does the same, if there is one.
"""

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Scope = Literal["app", "home", "compare", "recipes", "lab", "influence", "commands", "confirm"]
"""Where an action's keys work: everywhere, or on one screen."""


@dataclass(frozen=True)
class Action:
    """Something the user can do.

    Attributes:
        name: the method that does it is called ``action_<name>``.
        keys: Textual's names of the keys, the one to advertise first.
        label: a word or two, for the footer, where neighbours with one label share it.
        words: a sentence, for help and palette.
        group: the heading it stands under.
        scopes: the screens it belongs to.
        command: how to do the same from a shell; capitals stand for what to fill in.
        footer: show it in the footer.
    """

    name: str
    keys: tuple[str, ...]
    label: str
    words: str
    group: str
    scopes: tuple[Scope, ...]
    command: str | None = None
    footer: bool = False


_LISTS: tuple[Scope, ...] = ("home", "compare", "recipes", "lab", "influence", "commands")
_HOME: tuple[Scope, ...] = ("home",)
_LAB: tuple[Scope, ...] = ("lab",)
_ASKING: tuple[Scope, ...] = ("home", "lab")
_BOARDS: tuple[Scope, ...] = ("home", "lab", "influence")
_ANSWER: tuple[Scope, ...] = ("influence",)
_CHARTS: tuple[Scope, ...] = ("home", "compare")
_FROM = "Where from"

ACTIONS: tuple[Action, ...] = (
    # runs
    Action("new", ("n",), "new", "Start a run from a recipe", "Runs", _HOME, "lmwb run RECIPE", footer=True),
    Action("stop", ("x",), "stop", "Stop the selected run, with a checkpoint", "Runs", _HOME, "lmwb stop RUN", True),
    Action("resume", ("r",), "resume", "Go on with the selected run", "Runs", _HOME, "lmwb resume RUN", footer=True),
    Action(
        "filter",
        ("/",),
        "filter",
        "Show only runs with these words in name, id or state",
        "Runs",
        _HOME,
        "lmwb runs",
        True,
    ),
    Action("fold", ("space", "enter"), "members", "Show or hide the members of a run", "Runs", _HOME, "lmwb show RUN"),
    Action("mark", ("m",), "mark", "Mark the selected run, or take its mark away", "Runs", _HOME, footer=True),
    Action("unmark", ("M",), "no marks", "Take all marks away", "Runs", _HOME),
    Action(
        "compare",
        ("c",),
        "compare",
        "Compare the marked runs, or the stages of the selected one",
        "Runs",
        _HOME,
        "lmwb compare RUN",
        footer=True,
    ),
    # pictures
    Action("next_metric", ("v",), "metric", "Next metric", "Curves", _CHARTS, "lmwb metrics RUN", footer=True),
    Action("previous_metric", ("V",), "metric", "Previous metric", "Curves", _CHARTS),
    Action("next_stage", ("right_square_bracket",), "stage", "The next stage", "Curves", _HOME, "lmwb show RUN"),
    Action("previous_stage", ("left_square_bracket",), "stage", "The stage before", "Curves", _HOME),
    Action(
        "log_scale", ("y",), "log y", "Logarithmic or plain y axis; fitted or whole range", "Curves", (*_CHARTS, "lab")
    ),
    Action("smooth", ("s",), "smooth", "More smoothing, then none again", "Curves", _HOME),
    Action("zoom_in", ("plus", "equals_sign"), "closer", "Half of the x axis", "Curves", _HOME),
    Action("zoom_out", ("minus",), "farther", "Twice as much of the x axis", "Curves", _HOME),
    Action("zoom_reset", ("0",), "all", "All of the x axis", "Curves", _HOME),
    Action("pan_left", ("left_parenthesis",), "back", "Back along the x axis", "Curves", _HOME),
    Action("pan_right", ("right_parenthesis",), "on", "On along the x axis", "Curves", _HOME),
    Action(
        "earlier_sample",
        ("comma", "less_than_sign"),
        "sampling",
        "What the model said one sampling earlier",
        "Tokens",
        _HOME,
        "lmwb sample RUN",
        footer=True,
    ),
    Action(
        "later_sample",
        ("full_stop", "greater_than_sign"),
        "sampling",
        "What the model said one sampling later",
        "Tokens",
        _HOME,
        "lmwb sample RUN",
        footer=True,
    ),
    Action("next_prompt", ("p",), "prompt", "The next of the recipe's prompts", "Tokens", _HOME, footer=True),
    Action("now", ("backspace",), "latest", "Back to the latest step", "Tokens", _HOME),
    Action("scale", ("o",), "colours", "Colours by probability, surprisal, rank, or difference", "Tokens", _ASKING),
    Action(
        "lab",
        ("l",),
        "lab",
        "Let the run's model go on from the sample's prompt",
        "Tokens",
        _HOME,
        "lmwb generate RUN PROMPT",
        footer=True,
    ),
    # lab
    Action("edit", ("e",), "prompt", "Edit the prompt", "Lab", _LAB, "lmwb generate MODEL PROMPT", footer=True),
    Action("go", ("enter",), "go on", "Go on from the token or candidate at the cursor", "Lab", _LAB, footer=True),
    Action("undo", ("backspace",), "undo", "Back to the branch before", "Lab", _LAB, footer=True),
    Action("speak", ("r",), "again", "Let the model speak again, with the present settings", "Lab", _LAB),
    Action("settings", ("s",), "settings", "Go to the settings; arrow keys change them", "Lab", _LAB, footer=True),
    Action("all_settings", ("S",), "all", "All settings, each with its explanation, or back", "Lab", _LAB, footer=True),
    Action(
        "alternative", ("a",), "choose", "Choose an alternative to the token at the cursor", "Lab", _LAB, footer=True
    ),
    Action("previous_alternative", ("A",), "choose", "Choose the alternative before", "Lab", _LAB),
    Action("previous_text", ("comma", "less_than_sign"), "text", "The text before", "Lab", _LAB, footer=True),
    Action("next_text", ("full_stop", "greater_than_sign"), "text", "The next text", "Lab", _LAB, footer=True),
    Action(
        "sizes",
        ("b",),
        "beams",
        "Other numbers of beams, too",
        "Lab",
        _LAB,
        "lmwb generate MODEL PROMPT --beams 1,5 --plot",
        footer=True,
    ),
    Action(
        "other_model",
        ("m",),
        "beside",
        "A second model beside, or none",
        "Lab",
        _LAB,
        "lmwb generate MODEL PROMPT --compare MODEL",
        footer=True,
    ),
    Action(
        "first_model", ("M",), "model", "Name another model: a run, a checkpoint, a folder, a hub name", "Lab", _LAB
    ),
    Action(
        "score",
        ("t",),
        "score",
        "Colour the prompt by what the model thinks of it",
        "Lab",
        _LAB,
        "lmwb score MODEL TEXT",
    ),
    Action(
        "difference",
        ("d",),
        "difference",
        "How the second model differs",
        "Lab",
        _LAB,
        "lmwb score MODEL TEXT --compare MODEL",
        footer=True,
    ),
    Action("cancel", ("x",), "stop", "Stop speaking", "Lab", _LAB),
    Action("show_command", ("c",), "command", "Show the whole command that does the same", "Lab", _LAB),
    # where from
    Action("span", ("f",), "span", "Begin a span at the token, end it there, or begin anew", _FROM, _ASKING),
    Action(
        "where_from",
        ("w",),
        "from",
        "Find the rows a text comes from, or see them",
        _FROM,
        _ASKING,
        "lmwb influence RUN --text TEXT",
        footer=True,
    ),
    Action(
        "where_from_with",
        ("W",),
        "from",
        "The same with other settings",
        _FROM,
        _ASKING,
        "lmwb influence RUN --text TEXT --set KEY=VALUE",
    ),
    Action("see_batch", ("enter",), "batch", "Go to the batch and step that saw the row", _FROM, _ANSWER, None, True),
    Action("other_end", ("b",), "lowest", "Rows with the lowest scores, or the highest", _FROM, _ANSWER, None, True),
    Action(
        "next_strategy",
        ("s",),
        "strategy",
        "What another strategy says",
        _FROM,
        _ANSWER,
        "lmwb inspect RUN --strategy NAME",
        True,
    ),
    Action("previous_query", ("comma", "less_than_sign"), "query", "The query before", _FROM, _ANSWER, None, True),
    Action(
        "next_query",
        ("full_stop", "greater_than_sign"),
        "query",
        "The next query",
        _FROM,
        _ANSWER,
        "lmwb inspect RUN --query NUMBER",
        True,
    ),
    Action("later_time", ("n",), "times", "The next time that the training saw the row", _FROM, _ANSWER, None, True),
    Action("earlier_time", ("p",), "times", "The time before", _FROM, _ANSWER, None, True),
    Action(
        "see_run", ("h",), "run", "Show the step in the curves of the training", _FROM, _ANSWER, "lmwb show RUN", True
    ),
    Action("stop_asking", ("x",), "stop", "Stop the work on the answer", _FROM, _ANSWER, "lmwb stop RUN", True),
    Action("resume_asking", ("r",), "resume", "Let it go on", _FROM, _ANSWER, "lmwb resume RUN"),
    # moving
    Action("move_up", ("up", "k"), "up", "Up in the focused pane", "Moving", _LISTS),
    Action("move_down", ("down", "j"), "down", "Down in the focused pane", "Moving", _LISTS),
    Action("move_left", ("left",), "left", "Left: marked step, token, tab; hide members", "Moving", _BOARDS),
    Action("move_right", ("right",), "right", "Right: marked step, token, tab; show members", "Moving", _BOARDS),
    Action("page_up", ("pageup", "ctrl+b"), "page up", "A page up", "Moving", _LISTS),
    Action("page_down", ("pagedown", "ctrl+f"), "page down", "A page down", "Moving", _LISTS),
    Action("move_first", ("home", "g"), "first", "To the beginning", "Moving", _LISTS),
    Action("move_last", ("end", "G"), "last", "To the end", "Moving", _LISTS),
    Action(
        "next_pane", ("tab",), "next pane", "Go to the next pane", "Moving", ("home", "recipes", "lab", "influence")
    ),
    Action(
        "previous_pane",
        ("shift+tab",),
        "previous pane",
        "Go to the previous pane",
        "Moving",
        ("home", "recipes", "lab", "influence"),
    ),
    Action("zoom", ("z",), "zoom", "Give the focused pane the whole screen, or take it back", "Moving", _BOARDS),
    # panes
    Action("pane_runs", ("1",), "runs", "Go to the runs", "Panes", _HOME, "lmwb runs"),
    Action("pane_curves", ("2",), "curves", "Go to the curves", "Panes", _HOME, "lmwb metrics RUN"),
    Action("pane_tokens", ("3",), "tokens", "Go to the samples, token by token", "Panes", _HOME, "lmwb sample RUN"),
    Action("pane_log", ("4",), "log", "Go to what the run printed", "Panes", _HOME, "lmwb logs RUN"),
    Action("pane_events", ("5",), "events", "Go to what happened", "Panes", _HOME, "lmwb show RUN"),
    Action("pane_recipe", ("6",), "recipe", "Go to the run's recipe", "Panes", _HOME, "lmwb show RUN"),
    Action(
        "pane_details",
        ("7",),
        "details",
        "Go to results, checkpoints, environment, paths",
        "Panes",
        _HOME,
        "lmwb show RUN",
    ),
    Action("pane_text", ("1",), "text", "Go to the text", "Panes", _LAB),
    Action(
        "pane_tree", ("2",), "tree", "Go to the tree of the search", "Panes", _LAB, "lmwb generate MODEL PROMPT --tree"
    ),
    Action("pane_steps", ("3",), "steps", "Go to the probabilities of the steps", "Panes", _LAB),
    Action("pane_beside", ("4",), "beside", "Go to the second model's text", "Panes", _LAB),
    Action("pane_rows", ("1",), "rows", "Go to the rows", "Panes", _ANSWER, "lmwb inspect RUN"),
    Action("pane_asked", ("2",), "asked", "Go to what is asked about", "Panes", _ANSWER),
    Action("pane_row", ("3",), "row", "Go to the row's tokens", "Panes", _ANSWER),
    Action("pane_batch", ("4",), "batch", "Go to the batch that saw the row", "Panes", _ANSWER),
    Action("pane_profile", ("5",), "profile", "Go to what the work took, and its notes", "Panes", _ANSWER),
    # compare
    Action(
        "write_figures",
        ("w",),
        "pictures",
        "Draw the comparison into the run's folder",
        "Compare",
        ("compare",),
        "lmwb compare RUN --figures FOLDER",
        footer=True,
    ),
    Action("baseline", ("b",), "baseline", "Take differences to the next row", "Compare", ("compare",), None, True),
    # recipes
    Action(
        "launch",
        ("enter",),
        "start",
        "Start a run with the selected recipe",
        "Recipes",
        ("recipes",),
        "lmwb run RECIPE",
        True,
    ),
    Action(
        "change",
        ("e",),
        "change",
        "Change the recipe's values before it is started",
        "Recipes",
        ("recipes",),
        "lmwb run RECIPE --set KEY=VALUE",
        True,
    ),
    Action(
        "smoke",
        ("s",),
        "small",
        "Make the recipe small, to try it within a minute",
        "Recipes",
        ("recipes",),
        "lmwb run RECIPE --smoke",
        True,
    ),
    # the app
    Action("choose", ("enter",), "do it", "Do what is selected", "lmwb", ("commands",), footer=True),
    Action("yes", ("y", "enter"), "yes", "Yes", "lmwb", ("confirm",)),
    Action("no", ("n", "q", "escape"), "no", "No", "lmwb", ("confirm",)),
    Action("theme", ("T",), "theme", "Light or dark", "lmwb", _HOME),
    Action("back", ("escape",), "back", "One step back: zoom, filter", "lmwb", _HOME),
    Action(
        "close",
        ("q", "escape"),
        "back",
        "Back to the runs",
        "lmwb",
        ("compare", "recipes", "lab", "influence", "commands"),
        footer=True,
    ),
    Action(
        "help",
        ("?", "f1"),
        "keys",
        "All keys and commands",
        "lmwb",
        ("home", "compare", "recipes", "lab", "influence"),
        "lmwb --help",
        footer=True,
    ),
    Action("palette", ("ctrl+p",), "palette", "Find a command by typing", "lmwb", ("app",)),
    Action("quit", ("q",), "quit", "Leave; runs go on without the app", "lmwb", _HOME, footer=True),
    Action("leave", ("ctrl+q", "ctrl+c"), "quit", "Leave, from anywhere", "lmwb", ("app",)),
)

_SHOWN = {
    "comma": ",", "full_stop": ".", "less_than_sign": "<", "greater_than_sign": ">", "escape": "esc",
    "pageup": "PgUp", "pagedown": "PgDn", "plus": "+", "equals_sign": "=", "minus": "-", "left_parenthesis": "(",
    "right_parenthesis": ")", "left_square_bracket": "[", "right_square_bracket": "]",
    "backspace": "⌫", "up": "↑", "down": "↓", "left": "←", "right": "→", "f1": "F1",
}  # fmt: skip


def shown_key(key: str) -> str:
    """A key as people write it: ``^p``, ``?``, ``PgUp``."""
    return _SHOWN.get(key) or key.replace("ctrl+", "^")


def actions_of(scope: Scope) -> tuple[Action, ...]:
    """The actions of one screen, without those that work everywhere."""
    return tuple(action for action in ACTIONS if scope in action.scopes)


def bindings_of(scope: Scope) -> list[BindingType]:
    """Textual's bindings for a screen, or for the app; those of the app win over any screen's."""
    return [
        Binding(key, action.name, action.words, show=False, priority=scope == "app")
        for action in actions_of(scope)
        for key in action.keys
    ]
