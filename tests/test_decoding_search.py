"""The search finds what a plain one finds, and what transformers finds."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from lmwb.core.decoding.processors import make
from lmwb.core.decoding.records import Fate
from lmwb.core.decoding.search import search
from lmwb.core.errors import TrainingError
from lmwb.core.recipe.schema import Decoding
from small_searches import PROMPT, PROMPTS, VOCABULARY, found, ids_of, plain_beam_search, tiny_model

STEPS = 10
CLEAR = 1e-4
BLOCKS = {
    "none": [],
    "words": [{"kind": "words"}],
    "trigrams": [{"kind": "ngrams"}],
    "both": [{"kind": "words"}, {"kind": "ngrams"}],
}


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_beams_are_those_of_a_plain_search(family, block, beams):
    model = tiny_model(family)
    plain = plain_beam_search(model, PROMPT, beams, STEPS, ("words", "trigrams") if block == "both" else (block,))
    assert plain.gap > CLEAR, "rivals too close to compare"
    settings = Decoding.model_validate({"beams": beams, "tokens": STEPS, "processors": BLOCKS[block]})
    result = search(model, [PROMPT], settings, (), make(settings, None, ()))
    for trail, (parents, ids, totals) in zip(result.trails, plain.steps, strict=True):
        assert trail.candidates.parents[0, :beams].tolist() == parents
        assert trail.candidates.ids[0, :beams].tolist() == ids
        np.testing.assert_allclose(trail.candidates.totals[0, :beams], totals, atol=1e-4)
    for row, ending in enumerate(result.endings[0]):
        way = result.path(0, ending)
        assert ids_of(result, 0, ending) == plain.ids[row, len(PROMPT) :].tolist()
        assert ending.total == pytest.approx(float(plain.totals[row]), abs=1e-4)
        logprob = [result.trails[s].logprob[b, c] for s, b, c in way]
        scores = [result.trails[s].candidates.scores[b, c] for s, b, c in way]
        np.testing.assert_allclose(logprob, plain.raw[row], atol=2e-5)
        np.testing.assert_allclose(scores, plain.processed[row], atol=2e-5)


class SeenTokens:
    """For transformers: what `words` blocks; padding is not part of the text."""

    def __init__(self, padding):
        self.padding = padding

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        for row, ids in enumerate(input_ids.tolist()):
            while ids[0] == self.padding:
                ids = ids[1:]
            scores[row, sorted(set(ids))] = -torch.inf
        return scores


def generated(model, prompts, beams, end=None, **options):
    """What transformers makes of prompts at once: for each, its texts as (ids without end and padding, score)."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    model.generation_config.eos_token_id = end
    out = model.generate(
        ids,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    texts = []
    for row, score in zip(out.sequences[:, longest:].tolist(), out.sequences_scores.tolist(), strict=True):
        row = row[: row.index(end) + 1] if end in row else row
        texts.append((row, score))
    return [texts[i * beams : (i + 1) * beams] for i in range(len(prompts))]


def assert_same(ours, theirs):
    """Ids are the same unless another text's score is as near as rounding; scores agree in any case."""
    for mine, other in zip(ours, theirs, strict=True):
        scores = [score for _, score in other]
        np.testing.assert_allclose([final for _, _, final in mine], scores, atol=1e-4)
        clear = all(a - b > CLEAR for a, b in pairwise(scores))
        assert clear, "rivals too close to compare"
        assert [ids for ids, _, _ in mine] == [ids for ids, _ in other]


@pytest.mark.parametrize("prompts", [[PROMPT], PROMPTS], ids=["one", "several"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
class TestAsTransformers:
    def test_without_an_end(self, family, prompts):
        model = tiny_model(family)
        theirs = generated(model, prompts, 4, length_penalty=0.0, max_new_tokens=STEPS)
        assert_same(found(model, prompts, {"beams": 4, "tokens": STEPS}), theirs)

    def test_without_trigrams(self, family, prompts):
        model = tiny_model(family)
        theirs = generated(model, prompts, 4, length_penalty=0.0, max_new_tokens=STEPS, no_repeat_ngram_size=3)
        assert_same(found(model, prompts, {"beams": 4, "tokens": STEPS, "processors": BLOCKS["trigrams"]}), theirs)

    def test_without_seen_tokens(self, family, prompts):
        model = tiny_model(family)
        theirs = generated(
            model, prompts, 4, length_penalty=0.0, max_new_tokens=STEPS, logits_processor=[SeenTokens(0)]
        )
        padless = [{"kind": "words"}]
        assert_same(found(model, prompts, {"beams": 4, "tokens": STEPS, "processors": padless}), theirs)

    @pytest.mark.parametrize("early", [False, True])
    @pytest.mark.parametrize("penalty", [0.0, 1.0, -0.5, 2.0])
    def test_with_an_end(self, family, prompts, penalty, early):
        model = tiny_model(family)
        end = likely_end(model, prompts)
        options = {"length_penalty": penalty, "early_stopping": early}
        theirs = generated(model, prompts, 3, end, max_new_tokens=STEPS, **options)
        if penalty <= 0:  # above, long texts win
            assert any(ids[-1] == end and len(ids) < STEPS for texts in theirs for ids, _ in texts)
        assert_same(found(model, prompts, {"beams": 3, "tokens": STEPS, "end": "stop", **options}, ends=(end,)), theirs)

    def test_greedily(self, family, prompts):
        model = tiny_model(family)
        end = likely_end(model, prompts)
        for ends in ((), (end,)):
            mine = found(model, prompts, {"search": "greedy", "tokens": STEPS}, ends=ends)
            for prompt, texts in zip(prompts, mine, strict=True):
                model.generation_config.eos_token_id = ends[0] if ends else None
                ids = torch.tensor([prompt])
                theirs = model.generate(ids, do_sample=False, max_new_tokens=STEPS, pad_token_id=0)
                assert texts[0][0] == theirs[0, len(prompt) :].tolist()


def likely_end(model, prompts):
    """A token that beams meet soon."""
    texts = found(model, prompts, {"beams": 3, "tokens": 4})
    seen = [ids[2] for beams in texts for ids, _, _ in beams]
    return max(set(seen), key=seen.count)


def test_equal_scores_go_by_row_and_id():
    model = tiny_model("gpt2", seed=3)
    flat = type(model)(model.config).eval()
    with torch.no_grad():
        flat.transformer.ln_f.weight.zero_()
    settings = Decoding(beams=5, tokens=3)
    result = search(flat, [PROMPT, [4]], settings)
    for trail in result.trails:
        assert trail.candidates.ids[:, :5].tolist() == [[0, 1, 2, 3, 4]] * 2
        assert trail.candidates.parents[:, :5].tolist() == [[0] * 5] * 2


def test_prompts_do_not_depend_on_their_batch():
    for family in ("gpt2", "llama"):
        model = tiny_model(family)
        for settings in ({"beams": 3, "tokens": STEPS}, {"search": "sample", "samples": 3, "tokens": STEPS}):
            alone = [found(model, [prompt], settings)[0] for prompt in PROMPTS]
            together = found(model, PROMPTS, settings)
            for one, other in zip(alone, together, strict=True):
                assert [ids for ids, *_ in one] == [ids for ids, *_ in other]
                np.testing.assert_allclose([t for _, t, _ in one], [t for _, t, _ in other], atol=1e-4)


def test_numbers_that_are_none_stop_the_search_with_step_and_row():
    model = copy.deepcopy(tiny_model("llama"))
    best = found(model, [[3], PROMPT], {"beams": 3, "tokens": 1})[1]
    second = best[1][0][0]
    assert second not in [3, *PROMPT, *(ids[0] for ids, *_ in found(model, [[3]], {"beams": 3, "tokens": 1})[0])]
    with torch.no_grad():  # the model breaks when it reads the second beam's token
        model.model.embed_tokens.weight[second] = torch.nan
    with pytest.raises(TrainingError, match=r"the model's numbers are not finite: step 2, prompt 2, row 2$"):
        found(model, [[3], PROMPT], {"beams": 3, "tokens": 3})
    with pytest.raises(TrainingError, match=r"the model's numbers are not finite: step 2, prompt 2, row 2$"):
        found(model, [[3], PROMPT], {"beams": 3, "tokens": 3, "processors": [{"kind": "top-k", "k": 20}]})


def test_fewer_tokens_than_beams_leave_fewer_beams():
    model = tiny_model("gpt2")
    few = [{"kind": "top-k", "k": 2}]
    (texts,) = found(model, [PROMPT], {"beams": 5, "tokens": 1, "processors": few})
    assert len(texts) == 2
    (texts,) = found(model, [PROMPT], {"beams": 5, "tokens": 3, "processors": few})
    assert len(texts) == 5  # 2, 4, 8 continuations


def test_a_text_that_nothing_can_follow_ends_there():
    narrow = copy.deepcopy(tiny_model("gpt2"))
    narrow.resize_token_embeddings(4)
    for settings in ({"beams": 2}, {"search": "greedy"}, {"search": "sample", "samples": 3}):
        settings = {**settings, "tokens": 6, "processors": [{"kind": "words"}]}
        texts, nothing = found(narrow, [[0], [0, 1, 2, 3]], settings)
        assert len(texts) == Decoding.model_validate(settings).rows
        assert all(sorted(ids) == [1, 2, 3] for ids, *_ in texts)
        assert [(ids, total) for ids, total, _ in nothing] == [([], 0.0)]


def test_drawing_follows_the_probabilities_and_the_seed():
    model = tiny_model("gpt2")
    with torch.no_grad():
        expected = model(torch.tensor([PROMPT])).logits[0, -1].softmax(0).numpy()
    (texts,) = found(model, [PROMPT], {"search": "sample", "samples": 256, "tokens": 1})
    counts = np.bincount([ids[0] for ids, *_ in texts], minlength=VOCABULARY)
    spread = np.sqrt(256 * expected * (1 - expected)) + 1
    assert (np.abs(counts - 256 * expected) < 4.5 * spread).all()
    again = found(model, [PROMPT], {"search": "sample", "samples": 256, "tokens": 1})
    other = found(model, [PROMPT], {"search": "sample", "samples": 256, "tokens": 1, "seed": 1})
    assert again == [texts]
    assert other != [texts]


def test_fates_tell_what_became_of_the_candidates():
    model = tiny_model("gpt2")
    end = likely_end(model, [PROMPT])
    settings = Decoding(beams=3, tokens=STEPS, end="stop")
    result = search(model, [PROMPT], settings, (end,))
    for trail in result.trails:
        finished = trail.fates[0] == Fate.FINISHED
        assert (trail.candidates.ids[0, finished] == end).all()
        assert finished[3:].sum() == 0
        assert (trail.fates[0] == Fate.KEPT).sum() <= 3
    assert any((trail.fates == Fate.FINISHED).any() for trail in result.trails)
