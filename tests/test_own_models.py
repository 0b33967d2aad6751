"""Models of our own: what they compute, how they are saved and loaded, and that padding leaves no trace."""

import math

import pytest
import tiny
import torch
from lmwb.core.data.words import count_words, frequent, words_tokenizer
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.models.encoder import EncoderBlock, EncoderConfig, sinusoids
from lmwb.core.models.loading import make_model, outline
from lmwb.core.recipe.schema import BagModel, ConvNetModel, EncoderModel, PretrainedModel
from torch import nn

ENCODER = EncoderModel(hidden=16, feedforward=24, heads=4, max_length=64)
PRE = ENCODER.model_copy(update={"norm": "pre"})
TEXT_MODELS = [ENCODER, PRE, BagModel(hidden=8)]


def tokenizer():
    return words_tokenizer(frequent(count_words(tiny.texts()), None, 1))


def build(model, labels=4, seed=0, tell=print, **more):
    torch.manual_seed(seed)
    head = "image-classification" if isinstance(model, ConvNetModel) else "classification"
    of = None if head == "image-classification" else tokenizer()
    return make_model(model, head, of, {"num_labels": labels, **more}, tell).eval()


def load(folder, kind, labels, tell=print):
    torch.manual_seed(0)
    head = "image-classification" if kind == "convnet" else "classification"
    return make_model(PretrainedModel.model_validate({"from": str(folder)}), head, None, {"num_labels": labels}, tell)


def batch(texts):
    return tokenizer()(texts, padding=True, return_tensors="pt")


@pytest.mark.parametrize("model", TEXT_MODELS, ids=["post", "pre", "bag"])
def test_padding_and_neighbours_leave_no_trace(model):
    texts = tiny.texts(8)
    made = build(model)
    together = made(**batch(texts)).logits
    for text, expected in zip(texts, together, strict=True):
        torch.testing.assert_close(made(**batch([text])).logits[0], expected, atol=1e-6, rtol=0)
    ids, mask = batch(texts).values()
    garbage = torch.where(mask.bool(), ids, 7)  # whatever stands where the mask says padding
    torch.testing.assert_close(made(garbage, mask).logits, together, atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", TEXT_MODELS, ids=["post", "pre", "bag"])
def test_a_text_without_words_gets_the_heads_own_opinion(model):
    made = build(model)
    nn.init.normal_(made.classifier.bias)
    nothing = torch.zeros(1, 3, dtype=torch.long)
    torch.testing.assert_close(made(nothing, nothing).logits[0], made.classifier.bias)
    assert made(nothing[:, :0], nothing[:, :0]).logits.isfinite().all()


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_block_computes_what_torchs_own_does(norm):
    block = EncoderBlock(EncoderConfig(hidden_size=16, num_attention_heads=4, intermediate_size=24, norm=norm)).eval()
    other = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, norm_first=norm == "pre").eval()
    with torch.no_grad():
        for part in (block.query, block.key, block.value, block.out):
            nn.init.normal_(part.bias)
        other.self_attn.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        other.self_attn.in_proj_bias.copy_(torch.cat([block.query.bias, block.key.bias, block.value.bias]))
    other.self_attn.out_proj.load_state_dict(block.out.state_dict())
    for name in ("linear1", "linear2", "norm1", "norm2"):
        getattr(other, name).load_state_dict(getattr(block, name).state_dict())
    states = torch.randn(3, 7, 16)
    real = torch.arange(7) < torch.tensor([[7], [4], [1]])
    found, expected = block(states, real[:, None, None, :]), other(states, src_key_padding_mask=~real)
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-5)


def test_positions_are_those_of_the_paper():
    made = sinusoids(50, 7)
    for position in (0, 1, 49):
        for i in range(7):
            angle = position / 10_000 ** (2 * (i // 2) / 7)
            assert made[position, i] == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-5)


def test_the_encoder_sees_the_order_of_words_and_the_bag_does_not():
    ids = batch(["the cat sat on the mat"])["input_ids"]
    turned = ids.flip(1)
    encoder, bag = build(ENCODER), build(BagModel())
    assert not torch.allclose(encoder(ids).logits, encoder(turned).logits, atol=1e-4)
    torch.testing.assert_close(bag(ids).logits, bag(turned).logits)


def inputs_of(model):
    return (torch.rand(2, 1, 32, 32),) if isinstance(model, ConvNetModel) else tuple(batch(tiny.texts(3)).values())


@pytest.mark.parametrize("model", [*TEXT_MODELS, ConvNetModel(channels=(2, 3), hidden=8)], ids=lambda m: m.kind)
def test_a_saved_model_says_the_same_when_loaded_by_transformers(model, tmp_path):
    from lmwb.core.models import own
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    made = build(model, id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2}, labels=3)
    made.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    own.register()
    auto = AutoModelForImageClassification if model.kind == "convnet" else AutoModelForSequenceClassification
    loaded = auto.from_pretrained(tmp_path).eval()
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c"}
    x = inputs_of(model)
    assert torch.equal(loaded(*x).logits, made(*x).logits)


@pytest.mark.parametrize("model", [*TEXT_MODELS, ConvNetModel()], ids=lambda m: m.kind)
def test_a_head_for_other_labels_is_replaced_and_said_aloud(model, tmp_path):
    made, said = build(model, labels=4), []
    made.save_pretrained(tmp_path)
    again = [load(tmp_path, model.kind, labels=2, tell=said.append) for _ in range(2)]
    assert again[0].classifier.weight.shape[0] == 2
    assert "a head of another size is replaced" in said[0]
    assert "classifier.weight" in said[0]
    old, new = made.state_dict(), again[0].state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if "classifier" not in name)
    assert torch.equal(new["classifier.weight"], again[1].state_dict()["classifier.weight"])  # the seed decides
    assert new["classifier.weight"].std() > 0


def test_the_seed_decides_all_weights():
    for model in (*TEXT_MODELS, ConvNetModel()):
        first, same, other = (build(model, seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("model", [*TEXT_MODELS, ConvNetModel()], ids=lambda m: m.kind)
def test_an_outline_has_the_same_shapes_and_no_weights(model):
    head = "image-classification" if model.kind == "convnet" else "classification"
    of = None if model.kind == "convnet" else tokenizer()
    sketch = outline(model, head, of, {"num_labels": 3})
    assert all(weight.is_meta for weight in sketch.parameters())
    whole = build(model, labels=3)
    assert {n: w.shape for n, w in sketch.named_parameters()} == {n: w.shape for n, w in whole.named_parameters()}


def test_vectors_that_are_not_trained_stay_frozen_when_loaded(tmp_path):
    for model in (ENCODER, BagModel()):
        said = []
        made = build(model.model_copy(update={"train_embeddings": False}), tell=said.append)
        assert said == ["embeddings: the words' vectors are random and stay so; train them, or name a file"]
        frozen = [name for name, weight in made.named_parameters() if not weight.requires_grad]
        assert frozen == [f"{made.base_model_prefix}.embeddings.weight"]
        made.save_pretrained(tmp_path / model.kind)
        loaded = load(tmp_path / model.kind, model.kind, labels=2)
        assert [name for name, weight in loaded.named_parameters() if not weight.requires_grad] == frozen


def test_padding_begins_at_zero_and_learns_nothing():
    made = build(ENCODER)
    vectors = made.get_input_embeddings()
    assert not vectors.weight[0].any()
    made(**batch(tiny.texts(3))).logits.sum().backward()
    assert not vectors.weight.grad[0].any()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueInRecipeError, match="3 heads do not divide a width of 16") as caught:
        build(ENCODER.model_copy(update={"heads": 3}))
    assert caught.value.key == "model.heads"


def test_the_encoder_names_its_longest_text():
    from lmwb.core.models.loading import longest_context

    assert longest_context(build(ENCODER)) == 64
    assert longest_context(build(BagModel())) is None
