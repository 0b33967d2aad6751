"""No text is ever read as markup: names, tokens and log lines are data.

Textual and Rich parse ``[red]`` in most strings that they are given, and escaping does not help against all of
it. So the sources of the app are searched for every place where a string that is not a plain literal could be
parsed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import lmwb.tui
import pytest

SOURCES = sorted(Path(lmwb.tui.__file__).parent.rglob("*.py"))

PARSERS = {"from_markup", "render_markup", "to_content", "escape"}
"""Functions that parse markup, or that only make sense if something does."""

TAKE_MARKUP = {"Static", "Label", "Console", "TextColumn", "notify", "RichLog", "Digits", "Link"}
"""What parses its text, now or later, unless told ``markup=False``."""

TAKE_TEXT = {
    "Button", "Checkbox", "RadioButton", "Collapsible", "Option", "Tab", "TabPane", "Tooltip", "Placeholder", "Toast",
    "Selection", "Tree", "add_row", "add_column", "add_columns", "add_option", "add_leaf", "set_label", "prompt_line",
    "add_node",
}  # fmt: skip
"""What parses its texts and can't be told otherwise; it takes literals and ready-made texts."""

TITLES = {"border_title", "border_subtitle", "tooltip"}
SAFE_TEXTS = {"Text", "Content", "assemble", "rich_text", "from_text", "styled", "Segment", "Strip"}


def faults(source: str) -> Iterator[str]:
    """Each place where data could be read as markup, as ``line: what``."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call():
                yield from _call_faults(node)
            case (
                ast.ImportFrom(module="rich.markup" | "textual.markup")
                | ast.Import(names=[ast.alias(name="rich.markup" | "textual.markup")])
            ):
                yield f"{node.lineno}: imports a markup parser"
            case ast.ImportFrom(module="rich", names=names) if any(alias.name == "print" for alias in names):
                yield f"{node.lineno}: rich.print parses markup"
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=value) if name in TITLES:
                if not _safe(value):
                    yield f"{node.lineno}: {name} is parsed"
            case ast.keyword(arg=str(name), value=value) if name in TITLES and not _safe(value):
                yield f"{value.lineno}: {name} is parsed"


def _call_faults(call: ast.Call) -> Iterator[str]:
    name = _name(call.func)
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in PARSERS:
        yield f"{call.lineno}: {name} parses markup"
    told = options.get("markup")
    if isinstance(told, ast.Constant) and told.value is True:
        yield f"{call.lineno}: {name} is told to parse markup"
    if name in TAKE_MARKUP and not (isinstance(told, ast.Constant) and told.value is False):
        yield f"{call.lineno}: {name} without markup=False"
    texts = [*call.args, *(options[key] for key in ("label", "title", "prompt") if key in options)]
    if name in TAKE_TEXT and not all(map(_safe, texts)):
        yield f"{call.lineno}: {name} parses its text"


def _safe(value: ast.expr) -> bool:
    """A literal without brackets, nothing, or a text that is ready-made."""
    match value:
        case ast.Constant(value=str(text)):
            return "[" not in text
        case ast.Constant():
            return True
        case ast.Call():
            return _name(value.func) in SAFE_TEXTS
        case ast.IfExp(body=body, orelse=orelse):
            return _safe(body) and _safe(orelse)
    return False


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_lets_data_be_read_as_markup(path: Path) -> None:
    assert list(faults(path.read_text())) == []


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize(
    "source",
    [
        'Text.from_markup(f"[red]{name}[/]")',
        "Content.from_markup(template, name=name)",
        "Static(name)",
        "Static()",
        'Label("fine", markup=True)',
        "self.notify(sentence)",
        "table.add_row(run.name)",
        "Button(run.name)",
        'Option(f"{run.name}")',
        "pane.border_title = run.name",
        "pane.border_title = f'[b]{run.name}'",
        "widget.tooltip = name",
        "Button('x', tooltip=name)",
        "Console()",
        "from rich import print",
        "from rich.markup import escape",
        "import textual.markup",
        "Checkbox('[red]x')",
        "Checkbox(label=name)",
    ],
)
def test_what_would_be_read_as_markup_is_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "Static(name, markup=False)",
        "Label(markup=False)",
        "self.notify(sentence, severity='error', markup=False)",
        "table.add_row(Text(run.name), Content(run.uid))",
        "Button('Launch', id='launch')",
        "pane.border_title = 'Runs'",
        "pane.border_title = Content(run.name)",
        "pane.border_subtitle = None",
        "Console(markup=False)",
        "print(name)",
        "Text.assemble((name, style))",
    ],
)
def test_what_is_harmless_is_left_alone(source: str) -> None:
    assert list(faults(source)) == []
