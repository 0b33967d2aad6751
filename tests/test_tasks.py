"""Ready-made tasks: their answers are those of transformers, in any batch; wrong models get a sentence."""

import math

import pytest
import small_labels
import small_models
import small_tokenizers
import torch
import transformers
from lmwb.core.errors import UsageError
from lmwb.core.evaluation.tasks.registry import DEFAULTS, make_task
from lmwb.core.evaluation.tasks.task import Settings
from lmwb.core.home import Home
from lmwb.core.recipe.schema import Decoding, Rewriting

TEXTS = ["the cat sat", "a dog ran over the hill to the river", "items are compared", "she opened the door"]
GAPS = ["the [MASK] sat", "a dog ran [MASK] the hill to the river", "items are [MASK]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def task(name, model, **settings):
    return make_task(name, model, Settings(**settings), Home(small_models.Path("/nonexistent")), "cpu", print)


def pairs(choices):
    return [(choice.text, pytest.approx(choice.probability, abs=1e-6)) for choice in choices]


# -- classification -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [{}, {"problem_type": "multi_label_classification"}, {"names": ("toxic",)}],
    ids=["softmax", "sigmoid for several labels", "sigmoid for one label"],
)
def test_labels_are_those_of_transformers(folder, fields):
    model = small_models.bert_classifier(folder / str(sorted(fields)), **fields)
    pipeline = transformers.pipeline("text-classification", model=model, device="cpu")
    for batch_size in (1, 3):
        found = task("text-classification", model, top=3, batch_size=batch_size).predict(TEXTS)
        for each, expected in zip(found, pipeline(TEXTS, top_k=3), strict=True):
            assert pairs(each.answers[0]) == [(one["label"], one["score"]) for one in expected]


def test_a_regression_answers_its_number_and_no_probability(folder):
    model = small_models.bert_classifier(folder / "regression", ("score",), problem_type="regression")
    (found,) = task("text-classification", model).predict(TEXTS[:1])
    (expected,) = transformers.pipeline("text-classification", model=model, device="cpu")(TEXTS[:1])
    (choice,) = found.answers[0]
    assert choice.probability is None
    assert choice.score == pytest.approx(expected["score"], abs=1e-6)
    assert "no probabilities" in str(task("text-classification", model).explain(TEXTS[0]))


def test_a_classifier_without_padding_answers_texts_of_all_lengths(folder):
    config = transformers.GPT2Config(vocab_size=320, n_layer=1, n_head=2, n_embd=16, n_positions=64, num_labels=2)
    tokenizer = small_tokenizers.byte_level()
    model = small_models.save(transformers.GPT2ForSequenceClassification, config, tokenizer, folder / "gpt2-classes")
    found = task("text-classification", model).predict(TEXTS)
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
    for text, each in zip(TEXTS, found, strict=True):
        logits = classifier(torch.tensor([tokenizer(text)["input_ids"]])).logits[0].tolist()
        by_label = {choice.text: choice.score for choice in each.answers[0]}
        assert by_label == pytest.approx({"LABEL_0": logits[0], "LABEL_1": logits[1]}, abs=1e-5)


@pytest.mark.parametrize("kind", ["bag", "encoder"])
def test_our_own_classifiers_answer_as_they_did_in_training(tmp_path, kind):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows())
    stage = small_labels.stage(train, model={"kind": kind, "hidden": 8}, tokenizer={"kind": "words"})
    read = small_labels.Read(stage, tmp_path)
    model = read.model()
    model.save_pretrained(tmp_path / "model")
    read.material.tokenizer.save_pretrained(tmp_path / "model")
    texts = [row["text"] for row in small_labels.rows(5)]
    found = task("text-classification", str(tmp_path / "model"), top=2).predict(texts)
    for text, each in zip(texts, found, strict=True):
        logits = model(torch.tensor([read.material.tokenizer(text)["input_ids"]])).logits[0]
        assert {c.text: c.score for c in each.answers[0]} == pytest.approx(
            dict(zip(("bad", "good"), logits.tolist(), strict=True)), abs=1e-5
        )


def test_a_text_that_is_too_long_is_cut_and_says_so(folder):
    model = small_models.bert_classifier(folder / "classifier")
    short, long = task("text-classification", model).predict(["the cat", "the cat " * 100])
    assert not short.notes
    assert long.notes == ("it was cut to the 64 tokens that the model takes",)


# -- gaps -----------------------------------------------------------------------------------------


def test_gaps_are_filled_as_by_transformers(folder):
    model = small_models.bert_filler(folder / "filler")
    pipeline = transformers.pipeline("fill-mask", model=model, device="cpu")
    found = task("fill-mask", model, top=4, batch_size=2).predict(GAPS)
    for text, each in zip(GAPS, found, strict=True):
        expected = pipeline(text, top_k=4)
        assert [c.probability for c in each.answers[0]] == pytest.approx([one["score"] for one in expected], abs=1e-6)
        assert [c.text.strip() for c in each.answers[0]] == [one["token_str"].removeprefix("##") for one in expected]
        assert each.whole == expected[0]["sequence"]


def test_several_gaps_are_answered_one_by_one(folder):
    model = small_models.bert_filler(folder / "filler")
    text = "the [MASK] sat on the [MASK] and [MASK]"
    (found,) = task("fill-mask", model, top=2).predict([text])
    expected = transformers.pipeline("fill-mask", model=model, device="cpu")(text, top_k=2)
    assert len(found.answers) == 3
    for answers, of_gap in zip(found.answers, expected, strict=True):
        assert [c.probability for c in answers] == pytest.approx([one["score"] for one in of_gap], abs=1e-6)


# -- writing --------------------------------------------------------------------------------------


def test_texts_go_on_as_by_transformers(folder):
    model = small_models.gpt2(folder / "gpt2")
    settings = Decoding(search="greedy", tokens=6)
    found = task("text-generation", model, top=1, decoding=settings).predict(TEXTS)
    pipeline = transformers.pipeline("text-generation", model=model, device="cpu")
    config = transformers.GenerationConfig(max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=0)
    for text, each in zip(TEXTS, found, strict=True):
        (expected,) = pipeline(text, generation_config=config, return_full_text=False)
        assert each.answers[0][0].text.strip() == expected["generated_text"].strip()


@pytest.mark.parametrize("name", ["t5", "marian"])
def test_texts_are_written_for_texts_as_by_generate(folder, name):
    model = getattr(small_models, name)(folder / name)
    settings = Rewriting(beams=3, variants=2, tokens=8, batch_size=2)
    found = task("text-to-text", model, rewriting=settings, prefix="say: ").predict(TEXTS)
    loaded = transformers.AutoModelForSeq2SeqLM.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    for text, each in zip(TEXTS, found, strict=True):
        ids = torch.tensor([tokenizer("say: " + text)["input_ids"]])
        options = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 8}
        written = loaded.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        expected = [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]
        assert [choice.text for choice in each.answers[0]] == expected


# -- the road from text to probabilities ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "text"),
    [
        ("text-classification", small_models.bert_classifier, TEXTS[0]),
        ("fill-mask", small_models.bert_filler, GAPS[0]),
        ("text-generation", small_models.gpt2, TEXTS[0]),
        ("text-to-text", small_models.t5, TEXTS[0]),
    ],
)
def test_the_softmax_that_is_worked_out_adds_up(folder, name, make, text):
    settings = {"decoding": Decoding(tokens=4), "rewriting": Rewriting(tokens=4)}
    steps = task(name, make(folder / f"explained-{name}"), top=3, **settings).explain(text)
    assert [step.title for step in steps][:2] == ["The model", "From text to tokens to ids"]
    table = next(step for step in steps if step.shares)
    assert sum(table.shares) == pytest.approx(1)
    powers = [float(row[3]) for row in table.rows]
    assert [float(row[4]) for row in table.rows] == pytest.approx([p / sum(powers) for p in powers], abs=2e-6)
    for row in table.rows:
        if row[2]:
            assert float(row[3]) == pytest.approx(math.exp(float(row[2])), abs=1e-4)


def test_the_tokens_that_are_explained_are_the_models_input(folder):
    model = small_models.bert_classifier(folder / "classifier")
    steps = task("text-classification", model).explain("the cat sat")
    expected = small_tokenizers.wordpiece()("the cat sat")["input_ids"]
    assert [int(row[2]) for row in steps[1].rows] == expected


# -- what does not go together --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("fill-mask", small_models.gpt2, "is a causal language model (GPT2LMHeadModel), not a masked language model"),
        ("text-classification", small_models.headless_bert, "is no text classifier: it has no weights for classifier"),
        ("text-classification", small_models.bert_filler, "is a masked language model (BertForMaskedLM), not a text"),
        ("text-generation", small_models.bert_filler, "is a masked language model (BertForMaskedLM), not a causal"),
        ("text-to-text", small_models.gpt2, "is a causal language model (GPT2LMHeadModel), not a text-to-text model"),
    ],
)
def test_a_model_of_another_kind_gets_a_sentence(folder, name, make, sentence):
    with pytest.raises(UsageError) as caught:
        task(name, make(folder / f"wrong-{make.__name__}"))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_answered_is_told(folder):
    filler = task("fill-mask", small_models.bert_filler(folder / "filler"))
    with pytest.raises(UsageError, match="there is no gap in 'no gap here'; write \\[MASK\\]"):
        filler.predict(["no gap here"])
    with pytest.raises(UsageError, match="the model takes 64"):
        filler.predict(["the [MASK] " * 60])
    with pytest.raises(UsageError, match="there is no task 'fill-masks'; did you mean 'fill-mask'"):
        task("fill-masks", "x")


def test_every_task_has_a_model_by_default():
    assert all("/" in name for name in DEFAULTS.values())
