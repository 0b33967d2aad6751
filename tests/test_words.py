"""The tokenizer of whole words: basic_english by its published rules, a vocabulary, and what survives saving."""

import re
from collections import Counter

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.tokenizer import load_tokenizer
from lmwb.core.data.words import count_words, frequent, words_tokenizer
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.recipe.schema import ClassificationStage
from lmwb.core.tasks.task import Surroundings
from lmwb.core.tasks.tokenizers import make_tokenizer

RULES = [
    (r"\'", " '  "),
    (r"\"", ""),
    (r"\.", " . "),
    (r"<br \/>", " "),
    (r",", " , "),
    (r"\(", " ( "),
    (r"\)", " ) "),
    (r"\!", " ! "),
    (r"\?", " ? "),
    (r"\;", " "),
    (r"\:", " "),
    (r"\s+", " "),
]
"""torchtext's, from its documentation of `get_tokenizer("basic_english")`."""


def published(text):
    text = text.lower()
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return text.split()


@given(st.text(st.sampled_from("aBcÄé'\".,()!?;:<br />\t\n\x1c 19-$"), max_size=60))
def test_words_are_those_of_the_published_rules(text):
    expected = published(text)
    tokenizer = words_tokenizer(sorted(set(expected)))
    assert tokenizer.tokenize(text) == expected
    assert count_words([text]) == Counter(expected)


def test_the_vocabulary_is_ordered_by_frequency_and_then_by_letters():
    counts = count_words(["b b a a c", "C d"])
    assert frequent(counts, None, 1) == ["a", "b", "c", "d"]
    assert frequent(counts, 2, 1) == ["a", "b"]
    assert frequent(counts, None, 2) == ["a", "b", "c"]
    assert words_tokenizer(frequent(counts, None, 1)).get_vocab() == {
        "<pad>": 0, "<unk>": 1, "<sep>": 2, "a": 3, "b": 4, "c": 5, "d": 6
    }  # fmt: skip


def test_what_is_not_known_is_unknown_and_pairs_are_kept_apart():
    tokenizer = words_tokenizer(["a", "b"])
    assert tokenizer("A zebra b")["input_ids"] == [3, 1, 4]
    assert tokenizer("a", "b")["input_ids"] == [3, 2, 4]
    assert "token_type_ids" not in tokenizer("a", "b")


def test_a_saved_tokenizer_does_the_same_when_loaded(tmp_path):
    tokenizer = words_tokenizer(frequent(count_words(tiny.texts()), None, 1))
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    text = "The dog's LIST: unheard (of)!"
    assert loaded(text, padding="max_length", max_length=12) == tokenizer(text, padding="max_length", max_length=12)
    assert (loaded.pad_token, loaded.unk_token, len(loaded)) == ("<pad>", "<unk>", len(tokenizer))


def stage(tokenizer, model):
    document = {"model": model, "tokenizer": {"kind": "words", **tokenizer}, "data": {"train": "x.csv"}}
    return ClassificationStage.model_validate(document)


def test_the_words_of_the_texts_and_their_coverage_are_told(tmp_path):
    vectors = tmp_path / "v.txt"
    vectors.write_text("the 1 2\ncat 3 4\nzebra 5 6\n")
    said = []
    around = Surroundings(0, tmp_path / "cache", said.append)
    texts = ["the cat the dog", "the hill"]  # 6 running words
    bag = {"kind": "bag", "embeddings": str(vectors)}
    made = make_tokenizer(stage({}, bag), lambda: texts, around)
    assert len(made) == 3 + 4
    assert "words: 4 known, which are 100.00% of the training texts' 6 words" in said
    assert "words: 66.67% of the training texts' 6 words have a vector" in said
    said.clear()
    made = make_tokenizer(stage({"vocabulary": str(vectors)}, bag), lambda: texts, around)
    assert made.convert_ids_to_tokens([3, 4, 5]) == ["the", "cat", "zebra"]
    assert "words: 3 known, which are 66.67% of the training texts' 6 words" in said
    assert len(make_tokenizer(stage({"vocabulary": str(vectors), "vocab_size": 16}, bag), lambda: texts, around)) == 6


def test_a_frequency_that_no_word_reaches_is_refused(tmp_path):
    wanted = stage({"min_frequency": 9}, {"kind": "bag"})
    with pytest.raises(ValueInRecipeError, match="no word occurs 9 times") as caught:
        make_tokenizer(wanted, lambda: ["a b"], Surroundings(0, tmp_path, print))
    assert caught.value.key == "tokenizer.min_frequency"


def test_a_vocabulary_from_a_file_has_no_frequencies():
    with pytest.raises(ValueError, match="'min_frequency' counts the training texts' words"):
        stage({"vocabulary": "v.txt", "min_frequency": 2}, {"kind": "bag"})
