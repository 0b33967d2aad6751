"""From a recipe's methods to a model that is ready to be trained."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.methods import adapt, adapters, lora
from lmwb.core.methods.names import matching
from lmwb.core.models.encoder import EncoderClassifier, EncoderConfig
from lmwb.core.models.origin import remember_origin
from lmwb.core.recipe.schema.method import Adapters, Layers, LinearProbe, Lora
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}


def bert(**fields):
    return BertForSequenceClassification(BertConfig(**SHAPE, num_labels=3, **fields))


def encoder(**fields):
    return EncoderClassifier(EncoderConfig(vocab_size=40, hidden_size=8, num_labels=3, pad_token_id=0, **fields))


def trained(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def done(model, *methods):
    said = []
    groups = adapt(model, methods, said.append)
    in_groups = {id(weight) for group in groups for weight in group.weights}
    assert in_groups == {id(weight) for weight in model.parameters() if weight.requires_grad}
    return groups, said


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("query", ["layer.1.query", "layer.11.query"]),
        ("layer.1.*", ["layer.1.query", "layer.1.my_query"]),
        ("1.query", ["layer.1.query"]),
        ("layer.?.query", ["layer.1.query"]),
        ("*query", ["layer.1.query", "layer.1.my_query", "layer.11.query"]),
        ("layer.1", []),
        ("[q]uery", []),
        ("que", []),
    ],
)
def test_patterns_match_the_end_of_a_name(pattern, found):
    assert matching(pattern, ["layer.1.query", "layer.1.my_query", "layer.11.query"]) == found


@given(st.lists(st.text("ab.[*", min_size=1, max_size=6), max_size=8), st.text("ab.[", min_size=1, max_size=4))
def test_a_pattern_without_stars_matches_whole_parts_only(names, pattern):
    assert matching(pattern, names) == [name for name in names if f".{name}".endswith(f".{pattern}")]


# -- what is trained ------------------------------------------------------------------------------


def test_without_methods_all_is_trained_but_what_is_frozen_already():
    _, said = done(bert())
    assert said[0].startswith("training all ")
    model = encoder(train_embeddings=False)
    _, said = done(model)
    assert trained(model) == {name for name, _ in model.named_parameters()} - {"encoder.embeddings.weight"}
    total = sum(weight.numel() for weight in model.parameters())
    assert said[0].startswith(f"training {total - 40 * 8:,} of {total:,} weights (")


def test_a_linear_probe_trains_the_head():
    for model in (bert(), encoder()):
        _, said = done(model, LinearProbe())
        assert trained(model) == {"classifier.weight", "classifier.bias"}
        total = sum(weight.numel() for weight in model.parameters())
        assert said == [f"training 27 of {total:,} weights ({2700 / total:.3g} %): classifier"]


def test_weights_that_the_base_did_not_have_belong_to_the_head():
    """A masked language model has no pooler; a classifier made of it has a new one, which must not stay as drawn."""
    model = bert()
    remember_origin(model, "somewhere", {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight"})
    done(model, LinearProbe())
    assert trained(model) == {
        f"{part}.{name}" for part in ("classifier", "bert.pooler.dense") for name in ("weight", "bias")
    }


def test_a_head_shares_no_weight_with_the_base():
    """The output layer of a masked language model is the embedding once more; only what is its own is trained."""
    model = BertForMaskedLM(BertConfig(**SHAPE))
    done(model, LinearProbe())
    assert "bert.embeddings.word_embeddings.weight" not in trained(model)
    assert {name.partition(".")[0] for name in trained(model)} == {"cls"}
    untied = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False))
    done(untied, LinearProbe())
    assert trained(untied) == {"lm_head.weight"}


def test_a_language_model_whose_head_is_its_embedding_has_none():
    model = tiny.model(tiny.tokenizer())
    with pytest.raises(ValueInRecipeError, match="no head of its own to train; choose layers") as caught:
        done(model, LinearProbe())
    assert caught.value.key == "method.0.kind"
    _, said = done(tiny.model(tiny.tokenizer()), Lora(targets=["c_attn"]), Adapters(targets=["c_proj"]))
    assert [line for line in said if "head" in line] == [
        "lora: the model has no head of its own, so 'head' means nothing here"
    ]


def test_layers_and_their_rates():
    model = bert()
    groups, said = done(model, Layers(train=["layer.1", "embeddings.LayerNorm"], rates={"*": 0.5, "classifier": 2.0}))
    assert {group.scale for group in groups} == {0.5, 2.0}
    by_scale = {group.scale: sum(weight.numel() for weight in group.weights) for group in groups}
    assert by_scale[2.0] == 27
    assert all(
        name.startswith(("bert.encoder.layer.1.", "bert.embeddings.LayerNorm.", "classifier."))
        for name in trained(model)
    )
    assert any(line.startswith("rate × 2: classifier.weight") for line in said)


def test_methods_add_up():
    model = bert()
    done(
        model,
        Lora(targets=["query"], rank=2, also_train=["pooler"]),
        Adapters(targets=["layer.0.output.dense"], size=3, head=False),
        Layers(train=["layer.1.output.LayerNorm"], head=False),
    )
    names = trained(model)
    assert {name for name in names if ".lora." in name} == {
        f"bert.encoder.layer.{layer}.attention.self.query.lora.default.{part}" for layer in (0, 1) for part in "AB"
    }
    # not the attention's `output.dense`
    assert [name for name, _ in adapters.layers(model)] == ["bert.encoder.layer.0.output.dense"]
    rest = {name.rpartition(".")[0] for name in names if ".lora." not in name and ".bottleneck." not in name}
    assert rest == {"bert.pooler.dense", "classifier", "bert.encoder.layer.1.output.LayerNorm"}


def test_what_is_trained_whole_is_not_adapted_as_well():
    model = bert()
    _, said = done(model, Lora(targets=["query", "classifier"]), Layers(train=["layer.1"]))
    assert [name for name, _ in lora.layers(model)] == ["bert.encoder.layer.0.attention.self.query"]
    assert "lora: left out, because trained whole: bert.encoder.layer.1.attention.self.query, classifier" in said


def test_new_weights_depend_on_the_seed_alone():
    def drawn():
        model = bert()
        torch.manual_seed(7)
        done(model, Lora(targets=["query"]), Adapters(targets=["output.dense"]))
        return {name: value for name, value in model.state_dict().items() if ".lora." in name or ".bottleneck." in name}

    first, second = drawn(), drawn()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_model_without_weights_can_be_looked_at():
    with torch.device("meta"):
        model = bert()
    done(model, Lora(targets=["query"]), Adapters(targets=["output.dense"], size=2))
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "key", "sentence"),
    [
        (
            [Lora(targets=["query", "valeu"])],
            "method.0.targets",
            "no linear layer, attention or convolution is named 'valeu'; did you mean 'value'?",
        ),
        ([Adapters(targets=["dens"])], "method.0.targets", "no linear layer is named 'dens'; did you mean 'dense'"),
        ([Lora(targets=["zzz"])], "method.0.targets", "is named 'zzz'; there are 'query', 'key', 'value', 'dense'"),
        (
            [Lora(targets=["attention.self"])],
            "method.0.targets",
            r"attention.self' is a \w+, not a linear layer.*write 'attention.self.\*' for the layers in it",
        ),
        ([Lora(targets=["word_embeddings"])], "method.0.targets", "word_embeddings' is a Embedding, not a linear"),
        (
            [Lora(targets=["query"]), Lora(targets=["key", "que*"])],
            "method.1.targets",
            r"layer.0.attention.self.query' is adapted by method 0 already",
        ),
        ([Lora(targets=["query"]), Adapters(targets=["query"])], "method.1.targets", "adapted by method 0 already"),
        (
            [Lora(targets=["query"], also_train=["poler"])],
            "method.0.also_train",
            "named 'poler'; did you mean 'pooler'",
        ),
        ([Layers(train=["layer.7"])], "method.0.train", "no part of the model is named 'layer.7'"),
        ([Layers(train=["dropout"])], "method.0.train", "dropout' has no weights to train"),
        (
            [Layers(train=["layer.1"], rates={"layer.0": 0.1})],
            "method.0.rates.layer.0",
            "is not trained, so it needs no",
        ),
        ([Lora(targets=["classifier"])], "method.0.targets", "are trained whole anyway: classifier"),
    ],
    ids=str,
)
def test_methods_that_do_not_fit_the_model_are_refused(methods, key, sentence):
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        done(bert(), *methods)
    assert caught.value.key == key


def test_weights_that_two_layers_share_are_not_adapted():
    with pytest.raises(
        ValueInRecipeError, match=r"'lm_head' shares its weight with 'transformer.wte', which would change"
    ):
        done(tiny.model(tiny.tokenizer()), Lora(targets=["lm_head"]))


def test_word_vectors_that_shall_stay_are_not_trained_by_a_pattern():
    model = encoder(train_embeddings=False)
    done(model, Layers(train=["*"]))
    assert "encoder.embeddings.weight" not in trained(model)
    with pytest.raises(ValueInRecipeError, match="frozen by the model's own settings"):
        done(encoder(train_embeddings=False), Layers(train=["embeddings"]))


def test_dropout_before_a_weight_that_is_only_read_is_refused():
    from traps import Fused

    for targets in (["self_attn"], ["out_proj"]):
        with pytest.raises(ValueInRecipeError, match="nothing can be dropped before it; set dropout = 0") as caught:
            done(Fused(), Lora(targets=targets, dropout=0.1, head=False))
        assert caught.value.key == "method.0.dropout"
