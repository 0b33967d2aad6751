"""The line of a key, compared with the slow definition: the first prefix of the text that has the key."""

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.recipe.lines import Lines, statements

TEXT = """\
name = "x"  # not a [header]
"quoted.key" = 1
a.b.c = { d = 1, e = { f = [1,
  2] } }

text = '''
[no.header]
key = 1
'''
[[stage]]
name = 'one'
[stage.train]
lr = 1
[[stage]]
train.lr = 3
prompts = [
  "a]",   # ]
  { x = "#" },
]
[[stage.more]]
k = 1
[stage.more.deep]
q = 1
[[stage.more]]
k = 2
"""


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for key, inner in below for each in [(*path, key), *paths(inner, (*path, key))]]


def reference(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of each path by the definition; inside a statement of several lines, where the statement begins."""
    lines = text.split("\n")
    found: dict[tuple[str | int, ...], int] = {}
    begun = 1
    for number in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for path in paths(document):
            found.setdefault(path, begun)
        begun = number + 1
    return found


def test_every_kind_of_key_is_found():
    lines = Lines(TEXT)
    assert {path: lines.line(path) for path in paths(tomllib.loads(TEXT))} == reference(TEXT)
    assert lines.line(("stage", 1, "more", 0, "deep", "q")) == 23
    assert lines.line(("a", "b", "c", "e", "f", 1)) == 3


def test_what_is_not_there_is_placed_at_the_nearest_table():
    lines = Lines(TEXT)
    assert lines.line(("stage", 0, "train", "gone", 7)) == 12
    assert lines.line(("gone",)) == 1


def test_carriage_returns_do_not_count_as_lines():
    lines = Lines(TEXT.replace("\n", "\r\n"))
    assert {path: lines.line(path) for path in paths(tomllib.loads(TEXT))} == reference(TEXT)


KEYS = st.sampled_from(["a", "b", "c", "'a.b'", '"q # x"', '"[x]"', '"\\u00e9"'])
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
LEAVES = st.sampled_from(
    [
        "1",
        "true",
        "'x # ['",
        '"]"',
        '"\\""',
        '"""\n[a]\nb = 1"""',
        "'''\n'x''\n'''",
        '"""a"""""',
        "1979-05-27",
        "'''''a'''",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n " + ", # ]\n ".join(items) + "\n]"),
        st.lists(inner, max_size=2).map(lambda items: "[" + ", ".join(items) + "]"),
        st.dictionaries(KEYS, inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=4,
)
STATEMENTS = st.one_of(
    st.builds(lambda key, value: f"{key} = {value}", DOTTED, VALUES),
    DOTTED.map(lambda key: f"[{key}]"),
    DOTTED.map(lambda key: f"  [[ {key} ]] # end"),
    st.sampled_from(["", "# a comment = [", "   "]),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A TOML text: statements that are still valid behind those before them."""
    text = ""
    for statement in draw(st.lists(STATEMENTS, max_size=8)):
        try:
            tomllib.loads(text + statement)
        except tomllib.TOMLDecodeError:
            continue
        text += statement + "\n"
    return text


@settings(max_examples=300, deadline=None)
@given(documents())
def test_lines_agree_with_the_definition_on_any_document(text: str):
    expected = reference(text)
    first = {
        line: statement.first for statement in statements(text) for line in range(statement.first, statement.last + 1)
    }
    lines = Lines(text)
    for path, line in expected.items():
        assert lines.line(path) == first[line]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab=[]{}\"'#\n\\,. ", max_size=60))
def test_any_text_is_cut_into_statements_without_loss(text: str):
    found = list(statements(text))
    assert "\n".join(statement.text for statement in found).rstrip("\n") == text.rstrip("\n")
    assert [statement.first for statement in found][1:] == [statement.last + 1 for statement in found][:-1]
