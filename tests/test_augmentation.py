"""More rows out of few: what is kept of new texts, changes of words, translating there and back, and the memory."""

import pytest
import small_models
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.augmentation import augmenter as protocol
from lmwb.core.data.augmentation.augmented import Count, augment
from lmwb.core.data.augmentation.augmenter import Around, plugin
from lmwb.core.data.augmentation.back_translation import BackTranslator
from lmwb.core.data.augmentation.memory import Memory, Remembering
from lmwb.core.data.augmentation.word_edits import WordEditor
from lmwb.core.data.sources import SourceError
from lmwb.core.decoding.loading import load
from lmwb.core.decoding.rewriting import Languages, Rewriter
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.home import Home
from lmwb.core.recipe.schema import Rewriting, WordEdits

TEXTS = ["the cat sat", "a dog ran over the hill to the river", "items are compared", "she opened the door"]


class Answering:
    """An augmenter that gives the answers that it was made with."""

    name = "x"

    def __init__(self, *answers):
        self.answers = answers

    def augment(self, texts, rows):
        return [self.answers[row] for row in rows]


# -- what is kept ---------------------------------------------------------------------------------


def test_echoes_are_dropped_and_counted_and_the_rest_has_its_origin():
    texts = ["The film .", "a book", " ", "a song"]
    answers = Answering(["the  FILM.", "a movie"], ["A song", "a volume", "a tome"], None, ["a movie", " "])
    found, (count,) = augment(texts, [answers], ["train-1", "train-2", "train-3", "train-4"])
    assert [(new.row, new.text, new.origin) for new in found] == [
        (0, "a movie", "train-1-aug-x-2"),
        (1, "a volume", "train-2-aug-x-2"),
        (1, "a tome", "train-2-aug-x-3"),
    ]
    assert count == Count("x", kept=3, unchanged=1, duplicates=2, blank=1, none=0)
    assert count.sentence() == "x: 3 new texts, 1 unchanged and dropped, 2 duplicates and dropped, 1 blank and dropped"


def test_a_later_augmenter_does_not_say_again_what_an_earlier_one_said():
    found, counts = augment(["a"], [Answering(["b"]), Answering(["B", "c"])], ["train-1"])
    assert [new.text for new in found] == ["b", "c"]
    assert [count.duplicates for count in counts] == [0, 1]


@given(st.lists(st.text(max_size=8), max_size=8), st.data())
def test_every_answer_is_kept_or_counted_and_no_two_texts_say_the_same(texts, data):
    answers = [data.draw(st.lists(st.text(max_size=4), max_size=3)) for _ in texts]
    found, (count,) = augment(texts, [Answering(*answers)], [str(i) for i in range(len(texts))])
    spoken = [i for i, text in enumerate(texts) if text.strip()]
    assert sum(len(answers[i]) for i in spoken) == count.kept + count.unchanged + count.duplicates + count.blank
    assert len(found) == count.kept
    said = ["".join(new.text.casefold().split()) for new in found]
    assert len({*said}) == len(said)
    assert not {*said} & {"".join(text.casefold().split()) for text in texts}


# -- changes of words -----------------------------------------------------------------------------


@pytest.fixture
def dictionary(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text("film, movie, picture\n\nGood, fine\n")
    return str(path)


def edited(text, row=0, seed=0, **settings):
    return WordEditor(WordEdits(**settings), Around(seed)).augment([text], [row])[0]


def test_synonyms_replace_words_and_keep_capitals_and_marks(dictionary):
    options = {"synonyms": dictionary, "replace": 0.99, "swap": 0.0, "delete": 0.0, "variants": 9}
    found = {*edited("Good: a FILM, a Film!", **options)}
    assert found <= {f"Fine: a {one}, a {other}!" for one in ("MOVIE", "PICTURE") for other in ("Movie", "Picture")}
    assert len(found) > 1


def test_a_swap_changes_the_order_and_nothing_else():
    (found,) = edited("one two, three four", replace=0.0, swap=0.25, delete=0.0)
    assert found != "one two, three four"
    assert sorted(found.replace(",", "").split()) == ["four", "one", "three", "two"]
    assert found.index(",") > 0


def test_an_omission_leaves_at_least_one_word():
    found = edited("one two three", replace=0.0, swap=0.0, delete=0.99, variants=30)
    assert {*found} >= {"one", "two", "three"}
    assert all(text in ("one", "two", "three", "one two", "one three", "two three") for text in found)


@given(st.lists(st.sampled_from(["a film", "good", "one, two", "?", "x y z"]), min_size=1, max_size=6))
def test_a_rows_edits_depend_on_its_number_and_the_seed_alone(texts):
    editor = WordEditor(WordEdits(variants=2), Around(7))
    together = editor.augment(texts, range(len(texts)))
    alone = [editor.augment([text], [row])[0] for row, text in enumerate(texts)]
    assert together == alone


def test_other_seeds_edit_otherwise():
    text = "one two three four five six seven eight"
    assert len({edited(text, seed=seed)[0] for seed in range(8)}) > 4


def test_a_dictionary_without_synonyms_is_told_with_its_line(tmp_path):
    (tmp_path / "bad.txt").write_text("film, movie\ngood\n")
    with pytest.raises(SourceError, match="line 2 has no synonyms; write: word, synonym, synonym") as caught:
        edited("x", synonyms=str(tmp_path / "bad.txt"))
    assert caught.value.key == "augmenter.synonyms"


# -- augmenters of other packages -----------------------------------------------------------------


def test_an_installed_package_can_bring_an_augmenter(monkeypatch):
    class Point:
        name = "shout"

        def load(self):
            return lambda options, around: Answering([options["mark"] * (around.seed + 1)])

    monkeypatch.setattr(protocol, "entry_points", lambda group: [Point()] if group == "lmwb.augmenters" else [])
    made = plugin("shout", {"mark": "!"}, Around(2), "augmenter.0")
    assert made.augment(["a"], [0]) == [["!!!"]]
    with pytest.raises(ValueInRecipeError, match="there is no augmenter 'shouts'; did you mean 'shout'"):
        plugin("shouts", {}, Around(0), "augmenter.0")
    with pytest.raises(ValueInRecipeError, match="the augmenter 'shout' says: 'mark'") as caught:
        plugin("shout", {}, Around(0), "augmenter.0")
    assert caught.value.key == "augmenter.0.options"


# -- the memory -----------------------------------------------------------------------------------


class Counting:
    """Rewrites a text by turning it round, and counts."""

    def __init__(self, dies_after=None):
        self.batches = []
        self.dies_after = dies_after

    def __call__(self, texts):
        if self.dies_after is not None and len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        self.batches.append(list(texts))
        return [[text[::-1]] for text in texts]


def remembering(rewrite, path, batch=2, **key):
    return Remembering(lambda: rewrite, {"model": "m", **key}, Memory(path, print), batch)


def test_an_interrupted_job_goes_on_where_it_was(tmp_path):
    texts = ["aa", "b", "cc", "dd", "b"]
    with pytest.raises(KeyboardInterrupt):
        remembering(Counting(dies_after=1), tmp_path / "m.db")(texts)
    rest = Counting()
    assert remembering(rest, tmp_path / "m.db")(texts) == [["aa"], ["b"], ["cc"], ["dd"], ["b"]]
    assert rest.batches == [["cc", "dd"]]


def test_other_settings_are_other_answers(tmp_path):
    first, second = Counting(), Counting()
    remembering(first, tmp_path / "m.db", beams=1)(["ab"])
    remembering(second, tmp_path / "m.db", beams=2)(["ab"])
    assert first.batches == second.batches == [["ab"]]


def test_a_memory_that_cannot_be_used_costs_no_answer(tmp_path):
    (tmp_path / "m.db").write_text("this is no database, and longer than a header of one hundred bytes " * 3)
    told = []
    made = Remembering(Counting, {}, Memory(tmp_path / "m.db", told.append), 2)
    assert made(["ab", "cd"]) == [["ba"], ["dc"]]
    assert "cannot use the memory of rewritten texts" in told[0]


def test_there_and_back_keeps_texts_apart_and_rows_in_order(tmp_path):
    dictionary = {"cat": "kissa", "dog": "koira", "mute": ""}
    home = {"kissa": ["cat", "kitty"], "koira": ["hound"]}
    there = remembering(lambda texts: [[dictionary[text]] for text in texts], tmp_path / "m.db", way="there")
    back = remembering(lambda texts: [home[text] for text in texts], tmp_path / "m.db", way="back")
    made = BackTranslator("fi", there, back, Around(0))
    assert made.augment(["dog", "mute", "cat", "dog"], [0, 1, 2, 3]) == [["hound"], [], ["cat", "kitty"], ["hound"]]


# -- translation models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "marian": small_models.marian(folder / "marian"),
        "several": small_models.marian(folder / "several", targets=("fra", "deu")),
        "m2m100": small_models.m2m100(folder / "m2m100"),
        "nllb": small_models.nllb(folder / "nllb"),
    }


def rewriter(model, languages=(None, None), seed=0, **settings):
    loaded = load(model, Home(small_models.Path("/nonexistent")), "cpu", "seq2seq")
    return Rewriter(loaded, Rewriting(**{"tokens": 8, **settings}), Languages(*languages), seed)


def texts_of(answers):
    return [[answer.text for answer in each] for each in answers]


@pytest.mark.parametrize(
    ("name", "languages"),
    [("marian", (None, None)), ("several", (None, "deu")), ("m2m100", ("en", "fi")), ("nllb", small_models.NLLB)],
)
def test_translations_are_those_of_generate(models, name, languages):
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(models[name]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models[name])
    options = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 8}
    prefix = ""
    if name == "several":
        prefix = ">>deu<< "
    elif languages[0]:
        tokenizer.src_lang = languages[0]
        wanted = f"__{languages[1]}__" if name == "m2m100" else languages[1]
        options["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(wanted)
    expected = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(prefix + text)["input_ids"]])
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        expected.append([each.strip() for each in tokenizer.batch_decode(written, skip_special_tokens=True)])
    for batch_size in (1, 3):
        made = rewriter(models[name], languages, beams=3, variants=2, batch_size=batch_size)
        assert texts_of(made(TEXTS)) == expected


def test_what_is_drawn_for_a_text_does_not_depend_on_the_others(models):
    settings = {"search": "sample", "variants": 3, "temperature": 1.5, "top_k": 20, "top_p": 0.95}
    together = texts_of(rewriter(models["marian"], **settings)(TEXTS))
    alone = [texts_of(rewriter(models["marian"], **settings)([text]))[0] for text in reversed(TEXTS)]
    assert together == alone[::-1]
    assert len({*together[0]}) > 1
    assert texts_of(rewriter(models["marian"], seed=1, **settings)(TEXTS)) != together


def test_draws_follow_the_models_probabilities(models):
    made = rewriter(models["marian"], search="sample", variants=64, tokens=1)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(models["marian"]).eval()
    start = model.generation_config.decoder_start_token_id
    model.generation_config.forced_eos_token_id = None
    made._loaded.model.generation_config.forced_eos_token_id = None  # else the only token is the end
    count = torch.zeros(model.config.vocab_size)
    texts = [f"{text} {more}" for text in TEXTS for more in ("a", "the", "is", "to")]
    expected = torch.zeros(model.config.vocab_size)
    for text, answers in zip(texts, made(texts), strict=True):
        for answer in answers:
            count[answer.ids[0]] += 1
        ids = torch.tensor([made.encode(text)])
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[start]])).logits[0, -1].detach()
        logits[model.generation_config.pad_token_id] = -torch.inf
        expected += 64 * logits.softmax(-1)
    error = ((count - expected).abs() / (expected + 1).sqrt()).max()
    assert error < 5  # standard deviations


def test_texts_that_do_not_fit_and_answers_that_do_not_end_are_counted(models):
    made = rewriter(models["marian"], beams=1, tokens=4)
    answers = made(["the cat " * 60, "the cat"])
    assert answers[0] == []
    assert made.shortfall.too_long == 1
    assert made.shortfall.cut == sum(not answer.finished for answer in answers[1])
    with pytest.raises(ValueInRecipeError, match="writes at most 63 tokens, not 64"):
        rewriter(models["marian"], tokens=64)


@pytest.mark.parametrize(
    ("name", "languages", "sentence", "key"),
    [
        ("m2m100", ("en", None), "knows many languages; say which with 'target'", "target"),
        ("m2m100", ("en", "fx"), "knows no language 'fx'", "target"),
        ("nllb", ("eng_Latin", "fin_Latn"), "knows no language 'eng_Latin'; did you mean 'eng_Latn'?", "language"),
        ("several", (None, "fin"), "has no target language 'fin'; it knows deu, fra", "target"),
        ("marian", (None, "fin"), "has no target language 'fin'; leave 'target' out", "target"),
    ],
)
def test_a_language_that_a_model_does_not_know_is_told(models, name, languages, sentence, key):
    with pytest.raises(ValueInRecipeError) as caught:
        rewriter(models[name], languages)
    assert sentence in str(caught.value)
    assert caught.value.key == key


def test_special_tokens_in_a_text_are_text(models):
    made = rewriter(models["marian"])
    assert made.encode("a </s> b").count(0) == 1


def test_a_package_that_is_missing_is_named_with_what_to_do(models, monkeypatch):
    def fails(*_, **__):
        raise ImportError("MarianTokenizer requires the SentencePiece library\nbut it was not found")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fails)
    with pytest.raises(ValueInRecipeError, match=r"it needs the package sentencepiece; pip install 'lmwb\[transl"):
        rewriter(models["marian"])
