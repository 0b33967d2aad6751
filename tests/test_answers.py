"""Which tokens are learned: exactly those of the answers and of the marks that end them."""

import pytest
import small_tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lmwb.core.data.answers import AnswerEncoder, rows_of
from lmwb.core.data.conversations import Conversation, Exchange
from lmwb.core.data.sources import SourceError
from lmwb.core.data.tokenizer import token_pieces

ODD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="▁"), max_size=12)
WRITTEN = st.sampled_from(
    [
        "The cat sat",
        "</s>",
        "<|endoftext|>",
        "[SEP]",
        "[CLS] x",
        "<0x41>",
        "\n\n",
        "  ",
        "é\u0301",
        "👩‍👩‍👧 ",
        "\u202eabc",
        "日本",
    ]
)
PARTS = st.lists(ODD | WRITTEN, max_size=4).map("".join)
ANSWERS = PARTS.filter(lambda text: bool(text.strip()))
EXCHANGES = st.lists(st.builds(Exchange, PARTS, ANSWERS), min_size=1, max_size=3)
DIALOGUES = st.lists(
    st.builds(lambda q, a: Exchange(f"### Human: {q}### Assistant:", a), PARTS, ANSWERS), min_size=1, max_size=3
)


def encoded(tokenizer, exchanges, rendered=False):
    return AnswerEncoder(tokenizer, rendered).examples([Conversation(1, tuple(exchanges))])[0]


def spoken(tokenizer, found):
    """The learned tokens of each answer as bytes, and the ids that come before each."""
    ids, learned = found.ids.tolist(), found.learned.tolist()
    pieces = token_pieces(tokenizer, ids)
    answers, before = [], []
    for i, counts in enumerate(learned):
        if counts and not (i and learned[i - 1] and ids[i - 1] != tokenizer.eos_token_id):
            answers.append(b"")
            before.append(ids[:i])
        if counts:
            answers[-1] += pieces[ids[i]]
    return answers, before


@settings(deadline=None)
@given(EXCHANGES)
@example([Exchange("a  ", "b"), Exchange("", "c")])
@example([Exchange("cafe", "\u0301")])
def test_byte_level_what_is_learned_is_the_answer_and_its_end(exchanges):
    tokenizer = small_tokenizers.byte_level()
    answers, before = spoken(tokenizer, encoded(tokenizer, exchanges))
    assert [answer.decode() for answer in answers] == [e.answer + tokenizer.eos_token for e in exchanges]
    prompt = tokenizer(exchanges[0].given, split_special_tokens=True)["input_ids"]
    assert before[0] == prompt


@pytest.mark.parametrize("scheme", ["first", "always", "normalizer"])
@settings(deadline=None)
@given(exchanges=DIALOGUES)
def test_metaspace_what_is_learned_is_the_answer_and_its_end(scheme, exchanges):
    tokenizer = small_tokenizers.metaspace(scheme)
    answers, before = spoken(tokenizer, encoded(tokenizer, exchanges))
    assert len(answers) == len(exchanges)
    for answer, exchange in zip(answers, exchanges, strict=True):
        # where the text had to be cut, these tokenizers put a space before the answer
        assert answer.decode() in (exchange.answer + "</s>", " " + exchange.answer + "</s>")
    assert before[0] == tokenizer(exchanges[0].given, split_special_tokens=True)["input_ids"]


@settings(deadline=None)
@given(DIALOGUES)
def test_wordpiece_what_is_learned_is_the_answer_and_its_end(exchanges):
    tokenizer = small_tokenizers.wordpiece()
    expected: list[int] = []
    for number, exchange in enumerate(exchanges):
        texts = [exchange.given, exchange.answer]
        pieces = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        expected += [*([2] if number == 0 else []), *pieces[0], *(-i for i in pieces[1]), -3]
    found = encoded(tokenizer, exchanges)
    signed = [-i if counts else i for i, counts in zip(found.ids.tolist(), found.learned.tolist(), strict=True)]
    assert signed == expected


@given(DIALOGUES)
@settings(deadline=None, max_examples=30)
def test_data_can_not_end_an_answer(exchanges):
    """However often a text writes the end-of-text token, it is there once for each answer."""
    for tokenizer in (small_tokenizers.byte_level(), small_tokenizers.metaspace()):
        found = encoded(tokenizer, exchanges)
        assert found.ids.tolist().count(tokenizer.eos_token_id) == len(exchanges)


def test_a_token_across_the_boundary_is_cut():
    tokenizer = small_tokenizers.byte_level()
    assert len(tokenizer(" the")["input_ids"]) == 1
    answers, before = spoken(tokenizer, encoded(tokenizer, [Exchange("Of th", "e cat")]))
    assert answers == [b"e cat<|endoftext|>"]
    assert before == [tokenizer("Of th")["input_ids"]]


def test_the_space_before_an_answer_is_learned_with_it():
    tokenizer = small_tokenizers.byte_level()
    found = encoded(tokenizer, [Exchange("### Assistant:", " The cat")])
    assert found.ids.tolist() == [*tokenizer("### Assistant: The cat")["input_ids"], tokenizer.eos_token_id]


def test_the_end_is_learned_also_where_it_pads():
    """Nothing is masked by its id."""
    tokenizer = small_tokenizers.metaspace()
    tokenizer.pad_token = tokenizer.eos_token
    found = encoded(tokenizer, [Exchange("Hi", " there"), Exchange(" and", " more")])
    ends = found.ids == tokenizer.eos_token_id
    assert found.learned[ends].tolist() == [True, True]


def test_special_tokens_of_a_template_are_special_tokens():
    tokenizer = small_tokenizers.chat()
    found = encoded(tokenizer, [Exchange("<|im_start|>assistant\n", "The cat<|im_end|>")], rendered=True)
    assert tokenizer.decode(found.ids[found.learned]) == "The cat<|im_end|>"
    assert found.ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_tokenizer_without_positions_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(SourceError, match=r"does not tell which characters.*tokenizer\.json"):
        AnswerEncoder(Slow(), rendered=False)


@given(st.lists(EXCHANGES, min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_rows_count_what_they_teach(conversations):
    tokenizer = small_tokenizers.byte_level()
    found = AnswerEncoder(tokenizer, False).examples(Conversation(i, tuple(c)) for i, c in enumerate(conversations))
    expected = sum(int(e.learned[1:].sum()) for e in found)
    for packing in (False, True):
        rows = rows_of(found, 512, packing)
        assert rows.targets == expected
        assert [int(i) for e in found for i in e.ids] == rows.stream.tolist()
