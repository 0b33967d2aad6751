"""Masked language models: which tokens are hidden and what counts; batches and interruptions change nothing."""

from contextlib import closing

import numpy as np
import pytest
import tiny
import torch
from lmwb.core.data.blocks import framed_blocks
from lmwb.core.data.tokenizer_training import train_tokenizer
from lmwb.core.decoding.filling import fill
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.models.loading import make_model
from lmwb.core.recipe.schema import (
    BpeTokenizer,
    MaskedStage,
    Masking,
    ScratchModel,
    UnigramTokenizer,
    WordPieceTokenizer,
)
from lmwb.core.training.evaluation import evaluate
from lmwb.core.training.objectives.masked import MaskedLM
from lmwb.core.training.objectives.masking import Masker
from test_training_stage import Bench, same

CPU = torch.device("cpu")
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 34,
    "hidden_dropout_prob": 0.2,
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(tiny.texts(), WordPieceTokenizer(vocab_size=120), print)


@pytest.fixture(scope="module")
def rows(tokenizer):
    return framed_blocks(tiny.texts(), tokenizer, 24)


def stage(corpus, **changes):
    document = {
        "model": {"type": "bert", "config": BERT},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 120},
        "data": {"train": str(corpus), "block_size": 16, "validation": 0.2},
        "train": {
            **{"steps": 8, "batch_size": 2, "gradient_accumulation": 2, "lr": 1e-2, "result": "last"},
            **{"eval_every": 4, "checkpoint_every": 3},
        },
        "sample": {"prompts": ["The [MASK] sat on the [MASK]."]},
        "masking": {},
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        document[table] = {**document[table], name: value} if name else value
    return MaskedStage.model_validate({"objective": "masked-lm", **document})


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(tiny.texts()))
    return path


def model(tokenizer, kind="bert", **fields):
    torch.manual_seed(0)
    config = {**{name: size for name, size in BERT.items() if name != "hidden_dropout_prob"}, **fields}
    made = make_model(ScratchModel(type=kind, config=config), "masked-lm", tokenizer, {}, print)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return made


# -- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [4, 7, 24, 500])
def test_blocks_hold_every_token_once_between_the_marks(tokenizer, block_size):
    texts = tiny.texts(20)
    rows = framed_blocks(texts, tokenizer, block_size)
    inner = []
    for row in range(len(rows)):
        ids = rows.tokens(row).tolist()
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert len(ids) == block_size or row == len(rows) - 1
        inner += ids[1:-1]
    expected = []
    for text in texts:
        expected += [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    assert inner == expected[:-1]


def test_blocks_of_a_tokenizer_without_marks_have_none():
    plain = train_tokenizer(tiny.texts(), BpeTokenizer(vocab_size=300), print)
    rows = framed_blocks(["one", "[MASK] <|endoftext|>"], plain, 50)
    assert rows.tokens(0).tolist() == [
        *plain("one")["input_ids"],
        plain.eos_token_id,
        *plain("[MASK] <|endoftext|>", split_special_tokens=True)["input_ids"],
    ]


# -- masks ----------------------------------------------------------------------------------------


def many(tokenizer, count=400, length=100):
    ordinary = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    ids = np.random.default_rng(0).choice(ordinary, (count, length)).astype(np.int64)
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    return ids, np.ones(ids.shape, bool)


def test_hidden_tokens_have_the_published_shares(tokenizer):
    """15 % of 39,200 tokens: four standard deviations are 0.7 points; of these 80, 10 and 10 %: 2.1 and 1.6 points."""
    ids, real = many(tokenizer)
    hidden, chosen = Masker(tokenizer, Masking()).hide(ids, real, range(len(ids)), seed=3)
    assert chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.0073)
    assert (hidden[~chosen] == ids[~chosen]).all()
    masked = hidden[chosen] == tokenizer.mask_token_id
    kept = hidden[chosen] == ids[chosen]
    chance = 1 / (len(tokenizer) - len(tokenizer.all_special_ids))  # that a random token is the true one
    assert masked.mean() == pytest.approx(0.8, abs=0.021)
    assert kept.mean() == pytest.approx(0.1 + 0.1 * chance, abs=0.016)
    drawn = hidden[chosen][~masked & ~kept]
    assert not np.isin(drawn, tokenizer.all_special_ids).any()
    assert len(set(drawn.tolist())) > 0.9 * (len(tokenizer) - len(tokenizer.all_special_ids))


def test_neither_marks_nor_padding_nor_unknown_words_are_hidden(tokenizer):
    ids, real = many(tokenizer)
    ids[:, 5] = tokenizer.unk_token_id
    real[:, 60:] = False
    _, chosen = Masker(tokenizer, Masking(share=0.99)).hide(ids, real, range(len(ids)), seed=0)
    assert not chosen[:, [0, 5, *range(60, 100)]].any()
    assert chosen[:, 6:60].mean() > 0.95


def test_masks_are_a_function_of_seed_and_row(tokenizer):
    """Whatever shares a batch, in whatever order and padded to whatever length."""
    ids, real = many(tokenizer, 9)
    masker = Masker(tokenizer, Masking())
    together = masker.hide(ids, real, range(9), seed=5)
    for row in (0, 4, 8):
        padded = np.pad(ids[[row]], ((0, 0), (0, 7)), constant_values=tokenizer.pad_token_id)
        alone = masker.hide(padded, np.arange(107)[None] < 100, [row], seed=5)
        assert (alone[0][0, :100] == together[0][row]).all()
        assert (alone[1][0, :100] == together[1][row]).all()
    again = Masker(tokenizer, Masking()).hide(ids, real, range(9), seed=5)
    assert (again[0] == together[0]).all()
    for other in (masker.hide(ids, real, range(9), seed=6), masker.hide(ids, real, range(1, 10), seed=5)):
        assert (other[1] != together[1]).mean() > 0.1


def test_masks_do_not_change_from_version_to_version(tokenizer):
    """A run that goes on with a later lmwb draws what it would have drawn: worked out once with big integers."""

    def mixed(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    step, seed, row = 0x9E3779B97F4A7C15, 2**63 - 5, 17
    start = mixed((mixed((seed + step) % 2**64) + row) % 2**64)
    expected = [(mixed((start + (place + 1) * step) % 2**64) >> 11) * 2.0**-53 < 0.15 for place in range(100)]
    ids, real = many(tokenizer, 1)
    _, chosen = Masker(tokenizer, Masking()).hide(ids, real, [row], seed)
    assert chosen[0, 1:-1].tolist() == expected[1:-1]


def test_a_short_row_always_has_something_to_learn(tokenizer):
    ids, real = many(tokenizer, 300, 4)
    _, chosen = Masker(tokenizer, Masking()).hide(ids, real, range(300), seed=0)
    assert chosen.any(axis=1).all()


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_whole_words_are_hidden_or_left_alone(kind, tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    settings = {
        "wordpiece": WordPieceTokenizer(vocab_size=60),
        "unigram": UnigramTokenizer(vocab_size=60),
        "bpe": BpeTokenizer(vocab_size=290, special_tokens_from=str(tmp_path)),
    }[kind]
    of = train_tokenizer(tiny.texts(), settings, print)
    text = "compared objects executes statement opened river dog"
    encoded = of(text)
    ids = np.array([encoded["input_ids"]])
    ends = [end for _, end in of(text, return_offsets_mapping=True)["offset_mapping"]]
    word_of = [text[:end].count(" ") if end else None for end in ends]  # the space before a word belongs to it
    assert len(ids[0]) > 20
    masker = Masker(of, Masking(share=0.4, whole_words=True))
    for seed in range(40):
        _, chosen = masker.hide(ids, np.ones_like(ids, bool), [0], seed)
        for word in range(7):
            assert len({bool(c) for c, w in zip(chosen[0], word_of, strict=True) if w == word}) == 1
        assert not any(c for c, w in zip(chosen[0], word_of, strict=True) if w is None)


# -- loss and figures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("bert", {}),
        ("roberta", {}),
        ("albert", {"embedding_size": 8}),
        ("electra", {"embedding_size": 8}),
        ("modernbert", {}),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    ],
)
def test_the_head_sees_hidden_tokens_only_and_says_the_same(tokenizer, rows, kind, fields):
    of = model(tokenizer, kind, **fields).eval()
    objective = MaskedLM(rows, Masker(tokenizer, Masking()), tokenizer.pad_token_id)
    batch = objective.collate([0, 2, len(rows) - 1], seed=1)
    inputs = {name: value for name, value in batch.inputs.items() if name != "places"}
    heads = []
    handle = of.get_output_embeddings().register_forward_hook(lambda m, i, o: heads.append(o.shape[:-1].numel()))
    outputs = objective.forward(of, batch)
    handle.remove()
    whole = of(**inputs).logits.flatten(0, 1)[batch.inputs["places"]]
    assert heads == [batch.weight]
    assert torch.allclose(outputs, whole, atol=1e-6)


def test_the_loss_is_that_of_a_reference_written_by_hand(tokenizer, rows):
    of = model(tokenizer).eval()
    objective = MaskedLM(rows, Masker(tokenizer, Masking()), tokenizer.pad_token_id)
    numbers = [1, len(rows) - 1]
    batch = objective.collate(numbers, seed=4)
    total = count = 0
    for row in numbers:
        ids = rows.tokens(row).astype(np.int64)[None]
        hidden, chosen = Masker(tokenizer, Masking()).hide(ids, np.ones_like(ids, bool), [row], 4)
        logits = of(input_ids=torch.from_numpy(hidden)).logits[0]
        for place in np.flatnonzero(chosen[0]):
            total -= float(logits[place].detach().log_softmax(-1)[ids[0, place]])
            count += 1
    assert batch.weight == count
    assert batch.tokens == sum(len(rows.tokens(row)) for row in numbers)
    loss = objective.loss_sum(objective.forward(of, batch), batch)
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_the_gradient_does_not_depend_on_how_rows_are_split(tokenizer, rows):
    objective = MaskedLM(rows, Masker(tokenizer, Masking()), tokenizer.pad_token_id)
    chosen = [0, 3, 5, len(rows) - 1, 7, 8]
    found = []
    for size in (6, 3, 2, 1):
        of = model(tokenizer)
        batches = [objective.collate(chosen[i : i + size], seed=9) for i in range(0, 6, size)]
        weight = sum(batch.weight for batch in batches)
        for batch in batches:
            (objective.loss_sum(objective.forward(of, batch), batch) / weight).backward()
        found.append(torch.cat([w.grad.flatten() for w in of.parameters() if w.grad is not None]))
    for other in found[1:]:
        assert float((other - found[0]).norm() / found[0].norm()) < 1e-6


def test_figures_depend_neither_on_the_batch_size_nor_on_when(tokenizer, rows):
    of = model(tokenizer)
    objective = MaskedLM(rows, Masker(tokenizer, Masking()), tokenizer.pad_token_id)
    figures = [evaluate(of, objective, size, CPU) for size in (1, 2, 5, 64, 1)]
    assert figures[0] == figures[-1]
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], rel=1e-6)
    assert figures[0]["perplexity"] == pytest.approx(np.exp(figures[0]["loss"]))


# -- the stage ------------------------------------------------------------------------------------


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(tmp_path, corpus):
    whole, parts = Bench(tmp_path / "a", stage(corpus)), Bench(tmp_path / "b", stage(corpus))
    results = whole.work()
    for stop in (2, 3):
        with pytest.raises(Stopped):
            parts.work(stop_after=stop)
    parts.work()
    assert same(parts.weights(), whole.weights())
    with closing(whole.history) as reference, closing(parts.history) as resumed:
        for metric in ("train/loss", "validation/loss"):
            points = [it.points(of.stage_id, metric) for it, of in ((reference, whole), (resumed, parts))]
            assert points[0].values.tolist() == points[1].values.tolist()
        trace = reference.sample(reference.samples(whole.stage_id)[-1].id)
    assert set(results["validation"]) == {"loss", "perplexity"}
    assert np.isfinite(trace.logprob).sum() == 2
    assert [int(r) for r in trace.rank if r] == [1, 1]


def test_the_result_fills_gaps_in_transformers_own_pipeline(tmp_path, corpus):
    from transformers import pipeline

    bench = Bench(tmp_path / "home", stage(corpus))
    results = bench.work()
    folder = str(bench.folder / results["model"])
    filler = pipeline("fill-mask", model=folder, tokenizer=folder, device="cpu", top_k=3)
    trace = fill(filler.model, filler.tokenizer, "The [MASK] sat.", 3)
    at = trace.prompt_length
    expected = filler("The [MASK] sat.")
    assert trace.alternative_ids[at].tolist() == [each["token"] for each in expected]
    assert np.exp(trace.alternative_logprob[at]) == pytest.approx([each["score"] for each in expected], rel=1e-4)
    assert trace.ids[at] == expected[0]["token"]
    assert trace.text().split() == expected[0]["sequence"].replace(".", " .").split()
    logprob = filler.model(**filler.tokenizer("The [MASK] sat.", return_tensors="pt")).logits[0, at].log_softmax(-1)
    assert trace.entropy[at] == pytest.approx(float(-(logprob.exp() * logprob).sum() / np.log(2)), rel=1e-4)
    assert np.isnan(np.delete(trace.logprob, at)).all()


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        ({"tokenizer": {"kind": "bpe", "vocab_size": 300}}, "tokenizer", "the tokenizer has no mask token"),
        ({"sample__prompts": ["The [MASK].", "No gap."]}, "sample.prompts", r"prompt 2, 'No gap\.', cannot be filled"),
        (
            {"sample__prompts": ["[MASK] " + "the " * 60]},
            "sample.prompts",
            r"prompt 1 has 63 tokens, the model takes 34",
        ),
        ({"data__block_size": 40}, "data.block_size", "block_size 40 is more than the 34 tokens"),
        ({"model": {"type": "gpt2"}}, "model.type", "transformers knows no masked language model of type 'gpt2'"),
        ({"data__block_size": 10**6}, "data.train", r"give \d+ tokens, too few for one block"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, corpus, changes, key, sentence):
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        Bench(tmp_path / "home", stage(corpus, **changes)).work()
    assert caught.value.key == key


def test_roberta_counts_positions_from_its_padding_on(tmp_path, corpus):
    """With 34 positions and padding number 0 it takes 33 tokens."""
    of = {"type": "roberta", "config": BERT}
    with pytest.raises(ValueInRecipeError, match="block_size 34 is more than the 33 tokens"):
        Bench(tmp_path / "home", stage(corpus, model=of, data__block_size=34)).work()
    Bench(tmp_path / "fits", stage(corpus, model=of, data__block_size=33, train__steps=1)).work()


# -- smoothing --------------------------------------------------------------------------------------


def smoothed(tokenizer, rows, power=0.7, share=0.15):
    counts = np.bincount(rows.stream, minlength=len(tokenizer))
    return Masker(tokenizer, Masking(share=share, smoothing=power), counts), counts


def test_with_smoothing_every_row_hides_its_share_rounded_up(tokenizer, rows):
    masker, _ = smoothed(tokenizer, rows)
    ids = np.full((2, 23), tokenizer.pad_token_id)
    real = np.arange(23) < np.array([[23], [9]])
    marks = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    ids[0, :] = 20 + np.arange(23)
    ids[1, :9] = [marks[0], *[30] * 7, marks[1]]
    _, chosen = masker.hide(ids, real, [0, 1], 3)
    assert chosen.sum(axis=1).tolist() == [4, 2]  # ⌈.15 · 23⌉ and ⌈.15 · 9⌉
    assert not chosen[1, [0, *range(8, 23)]].any()


def test_with_smoothing_a_row_with_fewer_tokens_than_wanted_hides_them_all(tokenizer, rows):
    masker, _ = smoothed(tokenizer, rows, share=0.9)
    ids = np.array([[tokenizer.cls_token_id, 40, tokenizer.unk_token_id, tokenizer.sep_token_id]])
    _, chosen = masker.hide(ids, np.ones_like(ids, bool), [5], 3)
    assert chosen.tolist() == [[False, True, False, False]]


def test_with_smoothing_tokens_are_drawn_one_by_one_in_proportion_to_their_rarity(tokenizer, rows):
    """Two of four without putting back: chances worked out over all orders."""
    masker, counts = smoothed(tokenizer, rows, share=0.5)
    ordinary = [i for i in np.argsort(-counts) if i > 10 and counts[i]]
    tokens = [ordinary[0], ordinary[1], ordinary[-1], ordinary[len(ordinary) // 2]]
    weights = counts[tokens] ** -0.7
    weights /= weights.sum()
    wanted = [w + sum(v * w / (1 - v) for j, v in enumerate(weights) if j != i) for i, w in enumerate(weights)]
    many = 20_000
    _, chosen = masker.hide(np.tile(tokens, (many, 1)), np.ones((many, 4), bool), range(many), 1)
    assert (chosen.sum(axis=1) == 2).all()
    assert chosen.mean(axis=0) == pytest.approx(wanted, abs=4 * 0.5 / many**0.5)
    assert max(wanted) - min(wanted) > 0.2


def test_with_smoothing_masks_are_a_function_of_seed_and_row(tokenizer, rows):
    objective = MaskedLM(rows, smoothed(tokenizer, rows)[0], tokenizer.pad_token_id)
    many, alone = objective.collate([4, 2, 7], seed=3), objective.collate([2], seed=3)
    assert torch.equal(many.inputs["input_ids"][1, : alone.inputs["input_ids"].shape[1]], alone.inputs["input_ids"][0])
    other = objective.collate([2], seed=4)
    assert not torch.equal(other.inputs["input_ids"], alone.inputs["input_ids"])


def test_only_training_is_smoothed(tmp_path, corpus):
    from lmwb.core.tasks.masked import MaskedTask
    from lmwb.core.tasks.task import Surroundings

    def hidden(smoothing):
        of = stage(corpus, masking={"smoothing": smoothing})
        material = MaskedTask(of, Surroundings(1, tmp_path / "cache", print)).read()
        parts = (material.train, material.validation["validation"])
        return [part.collate(range(len(part)), seed=0).inputs["places"].tolist() for part in parts]

    plain, weighed = hidden(0.0), hidden(0.7)
    assert plain[0] != weighed[0]
    assert plain[1] == weighed[1]


def test_shares_that_add_up_but_for_rounding_are_taken():
    assert 0.7 + 0.2 + 0.1 != 1.0
    for mask, random in ((0.7, 0.2), (0.7, 0.3), (0.8, 0.2), (0.58, 0.42), (1.0, 0.0), (0.1 + 0.2, 0.7)):
        Masking(mask=mask, random=random)
    with pytest.raises(ValueError, match="together at most 1"):
        Masking(mask=0.8, random=0.21)


def test_whole_words_are_not_smoothed():
    with pytest.raises(ValueError, match="leave one of them out"):
        Masking(whole_words=True, smoothing=0.7)
