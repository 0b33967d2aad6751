"""From rows to conversations: what is given, what is learned, and what is wrong with a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.conversations import Exchange, plain, read_conversations, read_messages, wrap
from lmwb.core.data.sources import SourceError
from lmwb.core.recipe.schema import InstructionData

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda text: "#" not in text)


def data(**changes):
    return InstructionData.model_validate({"train": "x.jsonl", **changes})


def one(row, **changes):
    return read_conversations([(1, row)], data(**changes), "x.jsonl")[0]


def test_a_dialogue_has_an_answer_after_each_mark():
    text = "Be kind.\n### Human: Hi### Assistant: Hello.\n\n### Human: Bye### Assistant: So long. \n"
    assert one({"text": text}).exchanges == (
        Exchange("Be kind.\n### Human: Hi### Assistant:", " Hello."),
        Exchange("\n\n### Human: Bye### Assistant:", " So long."),
    )


def test_marks_may_be_others():
    found = one({"t": "[Q]1+1?[A]2"}, text="t", human="[Q]", assistant="[A]")
    assert found.exchanges == (Exchange("[Q]1+1?[A]", "2"),)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_a_dialogue_loses_nothing_but_what_follows_the_last_answer(turns):
    text = "".join(f"### Human:{question}### Assistant:{answer}" for question, answer in turns)
    found = one({"text": text})
    assert "".join(e.given + e.answer for e in found.exchanges) + found.rest == text
    assert [e.answer for e in found.exchanges] == [answer.rstrip() for _, answer in turns if answer.strip()]
    assert found.blank == sum(not answer.strip() for _, answer in turns)


@pytest.mark.parametrize(
    "text", ["", "no marks at all", "### Human: only a question", "### Human: a### Assistant:  \n", "### Assistant:"]
)
def test_a_dialogue_without_an_answer_has_nothing_to_learn(text):
    found = one({"text": text})
    assert found.exchanges == ()
    assert found.rest == text


def test_alpaca_has_the_published_template():
    with_input = one({"instruction": "Add {}.", "input": "1, 2", "output": "3"}, format="alpaca")
    assert with_input.exchanges == (
        Exchange(
            "Below is an instruction that describes a task, paired with an input that provides further context. Write "
            "a response that appropriately completes the request.\n\n### Instruction:\nAdd {}.\n\n### Input:\n1, 2\n\n"
            "### Response:",
            "3",
        ),
    )
    without = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    )
    without += "\n\n### Instruction:\nSing.\n\n### Response:"
    for row in ({"instruction": "Sing.", "input": " ", "output": "La."}, {"instruction": "Sing.", "output": "La."}):
        assert one(row, format="alpaca").exchanges == (Exchange(without, "La."),)
    assert wrap(data(format="alpaca"), "Sing.") == without


def test_a_pair_goes_straight_from_one_to_the_other():
    found = one({"question": "2+2=", "reply": " 4"}, format="pairs", prompt="question", completion="reply")
    assert found.exchanges == (Exchange("2+2=", " 4"),)
    assert wrap(data(format="pairs"), "3+3=") == "3+3="


def test_messages_without_a_template_are_written_with_marks():
    rows = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye."},
    ]
    found = plain(read_messages([(1, {"messages": rows})], "messages", "x")[0], "### Human:", "### Assistant:")
    assert found.exchanges == (
        Exchange("Be brief.\n### Human: Hi\n### Assistant:", " Hello."),
        Exchange("\n### Human: Bye\n### Assistant:", " Bye."),
    )
    assert wrap(data(format="messages"), "Bye") == "### Human: Bye\n### Assistant:"


@pytest.mark.parametrize(("before", "after"), [(" ", ""), ("\n", "\n\n"), ("", "\n")])
def test_a_prompt_is_spaced_as_the_rows_are(before, after):
    rows = [{"text": f"### Human:{before}Hi, {i}{after}### Assistant: Hello."} for i in range(3)]
    found = read_conversations(enumerate(rows), data(), "x")
    assert wrap(data(), "What?", found) == f"### Human:{before}What?{after}### Assistant:"
    assert wrap(data(), "What?") == "### Human: What?### Assistant:"


@pytest.mark.parametrize(
    ("row", "changes", "key", "sentence"),
    [
        ({"body": "x"}, {}, "data.text", "x.jsonl: row 1 has no column 'text'; it has body"),
        ({"text": 7}, {}, "data.text", "x.jsonl: row 1 has int in column 'text', not text"),
        ({"text": ["a"]}, {}, "data.text", "row 1 has list in column 'text'"),
        ({"instruction": "a"}, {"format": "alpaca"}, "data.format", "row 1 has no column 'output'; it has instruction"),
        (
            {"instruction": "a", "input": 1, "output": "b"},
            {"format": "alpaca"},
            "data.format",
            "row 1 has int in column 'input'",
        ),
        ({"prompt": "a"}, {"format": "pairs"}, "data.completion", "row 1 has no column 'completion'; it has prompt"),
    ],
)
def test_a_broken_row_is_one_sentence(row, changes, key, sentence):
    with pytest.raises(SourceError) as caught:
        one(row, **changes)
    assert sentence in str(caught.value)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ("hi", "x: row 4 has str in column 'messages', not a list of messages"),
        (None, "row 4 has nothing in column 'messages'"),
        (["hi"], "row 4 has str as message 1, not a table with role and content"),
        ([{"from": "human", "value": "hi"}], "row 4 has no 'role' in message 1; it has from, value"),
        ([{"role": "user"}], "row 4 has no 'content' in message 1; it has role"),
        (
            [{"role": "gpt", "content": "hi"}],
            "row 4 has the role 'gpt' in message 1; it may be system, developer, user",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "row 4 has list as content of message 1, not text"),
    ],
)
def test_broken_messages_are_one_sentence(messages, sentence):
    with pytest.raises(SourceError) as caught:
        read_messages([(4, {"messages": messages})], "messages", "x")
    assert sentence in str(caught.value)
    assert caught.value.key == "data.messages"
