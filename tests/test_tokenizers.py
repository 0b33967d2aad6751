"""Tokenizers trained on a corpus: the same ones every time, saved and loaded as transformers' own, with known marks."""

import subprocess
import sys

import pytest
import tiny
from lmwb.core.data.tokenizer import framing_of, token_pieces
from lmwb.core.data.tokenizer_training import train_tokenizer
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.recipe.schema import BpeTokenizer, UnigramTokenizer, WordPieceTokenizer

SETTINGS = {
    "wordpiece": WordPieceTokenizer(vocab_size=120),
    "unigram": UnigramTokenizer(vocab_size=60),
    "bpe": BpeTokenizer(vocab_size=320),
}
TEXT = "The cat compared the statement, and the door opened."


def train(kind, **changes):
    return train_tokenizer(tiny.texts(), SETTINGS[kind].model_copy(update=changes), lambda _: None)


@pytest.fixture(scope="module")
def roberta_like(tmp_path_factory):
    return with_marks_of_roberta(tmp_path_factory.mktemp("roberta"))


def with_marks_of_roberta(folder):
    """Write a tokenizer whose marks are those of RoBERTa; returns its folder."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate([*marks, "a", "b"])}, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in marks])
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **dict(zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), marks, strict=True)),
        bos_token="<s>",
        eos_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize("kind", SETTINGS)
def test_saved_and_loaded_they_give_the_same_ids(tmp_path, kind, taken_over, roberta_like):
    from transformers import AutoTokenizer

    tokenizer = train(kind, special_tokens_from=roberta_like if taken_over else None)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = f"{TEXT} Unseen: Ωmega, 漢.\n Next {tokenizer.mask_token or ''} line"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert dict(loaded(text, "a pair")) == dict(tokenizer(text, "a pair"))
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    assert framing_of(loaded) == framing_of(tokenizer)


@pytest.mark.slow
def test_the_same_corpus_gives_the_same_tokenizer_in_every_process():
    """The trainers' hash tables are seeded anew in every process."""
    code = (
        "import hashlib, test_tokenizers as t;"
        "print(*[hashlib.sha256(t.train(kind).backend_tokenizer.to_str().encode()).hexdigest() for kind in t.SETTINGS])"
    )
    command = [sys.executable, "-c", code]
    found = {
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0]).stdout
        for _ in range(3)
    }
    assert len(found) == 1


def test_wordpiece_frames_texts_and_pairs_as_bert_does():
    tokenizer = train("wordpiece")
    ids = tokenizer("the cat", "the dog")
    tokens = tokenizer.convert_ids_to_tokens(ids["input_ids"])
    assert tokens == ["[CLS]", "the", "cat", "[SEP]", "the", "dog", "[SEP]"]
    assert ids["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert tokenizer("CÁT")["input_ids"] == tokenizer("cat")["input_ids"]
    assert tokenizer.decode(tokenizer("The cat, ran.")["input_ids"], skip_special_tokens=True) == "the cat, ran."


def test_capitals_and_accents_stay_where_asked():
    tokenizer = train("wordpiece", lowercase=False)
    assert tokenizer("The")["input_ids"] != tokenizer("the")["input_ids"]


@pytest.mark.parametrize("kind", SETTINGS)
def test_marks_and_roles_are_taken_over(kind, roberta_like):
    tokenizer = train(kind, special_tokens_from=roberta_like)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert (tokenizer.cls_token, tokenizer.sep_token, tokenizer.bos_token) == ("<s>", "</s>", "<s>")
    pair = tokenizer("the cat", "the dog")
    marks = [token for token in tokenizer.convert_ids_to_tokens(pair["input_ids"]) if token in ("<s>", "</s>")]
    assert marks == ["<s>", "</s>", "</s>", "</s>"]
    assert "token_type_ids" not in pair


@pytest.mark.parametrize("kind", SETTINGS)
def test_pieces_are_the_text(kind):
    tokenizer = train(kind)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    pieces = token_pieces(tokenizer, ids)
    text = b"".join(pieces[i] for i in ids).decode().strip()
    expected = TEXT.lower().replace(",", " ,").replace(".", " .") if kind == "wordpiece" else TEXT
    assert text == expected


def test_a_mask_swallows_the_space_that_belongs_to_the_hidden_token(roberta_like):
    for kind in ("unigram", "bpe"):
        tokenizer = train(kind, special_tokens_from=roberta_like)
        whole = tokenizer.convert_ids_to_tokens(tokenizer("the cat and the")["input_ids"])
        gap = tokenizer.convert_ids_to_tokens(tokenizer("the <mask> and the")["input_ids"])
        after = gap[gap.index("<mask>") + 1 :]
        assert whole[-len(after) :] == after
        assert gap[gap.index("<mask>") - 1] == whole[gap.index("<mask>") - 1]


def test_a_vocabulary_smaller_than_asked_is_said_aloud():
    told = []
    tokenizer = train_tokenizer(["a b"] * 4, WordPieceTokenizer(vocab_size=500), told.append)
    assert told == [
        f"tokenizer: the texts give only {len(tokenizer)} tokens of the 500 asked for in tokenizer.vocab_size"
    ]
    told.clear()
    train_tokenizer(tiny.texts(), WordPieceTokenizer(vocab_size=120), told.append)
    assert told == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (WordPieceTokenizer(vocab_size=20), r"20 tokens are too few: .* the letters of the texts alone are \d+"),
        (UnigramTokenizer(vocab_size=16), r"no Unigram of 16 tokens: .* not large enough"),
        (BpeTokenizer(vocab_size=257, special_tokens_from="ROBERTA"), r"257 tokens are too few: .* alone are 261"),
    ],
)
def test_too_small_a_vocabulary_is_refused(settings, sentence, roberta_like):
    if getattr(settings, "special_tokens_from", None):
        settings = settings.model_copy(update={"special_tokens_from": roberta_like})
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        train_tokenizer(tiny.texts(), settings, print)
    assert caught.value.key == "tokenizer.vocab_size"


def test_an_unknown_tokenizer_to_take_marks_from_is_named(tmp_path):
    with pytest.raises(ValueInRecipeError, match="cannot load a tokenizer from") as caught:
        train("bpe", special_tokens_from=str(tmp_path))
    assert caught.value.key == "tokenizer.special_tokens_from"
