"""Perplexity against a plain loop in double precision, against answers worked out by hand, and what is counted."""

import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.decoding.likelihood import Passage, log_probabilities
from lmwb.core.errors import TrainingError, UsageError
from lmwb.core.evaluation.perplexity import Perplexity, perplexity_of_continuations, perplexity_of_texts
from transformers import AutoConfig, AutoModelForCausalLM

TOKENIZER = tiny.tokenizer()
MODEL = tiny.model(TOKENIZER).eval()
PAIRS = [
    ("If the ob", "ject is a list"),
    ("The cat sat on the mat.", " A dog ran over the hill."),
    ("Names ", "refer to objects; objects have types."),
    ("She opened the door", ", and the wind came in."),
    ("日本", "語 is not in the texts"),
]


def plain(model, ids, first):
    """Negative log-probabilities of the tokens from `first` on, one text at a time, in double precision."""
    with torch.no_grad():
        logits = model.double()(torch.tensor([ids])).logits[0]
    model.float()
    logprob = logits.log_softmax(-1)
    return [-float(logprob[at - 1, ids[at]]) for at in range(max(first, 1), len(ids))]


def ids_of(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def measured(nll, tokens, size=None, **changes):
    size = [math.nan] * len(nll) if size is None else size
    return Perplexity(np.array(nll, float), np.array(tokens), np.array(size, float), 0, 0, 0, "never", **changes)


def test_split_is_that_of_a_plain_loop():
    found = perplexity_of_continuations(MODEL, TOKENIZER, PAIRS)
    losses = [plain(MODEL, ids_of(a) + ids_of(b), len(ids_of(a))) for a, b in PAIRS]
    assert found.tokens.tolist() == [len(each) for each in losses]
    assert found.each == pytest.approx([math.exp(sum(each) / len(each)) for each in losses], rel=1e-5)
    every = [loss for each in losses for loss in each]
    assert found.corpus == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-5)
    written = sum(len(b.encode()) for _, b in PAIRS)
    assert found.bits_per_byte == pytest.approx(sum(every) / math.log(2) / written, rel=1e-5)


def test_joint_counts_a_token_on_both_sides_as_continuation():
    found = perplexity_of_continuations(MODEL, TOKENIZER, PAIRS[:4], "joint")
    expected, size = [], 0
    for prefix, continuation in PAIRS[:4]:
        ids = ids_of(prefix + continuation)
        first = next(at for at in range(len(ids)) if len(TOKENIZER.decode(ids[: at + 1])) > len(prefix))
        size += len(prefix + continuation) - len(TOKENIZER.decode(ids[:first]))
        expected.append(plain(MODEL, ids, first))
    assert found.tokens.tolist() == [len(each) for each in expected]
    assert found.nll == pytest.approx([sum(each) for each in expected], rel=1e-5)
    assert found.size.sum() == size


def test_pairs_are_flagged_where_the_boundary_matters():
    split = perplexity_of_continuations(MODEL, TOKENIZER, PAIRS)
    joint = perplexity_of_continuations(MODEL, TOKENIZER, PAIRS, "joint")
    differing = tuple(at for at, (a, b) in enumerate(PAIRS) if ids_of(a + b) != ids_of(a) + ids_of(b))
    assert split.differing == joint.differing == differing
    assert 0 in differing  # "object" is a token
    assert 1 not in differing
    assert split.figures()["boundary_differs"] == len(differing)
    assert split.each[0] != pytest.approx(joint.each[0])
    assert split.each[1] == pytest.approx(joint.each[1], rel=1e-6)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    model = tiny.model(TOKENIZER)
    model.get_output_embeddings().weight.data.zero_()
    found = perplexity_of_continuations(model, TOKENIZER, PAIRS)
    size = model.config.vocab_size
    for average in (found.corpus, found.mean, found.geometric_mean):
        assert average == pytest.approx(size, rel=1e-6)


def test_the_three_averages_by_hand():
    # perplexities 2 and 4, of 2 and 6 tokens: (2·1 + 6·2) / 8 bits a token; 14 bits in 4 + 10 bytes
    found = measured([2 * math.log(2), 6 * math.log(4)], [2, 6], [4, 10])
    assert found.corpus == pytest.approx(2 ** (14 / 8))
    assert found.mean == pytest.approx(3)
    assert found.geometric_mean == pytest.approx(2**1.5)
    assert found.bits_per_byte == pytest.approx(1)


def test_what_is_undefined_is_counted_and_left_out():
    found = measured([2 * math.log(2), math.nan], [2, 0], [4, 0])
    assert (found.corpus, found.mean, found.geometric_mean, found.undefined) == pytest.approx((2, 2, 2, 1))
    nothing = measured([math.nan], [0])
    assert math.isnan(nothing.corpus)
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.bits_per_byte)
    model_says = perplexity_of_continuations(MODEL, TOKENIZER, [("The cat", ""), ("", "The")])
    first = len(ids_of("The")) - 1
    assert (model_says.undefined, model_says.unscored) == (2 - (first > 0), 1)
    assert perplexity_of_texts(MODEL, TOKENIZER, []).figures()["texts"] == 0


def test_what_stands_before_a_text_is_said_and_counted():
    texts = ["The cat sat.", "A dog"]
    never = perplexity_of_texts(MODEL, TOKENIZER, texts, "never")
    always = perplexity_of_texts(MODEL, TOKENIZER, texts, "always")
    assert (never.unscored, always.unscored) == (2, 0)
    assert always.tokens.tolist() == [count + 1 for count in never.tokens]
    assert always.size.tolist() == [len(text) for text in texts]
    assert never.size.tolist() == [len(text) - len(TOKENIZER.decode(ids_of(text)[:1])) for text in texts]
    begin = TOKENIZER.bos_token_id
    assert always.nll[0] == pytest.approx(sum(plain(MODEL, [begin, *ids_of(texts[0])], 1)), rel=1e-5)
    assert any("with a beginning-of-text token in front" in note for note in always.notes())
    assert any("2 tokens with nothing before" in note for note in never.notes())


def test_a_tokenizer_without_a_beginning_of_text_is_refused_one():
    class Without:
        bos_token_id = None

    with pytest.raises(UsageError, match="no beginning-of-text token"):
        perplexity_of_texts(MODEL, Without(), ["a"], "always")


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30)), min_size=1, max_size=12), st.randoms())
def test_figures_do_not_depend_on_what_shares_a_batch(shapes, random):
    vocabulary = MODEL.config.vocab_size
    passages = [
        Passage(np.array([random.randrange(vocabulary) for _ in range(first + n)], np.int64), first)
        for first, n in shapes
    ]
    for passage, found in zip(passages, log_probabilities(MODEL, passages), strict=True):
        (alone,) = log_probabilities(MODEL, [passage])
        assert np.isnan(found).tolist() == [at < max(passage.first, 1) for at in range(len(passage.ids))]
        np.testing.assert_allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "opt", "bloom", "gpt_neox"])
def test_every_architecture_gives_what_it_gives_without_haste(kind):
    """Tied heads, capped logits, positions counted from two, and attention biases."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40, "head_dim": 8}
    more = {"intermediate_size": 32, "ffn_dim": 32, "word_embed_proj_dim": 16, "num_key_value_heads": 2}
    known = AutoConfig.for_model(kind)
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, **{k: v for k, v in {**sizes, **more}.items() if hasattr(known, k)})
    model = AutoModelForCausalLM.from_config(config).eval()
    random = np.random.default_rng(0)
    passages = [Passage(random.integers(3, 40, n), first) for n, first in ((9, 4), (5, 0), (30, 20), (2, 1))]
    for passage, found in zip(passages, log_probabilities(model, passages), strict=True):
        expected = plain(model, passage.ids.tolist(), passage.first)
        assert -found[~np.isnan(found)] == pytest.approx(expected, abs=2e-5)


def test_beyond_the_longest_context_every_token_is_scored_once_with_half_a_window_before_it():
    model = tiny.model(TOKENIZER, n_positions=16).eval()
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 45)
    (found,) = log_probabilities(model, [Passage(ids)])
    assert np.isnan(found).sum() == 1
    assert found[1:16] == pytest.approx([-loss for loss in plain(model, ids[:16].tolist(), 1)], abs=2e-5)
    for at in range(16, 45):
        possible = [-plain(model, ids[start : at + 1].tolist(), at - start)[0] for start in range(at - 15, at - 7)]
        assert min(abs(found[at] - value) for value in possible) < 2e-5
    (late,) = log_probabilities(model, [Passage(ids, 40)])
    assert np.flatnonzero(~np.isnan(late)).tolist() == list(range(40, 45))
    text = "The cat sat on the mat and looked at the dog. " * 8
    assert perplexity_of_texts(model, TOKENIZER, [text, "The cat"]).windowed == 1


def test_damaged_weights_end_it_with_the_place():
    model = tiny.model(TOKENIZER)
    model.transformer.wte.weight.data[7] = math.nan
    with pytest.raises(TrainingError, match=r"text 2, token \d: the model's output is not finite"):
        log_probabilities(model, [Passage(np.array([1, 2], np.int64)), Passage(np.array([1, 7, 3], np.int64))])
