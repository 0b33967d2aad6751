"""Masks in models: where they go, what they say in training and in evaluation, and what is left when they come off."""

import csv
import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import tiny
import torch
import transformers
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.methods import adapt
from lmwb.core.methods.active import Place, activate
from lmwb.core.methods.pruning import Pruning, counting, masks, plain_state
from lmwb.core.models.storage import load_weights, save_model
from lmwb.core.recipe.schema import Train
from lmwb.core.recipe.schema.method import Lora
from lmwb.core.recipe.schema.pruning import MovementPruning
from lmwb.core.training.loop import Loop
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.plan import Plan
from pydantic import ValidationError

CPU = torch.device("cpu")
NARROW = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
PER_LAYER = 4 * 16 * 16 + 2 * 16 * 24
"""Masked weights in one of BERT's layers of this size."""


def bert(**fields):
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=40, **NARROW, initializer_range=0.5, **fields)
    return transformers.BertForSequenceClassification(config).eval()


def encoder_decoder():
    torch.manual_seed(0)
    size = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "init_std": 0.5}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
    config = transformers.BartConfig(vocab_size=40, pad_token_id=1, decoder_start_token_id=2, **size, **heads)
    return transformers.BartForConditionalGeneration(config).eval()


def place_for(model, told=None, steps=100, **train):
    settings = Train(steps=steps, batch_size=4, lr=1e-2, **{"result": "last", **train})
    tell = print if told is None else told.append
    return Place(model, None, None, Plan.of(settings, 40, 0), settings, 0, CPU, Path(), Path(), tell)


def prune(model, told=None, train=None, **settings):
    return Pruning(0, MovementPruning(**settings), place_for(model, told, **(train or {})))


def said(model):
    ids = torch.arange(2, 14).view(2, 6)
    with torch.no_grad():
        return model(input_ids=ids).logits


# -- where masks go -------------------------------------------------------------------------------


def test_every_linear_layer_of_the_encoder_is_masked_and_nothing_else():
    model, told = bert(), []
    prune(model, told)
    masked = {name for name, _, _ in masks.masks_of(model)}
    parts = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    parts += ("intermediate.dense", "output.dense")
    assert masked == {f"bert.encoder.layer.{number}.{part}" for number in (0, 1) for part in parts}
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if ".embeddings." in name}
    assert any(f"{2 * PER_LAYER:,} weights of 12 matrices are masked" in sentence for sentence in told)


def test_embeddings_are_trained_if_wanted():
    model = bert()
    prune(model, train_embeddings=True)
    assert all(weight.requires_grad for weight in model.parameters())


def test_layers_that_store_their_weight_the_other_way_round_are_masked():
    model, told = tiny.model(tiny.tokenizer()), []
    method = prune(model, told, final_threshold=0.25)
    assert len(list(masks.masks_of(model))) == 8
    assert any("lm_head.weight, which shares their weights" in sentence for sentence in told)
    method.before_step(100)
    assert method.figures()["kept"] == pytest.approx(0.25, abs=1e-3)


def test_all_three_kinds_of_attention_are_masked_and_the_model_goes_on():
    model = encoder_decoder()
    prune(model, final_threshold=0.5)
    masked = [name for name, _, _ in masks.masks_of(model)]
    assert sum("encoder_attn" in name for name in masked) == 4
    assert len(masked) == 6 + 10
    assert torch.isfinite(said(model)).all()


def test_targets_are_named_by_patterns():
    model = bert()
    prune(model, targets=["layer.1.*.query", "pooler.dense"])
    names = [name for name, _, _ in masks.masks_of(model)]
    assert names == ["bert.encoder.layer.1.attention.self.query", "bert.pooler.dense"]
    with pytest.raises(ValueInRecipeError, match=r"no linear layer is named 'qery'; did you mean 'query'") as caught:
        prune(bert(), targets=["qery"])
    assert caught.value.key == "method.0.targets"
    with pytest.raises(ValueInRecipeError, match=r"'lm_head' shares its weight with 'transformer.wte'"):
        prune(tiny.model(tiny.tokenizer()), targets=["lm_head"])


def test_what_adapts_a_model_cannot_stand_beside():
    with pytest.raises(ValueInRecipeError, match="'lora' freezes what movement pruning trains") as caught:
        activate([MovementPruning(), Lora(targets=["query"])], place_for(bert()))
    assert caught.value.key == "method.1.kind"
    model = bert()
    adapt(model, [Lora(targets=["query"])], print)
    with pytest.raises(ValueInRecipeError, match="has an adapter from an earlier stage"):
        prune(model)


# -- what masks say -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [bert, encoder_decoder, lambda: tiny.model(tiny.tokenizer()).eval()])
@pytest.mark.parametrize("mask", ["top-k", "magnitude"])
def test_a_model_from_which_nothing_is_pruned_says_what_it_said(make, mask):
    model = make()
    before, weights = said(model), {name: weight.clone() for name, weight in model.named_parameters()}
    prune(model, mask=mask, final_threshold=1.0, init="kaiming")
    assert torch.equal(said(model), before)
    now = plain_state(model)
    assert now.keys() >= weights.keys()
    assert all(torch.equal(now[name], weight) for name, weight in weights.items())


def loop_of(**settings):
    """Three steps of four batches each, with a method of these settings."""
    of = tiny.tokenizer()
    model, rows = tiny.model(of), CausalLM(tiny.rows(of))
    train = Train(steps=3, batch_size=4, gradient_accumulation=4, lr=1e-3, weight_decay=0.5, result="last")
    plan = Plan.of(train, len(rows), 0)
    place = Place(model, of, rows, plan, train, 0, CPU, Path(), Path(), print)
    method = Pruning(0, MovementPruning(**settings), place)
    return method, Loop(model, rows, train, plan, CPU, None, [method])


def expected_mask(mask, scores, weight, threshold):
    if mask in ("top-k", "magnitude"):
        ranked = weight.abs() if mask == "magnitude" else scores
        cut = ranked.flatten().sort(descending=True).values[int(threshold * ranked.numel()) - 1]
        return ranked >= cut
    return (torch.sigmoid(scores) if mask == "sigmoid-threshold" else scores) > threshold


@pytest.mark.parametrize(
    ("mask", "ends"),
    [("top-k", (1, 0.2)), ("magnitude", (1, 0.2)), ("threshold", (-0.5, 0.1)), ("sigmoid-threshold", (0.0, 0.5))],
)
def test_training_follows_the_schedule_and_evaluation_the_end_of_it(mask, ends):
    model = bert()
    ends = dict(zip(("initial_threshold", "final_threshold"), map(float, ends), strict=True))
    method = prune(model, mask=mask, init="uniform", init_scale=1.0, **ends)
    layer = model.bert.encoder.layer[0].output.dense
    original, mask_of = masks.original_of(layer), next(m for _, module, m in masks.masks_of(model) if module is layer)
    scores = mask_of.scores

    def weight_at(threshold):
        return original * expected_mask(mask, scores, original, threshold)

    model.train()
    assert torch.equal(layer.weight, weight_at(method.schedule.final))  # before the first step
    for step in (1, 40, 101):
        method.before_step(step)
        assert torch.equal(layer.weight, weight_at(method.schedule.threshold(step - 1)))
    method.before_step(40)
    model.eval()
    with torch.inference_mode():
        assert torch.equal(layer.weight, weight_at(method.schedule.final))
    model.train()
    with torch.no_grad():
        (original if scores is None else scores).mul_(-1).add_(0.1)  # masks follow what they are made of
    assert torch.equal(layer.weight, weight_at(method.schedule.threshold(39)))


def test_gates_draw_in_training_and_not_in_evaluation():
    model = bert()
    method = prune(model, mask="l0", penalty="l0", final_lambda=1.0, init="uniform", init_scale=4.0)
    layer = model.bert.encoder.layer[0].output.dense
    model.train()
    assert torch.equal(layer.weight, layer.weight)  # before the first step
    method.before_step(1)
    assert not torch.equal(layer.weight, layer.weight)
    model.eval()
    assert torch.equal(layer.weight, layer.weight)


@pytest.mark.parametrize("scope", ["matrix", "model"])
def test_masks_are_made_once_for_a_step_of_many_passes(monkeypatch, scope):
    made = []
    real = masks.Selection._set
    monkeypatch.setattr(masks.Selection, "_set", lambda *a: (made.append(1), real(*a))[1])
    _, loop = loop_of(scope=scope, initial_threshold=0.3, final_threshold=0.3)
    for _ in loop.steps():
        pass
    assert len(made) == 3 * 8


@pytest.mark.parametrize("mask", ["top-k", "magnitude"])
def test_masks_follow_what_the_optimiser_does(mask):
    """Fused optimisers leave no trace in a tensor's version; and the threshold stands still here."""
    method, loop = loop_of(mask=mask, init="uniform", init_scale=0.01, initial_threshold=0.3, final_threshold=0.3)
    assert loop.optimizer.defaults["fused"]
    for _ in loop.steps():
        for name, module, each in masks.masks_of(loop.model):
            original = masks.original_of(module)
            kept = expected_mask(mask, each.scores, original, 0.3)
            loop.model.train()
            assert torch.equal(module.weight, original * kept), name
            loop.model.eval()
            assert torch.equal(module.weight, original * kept), name
    assert method.figures()["kept"] == pytest.approx(0.3, abs=1e-3)


# -- optimiser ------------------------------------------------------------------------------------


def test_scores_have_a_rate_of_their_own_and_never_decay():
    _, loop = loop_of(scores_lr=0.05)
    scores = {id(mask.scores) for _, _, mask in masks.masks_of(loop.model)}
    next(loop.steps())
    groups = loop.optimizer.param_groups
    (ours,) = [group for group in groups if any(id(weight) in scores for weight in group["params"])]
    assert {id(weight) for weight in ours["params"]} == scores
    assert (ours["lr"], ours["weight_decay"]) == (pytest.approx(0.05), 0.0)
    assert all(group["lr"] == pytest.approx(1e-3) for group in groups if group is not ours)


# -- what is left ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["top-k", "magnitude", "sigmoid-threshold", "l0"])
@pytest.mark.parametrize("make", [bert, encoder_decoder, lambda: tiny.model(tiny.tokenizer()).eval()])
def test_without_its_masks_the_model_says_the_same_and_loads_anywhere(tmp_path, make, mask):
    model = make()
    method = prune(model, mask=mask, init="uniform", init_scale=3.0)
    method.before_step(20)
    before = said(model.eval())
    with redirect_stdout(io.StringIO()):
        save_model(model, None, tmp_path / "checkpoint")
    method.finish(model, tmp_path)
    assert not list(masks.masks_of(model))
    assert type(model) is type(make())
    assert not any("parametriz" in name for name, _ in model.named_modules())
    assert float((said(model) - before).abs().max()) <= 1e-6
    save_model(model, None, tmp_path / "model")
    for folder in ("checkpoint", "model"):
        loaded, report = type(model).from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert float((said(loaded.eval()) - before).abs().max()) <= 1e-6


def test_counts_are_those_of_the_weights_that_are_left(tmp_path):
    model = bert()
    method = prune(model, final_threshold=0.15, init="uniform", init_scale=1.0)
    results = method.finish(model, tmp_path)
    state = model.state_dict()
    with (tmp_path / counting.TABLE).open() as file:
        *rows, total, others = csv.DictReader(file)
    assert len(rows) == 12
    for row in rows:
        weight = state[f"{row['matrix']}.weight"]
        assert int(row["weights"]) == weight.numel()
        assert int(row["kept"]) == int(weight.count_nonzero()) == int(0.15 * weight.numel())
    kept = sum(int(row["kept"]) for row in rows)
    assert (int(total["weights"]), int(total["kept"])) == (2 * PER_LAYER, kept)
    encoder = sum(weight.numel() for name, weight in state.items() if name.startswith("bert.encoder"))
    assert int(others["kept"]) == encoder - 2 * PER_LAYER
    whole = sum(weight.numel() for weight in model.parameters())
    assert results == pytest.approx(
        {
            "kept": kept / (2 * PER_LAYER),
            "kept_weights": kept,
            "masked_weights": 2 * PER_LAYER,
            "kept_of_layers": (kept + encoder - 2 * PER_LAYER) / encoder,
            "kept_of_model": (whole - 2 * PER_LAYER + kept) / whole,
        }
    )


@pytest.mark.parametrize("mask", ["top-k", "magnitude", "l0"])
def test_a_checkpoint_gives_back_what_the_masks_hide(tmp_path, mask):
    model = bert()
    method = prune(model, mask=mask, init="uniform", init_scale=1.0)
    method.before_step(50)
    save_model(model, None, tmp_path)
    saved = {part: {name: value.clone() for name, value in of.items()} for part, of in method.state().items()}
    other = bert()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1)
    fresh = prune(other, mask=mask, init="uniform", init_scale=2.0)
    load_weights(other, tmp_path)
    fresh.load_state(saved)
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(said(model.eval()), said(other.eval()))


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "settings", "key"),
    [
        ({"steps": 10, "warmup": 10.0}, {}, "train.warmup"),  # the threshold would never leave its beginning
        ({"steps": 100, "warmup": 0.34}, {}, "train.warmup"),
        ({"steps": 10}, {"warmup": 5.0}, "method.0.warmup"),
        ({"steps": 10}, {"warmup": 5.0, "final_warmup": 1.0}, "method.0.warmup"),
    ],
)
def test_a_run_too_short_for_its_schedule_is_refused(train, settings, key):
    with pytest.raises(ValueInRecipeError, match=r"could only jump from 1 to 0\.7; train longer") as caught:
        prune(bert(), train=train, **settings)
    assert caught.value.key == key


def test_a_short_run_whose_threshold_stays_is_not_refused():
    method = prune(bert(), train={"steps": 4, "warmup": 4.0}, initial_threshold=0.5, final_threshold=0.5)
    assert method.schedule.threshold(0) == method.schedule.threshold(3) == 0.5


def test_the_best_of_models_that_lose_weights_step_by_step_is_no_result():
    with pytest.raises(ValueInRecipeError, match="set result = 'last'") as caught:
        prune(bert(), train={"result": "best"}, mask="sigmoid-threshold")
    assert caught.value.key == "train.result"


def test_a_model_without_layers_must_be_told_what_to_prune():
    from lmwb.core.models.convnet import ConvNetClassifier, ConvNetConfig

    with pytest.raises(ValueInRecipeError, match="no repeated layers with linear parts; name those to prune"):
        prune(ConvNetClassifier(ConvNetConfig(num_labels=3)))
    model = ConvNetClassifier(ConvNetConfig(num_labels=3))
    method = prune(model, targets=["fc1"], final_threshold=0.1)
    method.before_step(1)
    assert method.figures().keys() == {"threshold", "kept", "convnet.fc1/kept"}


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("final_threshold", {"final_threshold": 0.0}),
        ("initial_threshold", {"initial_threshold": 1.5, "mask": "magnitude"}),
        ("final_threshold", {"mask": "sigmoid-threshold", "final_threshold": 1.0}),
        ("initial_threshold", {"mask": "threshold", "final_threshold": 0.1}),
        ("scope", {"mask": "sigmoid-threshold", "scope": "model"}),
        ("scope", {"mask": "threshold", "scope": "model", "initial_threshold": 0.0, "final_threshold": 0.1}),
        ("penalty", {"mask": "magnitude", "penalty": "l1"}),
        ("final_lambda", {"mask": "sigmoid-threshold", "final_lambda": 400.0}),
    ],
)
def test_settings_that_mean_nothing_are_refused(key, settings):
    with pytest.raises(ValidationError) as caught:
        MovementPruning(**settings)
    assert [error["ctx"]["key"] for error in caught.value.errors()] == [key]


def test_defaults_are_the_published_ones():
    table = MovementPruning()
    assert (table.mask, table.first_threshold, table.last_threshold) == ("top-k", 1.0, 0.7)
    assert (table.initial_warmup, table.final_warmup, table.final_lambda) == (1, 2, 0)
    assert (table.init, table.init_scale, table.scores_lr, table.penalty) == ("constant", 0.0, 1e-2, None)
    soft = MovementPruning(mask="sigmoid-threshold")
    assert (soft.first_threshold, soft.last_threshold) == (0.0, 0.1)


def test_names_of_layers_are_short_where_that_is_clear():
    assert {name for name in prune(bert()).figures() if "/" in name} == {"layer.0/kept", "layer.1/kept"}
    names = {name for name in prune(encoder_decoder()).figures() if "/" in name}
    assert names == {"model.encoder.layers.0/kept", "model.decoder.layers.0/kept"}


@pytest.mark.parametrize(("settings", "warned"), [({}, True), ({"init": "uniform", "init_scale": 1.0}, False)])
def test_scores_that_have_no_time_to_differ_are_told_of(settings, warned):
    told = []
    prune(bert(), told, final_threshold=0.15, **settings)
    assert any("init_scale = 1 spreads them" in sentence for sentence in told) == warned
