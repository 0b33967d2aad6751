"""The lab without a screen: settings, the way in, branches, and the tree one walks through."""

import asyncio
import contextlib
import shlex
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.decoding.records import Fate, Generation
from lmwb.core.errors import UsageError
from lmwb.core.history.records import Stage
from lmwb.core.recipe.schema import Decoding
from lmwb.core.recipe.schema.decoding import AnyProcessor
from lmwb.tui.cli import run
from lmwb.tui.lab import Branch, Opening, branched, command, opening_of
from lmwb.tui.lab_session import Session
from lmwb.tui.lab_settings import CHOICES, Settings, explanation, shown, typed
from lmwb.tui.pictures.beams import Spot, beam_lines, beside, child, end_of, facts, ids_to, parent, way_to
from lmwb.tui.pictures.ink import Depth
from lmwb.tui.watcher import Detail
from made_generations import hostile, hypothesis, step, trace
from rich.cells import cell_len
from toy_models import ToyModels

KEPT, DROPPED, FINISHED = Fate.KEPT, Fate.DROPPED, Fate.FINISHED
TREE = (
    step([(0, 1, -1.0, KEPT), (0, 2, -2.0, KEPT), (0, 3, -3.0, DROPPED)], 1),
    step([(1, 4, -2.5, KEPT), (0, 5, -3.0, FINISHED), (0, 6, -3.5, KEPT), (1, 7, -4.0, DROPPED)], 2),
    step([(1, 8, -4.0, KEPT), (0, 9, -4.5, KEPT)], 2),
)


@pytest.fixture
def tree() -> Generation:
    """Three steps of two beams; in the second one a text is finished between the two that are kept."""
    pieces = [bytes([97 + i]) for i in range(10)]
    tokens = trace([pieces[0], pieces[2], pieces[4], pieces[9]], prompt=1)
    return Generation("a", (hypothesis(tokens, [1, 0, 1]),), TREE, dict(enumerate(pieces)), frozenset())


# -- the tree -----------------------------------------------------------------------------------------


def test_finished_candidates_are_no_rows_of_the_next_step(tree: Generation) -> None:
    assert way_to(TREE, Spot(2, 0)) == [0, 2, 0]
    assert ids_to(TREE, Spot(2, 0)) == [1, 6, 8]
    assert way_to(TREE, Spot(2, 1)) == [1, 0, 1]
    assert ids_to(TREE, Spot(2, 1)) == [2, 4, 9]


def test_what_is_dropped_or_finished_has_no_children(tree: Generation) -> None:
    assert child(TREE, Spot(0, 0)) == Spot(1, 1)  # the better of two
    assert child(TREE, Spot(0, 2)) is None
    assert child(TREE, Spot(1, 1)) is None
    assert child(TREE, Spot(1, 3)) is None
    assert child(TREE, Spot(2, 0)) is None
    assert parent(TREE, Spot(0, 1)) is None
    assert parent(TREE, Spot(1, 3)) == Spot(0, 1)


def test_one_stays_within_a_step_going_up_and_down() -> None:
    assert beside(TREE, Spot(1, 1), -9) == Spot(1, 0)
    assert beside(TREE, Spot(1, 1), 9) == Spot(1, 3)


def test_the_cursor_begins_where_a_text_ends(tree: Generation) -> None:
    assert end_of(tree, 0) == Spot(2, 1)


@pytest.mark.parametrize("depth", list(Depth))
@given(width=st.integers(8, 120), height=st.integers(2, 20), place=st.integers(0, 10**6))
def test_a_picture_of_the_tree_keeps_to_its_room_and_shows_the_cursor(
    depth: Depth, width: int, height: int, place: int
) -> None:
    generation = hostile()
    spot = Spot(place % len(generation.steps), place % 2)
    lines = beam_lines(generation, spot, width, height, depth)
    assert len(lines) == max(2, height)
    assert any(segment.ink.reverse for line in lines for segment in line)
    text = "".join(segment.text for line in (*lines, *facts(generation, spot)) for segment in line)
    assert text.isprintable()


def test_columns_are_as_wide_as_asked_for_at_the_most(tree: Generation) -> None:
    for width in range(16, 60):
        for line in beam_lines(tree, Spot(1, 1), width, 6):
            assert cell_len("".join(segment.text for segment in line)) <= width


def test_the_way_to_the_cursor_is_drawn_from_column_to_column(tree: Generation) -> None:
    rows = ["".join(segment.text for segment in line) for line in beam_lines(tree, Spot(2, 0), 60, 5, Depth.NONE)]
    assert [row.rstrip() for row in rows] == [
        "    1      2      3",
        "─── b  ─╮  e   ╭─ i",
        "    c   │ ■f   │  j",
        "   ×d   ╰─ g  ─╯",
        "          ×h",
    ]


def test_why_a_candidate_was_dropped_is_told_in_numbers(tree: Generation) -> None:
    first, second = ("".join(segment.text for segment in line) for line in facts(tree, Spot(1, 3)))
    assert first.startswith("“h”  p .14  rank 4  score -2.00")
    assert "sum -4.000" in first
    assert "candidate 4 of 4: dropped, 0.500 below the last that was kept" in second


# -- settings -----------------------------------------------------------------------------------------


@given(turns=st.lists(st.tuples(st.sampled_from(CHOICES), st.sampled_from([-1, 1])), max_size=40))
def test_whatever_the_keys_do_the_settings_are_a_valid_table(turns: list) -> None:
    settings = Settings()
    for choice, by in turns:
        settings = settings.turned(choice.key, by)
    table = Decoding.model_validate(settings.table())
    assert table.search == settings.search
    assert table.tokens == settings.tokens


def test_values_between_two_choices_go_to_the_next() -> None:
    settings = Settings(tokens=30)
    assert settings.turned("tokens", 1).tokens == 32
    assert settings.turned("tokens", -1).tokens == 24
    assert Settings(tokens=512).turned("tokens", 1).tokens == 512
    assert Settings(search="sample").turned("temperature", -1).temperature is None


def test_every_key_of_the_table_can_be_set_but_those_about_many_prompts() -> None:
    settable = {each.key for each in CHOICES}
    assert set(Decoding.model_fields) - settable == {"exact", "batch_size"}
    kinds = {"bad_words": "x", "minimum_length": "5", "ngrams": "4", "words": "on"}
    made = Settings()
    for key, text in kinds.items():
        made = typed(made, key, text)
    named = {each["kind"] for each in made.table()["processors"]}
    others = "temperature=0.7 top-k=5 top-p=0.9 min-p=0.1 plugin=mine"
    named |= {each["kind"] for each in typed(Settings(), "processors", others).table()["processors"]}
    assert named == {str(kind.model_fields["kind"].default) for kind in get_args(AnyProcessor)}
    assert all(explanation(each.key) for each in CHOICES)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("beams", " 7 ", 7),
        ("length_penalty", "0.6", 0.6),
        ("end", "stop", "stop"),
        ("end", '"stop"', "stop"),
        ("early_stopping", "on", True),
        ("ngrams", "", None),
        ("beams", "", 5),
        ("bad_words", "cat,  big dog", ("cat", "big dog")),
        ("bad_words", '["a, b", " c"]', ("a, b", " c")),
        ("processors", "words, ngrams=2", ({"kind": "words"}, {"kind": "ngrams", "n": 2})),
        ("processors", '[{ kind = "words", scope = "generated" }]', ({"kind": "words", "scope": "generated"},)),
    ],
)
def test_a_typed_value_is_what_a_recipe_would_say_and_can_be_typed_again(key: str, text: str, value: object) -> None:
    settings = Settings(end="stop") if key == "early_stopping" else Settings()
    changed = typed(settings, key, text)
    assert getattr(changed, key) == value
    assert typed(settings, key, shown(value)) == changed


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("beams", "many", "'beams' must be a whole number, not the text 'many'"),
        ("beams", "0", "'beams' must be at least 1, not 0"),
        ("end", "stob", "'end' must be 'ignore' or 'stop', not 'stob'; did you mean 'stop'?"),
        ("words", "maybe", "'words' must be on or off"),
        ("length_penalty", "nan", "'length_penalty' must be a finite number, not nan"),
        ("processors", "temprature=1", "'temprature' is no processor with one value; there are ngrams=…, minimum"),
        ("processors", "temprature", "'kind' must be 'words', 'ngrams'"),
        ("processors", '[{ kind = "min-p", p = 0.1, q = 1 }]', "unknown key 'q'"),
        ("processors", "[{ kind", "'processors' is no list in TOML: something is not closed or has no quotes"),
        ("bad_words", "[]x", "'bad-words' is no list in TOML"),
        ("ngrams", "65", "'n' must be at most 64, not 65"),
    ],
)
def test_what_cannot_be_is_one_sentence(key: str, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        typed(Settings(), key, text)
    assert str(error.value).startswith(sentence)


@given(text=st.text(max_size=30), key=st.sampled_from([each.key for each in CHOICES]))
def test_whatever_is_typed_is_a_setting_or_a_sentence(text: str, key: str) -> None:
    with contextlib.suppress(UsageError):
        Decoding.model_validate(typed(Settings("sample", end="stop"), key, text).table())


SOME = Settings(tokens=3, beams=2, words=True, ngrams=2, bad_words=("a b", "é"), minimum_length=2, scope="generated",
                processors=({"kind": "temperature", "value": 0.5},), end="stop", length_penalty=0.5,
                early_stopping=True, alternatives=3)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [SOME, Settings(), Settings("sample", seed=3, min_p=0.2, top_p=0.5, ngrams=4), Settings("greedy", words=True)],
    ids=["many", "none", "drawn", "greedy"],
)
def test_the_command_asks_for_exactly_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Decoding] = []

    def results(_home: object, _models: object, several: list[Decoding], *_: object) -> list[object]:
        asked.extend(several)
        raise UsageError("enough")

    monkeypatch.setattr("lmwb.tui.commands.generating._results", results)
    run(shlex.split(command("model", "", Branch("a prompt"), settings))[1:])
    assert asked == [Decoding.model_validate(settings.table())]


def test_the_command_says_what_differs_from_the_defaults() -> None:
    settings = Settings(search="sample", samples=3, temperature=0.7, top_k=40, words=True, end="stop")
    said = command("run/train@5", "other", Branch("a 'b'"), settings)
    assert shlex.split(said) == [
        "lmwb", "generate", "--search", "sample", "--samples", "3", "--stop", "--temperature", "0.7", "--top-k", "40",
        "--block", "words", "--compare", "other", "run/train@5", "a 'b'",
    ]  # fmt: skip
    assert command("m", "", Branch("-x"), Settings()) == "lmwb generate -- m -x"


# -- branches -----------------------------------------------------------------------------------------


def test_the_space_that_a_tokenizer_puts_in_front_is_no_part_of_a_branchs_prompt() -> None:
    tokens = trace([b"<s>", b" Once", b" upon", b" a"], prompt=3, special=[0])
    here = Branch("Once upon")
    branch = branched(here, tokens, [3], 3, "v", "")
    assert branch.prompt == "Once upon a"
    assert branch.ids == (0, 1, 2, 3)
    assert branch.given("v") == (0, 1, 2, 3)
    assert branch.given("w") == "Once upon a"


def test_a_session_keeps_what_was_said_apart_by_branch_and_model() -> None:
    async def talk() -> None:
        models = ToyModels()
        session = Session(models, Opening("toy", Branch("the")), lambda: None, lambda _: None)
        await session.speak([0], Settings(tokens=4))
        assert session.name_model(1, "other")
        await session.speak([1], Settings(tokens=4))
        said = session.branch.said
        assert [one.vocabulary for one in said.values()] == ["toy", "other"]
        session.grow(Branch("the cat"))
        assert session.branch.said == {}
        session.branches.pop()
        assert session.branch.said == said
        assert not session.name_model(1, "")
        assert list(session.branch.said) == [0]
        assert not session.name_model(0, "")  # there is always a first one

    asyncio.run(talk())


def test_probabilities_of_the_toy_language_add_up_along_its_paths() -> None:
    async def search() -> Generation:
        return await ToyModels().generate("toy", "the cat", {"beams": 4, "tokens": 6})

    found = asyncio.run(search())
    for place, one in enumerate(found.hypotheses):
        spot = end_of(found, place)
        assert spot is not None
        assert way_to(found.steps, spot) == one.path.tolist()
        assert ids_to(found.steps, spot) == one.trace.ids[one.trace.prompt_length :].tolist()
        assert np.nansum(one.score) == pytest.approx(one.total, rel=1e-5)


def test_a_stage_that_trains_nothing_opens_the_model_that_was_trained_before_it():
    stages = tuple(
        Stage(number, name, kind, None, "finished", {})
        for number, (name, kind) in enumerate(
            [("first", "train"), ("second", "train"), ("measure", "evaluate"), ("third", "train")]
        )
    )

    def model(stage):
        return opening_of(Detail(SimpleNamespace(uid="wiki-aaaaa"), stages, stage), following=True).model

    assert [model(stage) for stage in stages] == [
        f"wiki-aaaaa/{name}" for name in ("first", "second", "second", "third")
    ]
    assert model(Stage(-1, "early", "generate", None, "finished", {})) == ""
