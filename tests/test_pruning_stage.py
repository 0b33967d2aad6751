"""Stages that prune: an interruption leaves no trace, checkpoints are what was evaluated, all objectives go along."""

from contextlib import closing

import pytest
import small_labels
import tiny
import torch
from lmwb.core.errors import Stopped
from lmwb.core.recipe.schema import MaskedStage
from lmwb.core.training import checkpoints
from safetensors.torch import load_file
from test_training_stage import Bench, same

MASKS = {
    "top-k": {"final_threshold": 0.2, "init": "uniform", "init_scale": 0.01},
    "magnitude": {"final_threshold": 0.2, "scope": "model"},
    "sigmoid-threshold": {"penalty": "l1", "final_lambda": 50.0, "scores_lr": 0.3},
    "l0": {"penalty": "l0", "final_lambda": 50.0, "scores_lr": 0.3, "init_scale": 2.197},
}


def pruning(mask="top-k", **changes):
    settings = {**MASKS[mask], "warmup": 2.0, "initial_warmup": 1.0, "final_warmup": 1.0, **changes}
    return {"kind": "movement-pruning", "mask": mask, **settings}


def stage(mask, **changes):
    return tiny.stage(
        model={"type": "gpt2", "config": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32}},
        method=[pruning(mask)],
        train__steps=12,
        train__gradient_accumulation=2,
        train__eval_every=5,
        train__checkpoint_every=3,
        train__keep=9,
        train__result="last",
        **changes,
    )


@pytest.fixture(scope="module", params=MASKS)
def whole(request, tmp_path_factory):
    """A run that was never interrupted."""
    bench = Bench(tmp_path_factory.mktemp("whole"), stage(request.param))
    return request.param, bench, bench.work()


def test_a_run_stopped_within_the_schedule_ends_with_the_same_weights(whole, tmp_path):
    mask, reference, results = whole
    bench = Bench(tmp_path, stage(mask))
    for stop in (1, 4):  # at the beginning, and while the threshold moves
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    again = bench.work()
    assert same(bench.weights(), reference.weights())
    assert again["validation"] == results["validation"]
    curves = ["pruning/threshold", "pruning/kept", "pruning/h.0/kept", "validation/loss", "train/loss"]
    curves += ["pruning/lambda", "pruning/penalty"] if "penalty" in MASKS[mask] else []
    with closing(bench.history) as resumed, closing(reference.history) as expected:
        for curve in curves:
            found, wanted = resumed.points(bench.stage_id, curve), expected.points(reference.stage_id, curve)
            assert len(wanted.steps) >= 4
            assert found.steps.tolist() == wanted.steps.tolist()
            assert found.values.tolist() == wanted.values.tolist()


def test_a_result_is_a_plain_model_with_as_many_weights_as_told(whole):
    from transformers import AutoModelForCausalLM

    mask, bench, results = whole
    folder = bench.folder / "train"
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    state = model.state_dict()
    layers = [weight for name, weight in state.items() if ".h." in name and weight.ndim == 2]
    assert sum(weight.numel() for weight in layers) == results["pruning/masked_weights"]
    assert sum(int(weight.count_nonzero()) for weight in layers) == results["pruning/kept_weights"]
    assert results["pruning/kept"] == results["pruning/kept_weights"] / results["pruning/masked_weights"]
    if mask in ("top-k", "magnitude"):
        assert results["pruning/kept"] == pytest.approx(0.2, abs=1e-3)
    assert (folder / "pruning.csv").is_file()
    assert sum(weight.numel() for weight in model.parameters()) == results["parameters"]  # no scores are left


def test_a_checkpoint_is_the_model_that_was_evaluated(whole):
    """Its folder holds masked weights; the weights under them are beside it."""
    mask, bench, _ = whole
    folder = bench.folder / "train" / "checkpoints" / "step-000006"
    plain = load_file(folder / "model.safetensors")
    assert not any("parametriz" in name for name in plain)
    state = checkpoints.state_of(folder)["methods"][0]
    assert len(state["weights"]) == 4
    for name, original in state["weights"].items():
        stored = plain[f"{name}.weight"]
        if mask == "l0":
            gate = (torch.sigmoid(state["scores"][name]) * 1.2 - 0.1).clamp(0, 1)
            torch.testing.assert_close(stored, original * gate)
            continue
        kept = stored != 0
        assert torch.equal(stored, original * kept)
        assert (original != 0).all()
        if mask == "top-k":  # the end's share, although the threshold is only on its way
            assert int(kept.sum()) == int(0.2 * original.numel())
            assert state["scores"][name][kept].min() >= state["scores"][name][~kept].max()


def test_the_best_weights_come_with_their_own_masks(tmp_path):
    """With a rate that ruins the model at the end, the result is what validated best, pruned as it was then."""
    changes = {"train__lr": 3.0, "train__schedule": "constant", "train__result": "best", "train__eval_every": 1}
    bench = Bench(tmp_path, tiny.stage(**changes, train__steps=8, method=[pruning()]))
    results = bench.work()
    assert 0 < results["result_step"] < 8, "the rate is too small to ruin anything"
    with closing(bench.history) as history:
        losses = history.points(bench.stage_id, "validation/loss")
    best = float(losses.values[losses.steps == results["result_step"]][0])
    assert results["validation"]["loss"] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("objective", ["classification", "regression"])
@pytest.mark.parametrize("model", ["bert", "encoder"])
def test_labels_are_learnt_beside_pruning(tmp_path, objective, model):
    regression = objective == "regression"
    path = small_labels.write(tmp_path / "rows.csv", small_labels.rows(32, scored=regression))
    table = small_labels.BERT if model == "bert" else {"kind": "encoder", "layers": 1, "hidden": 16}
    chosen = small_labels.stage(path, objective, model=table, method=[pruning()], train__result="last")
    results = Bench(tmp_path / "home", chosen).work()
    assert results["pruning/kept"] == pytest.approx(0.2, abs=0.01)


def test_hidden_words_are_learnt_beside_pruning(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(tiny.texts()))
    document = {
        "objective": "masked-lm",
        "model": small_labels.BERT,
        "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
        "data": {"train": str(tmp_path / "texts.txt"), "block_size": 32, "validation": 0.2},
        "train": {"steps": 6, "batch_size": 4, "lr": 1e-2, "result": "last"},
        "method": [pruning("sigmoid-threshold")],
    }
    results = Bench(tmp_path / "home", MaskedStage.model_validate(document)).work()
    assert 0 < results["pruning/kept"] <= 1


def test_a_teacher_stands_beside_pruning_and_a_stop_leaves_no_trace(tmp_path):
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, dropout=0.1).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    teacher = str(tmp_path / "teacher")
    methods = [
        pruning("sigmoid-threshold", scores_lr=2.0),
        {"kind": "distillation", "teacher": teacher, "soft": 0.9, "hard": 0.1},
    ]
    shape = {"train__steps": 8, "train__eval_every": 4, "train__checkpoint_every": 3, "train__result": "last"}
    chosen = tiny.stage(model={"from": teacher}, tokenizer=None, method=methods, **shape)
    whole, stopped = Bench(tmp_path / "whole", chosen), Bench(tmp_path / "stopped", chosen)
    results = whole.work()
    with pytest.raises(Stopped):
        stopped.work(stop_after=5)
    assert stopped.work()["pruning/kept"] == results["pruning/kept"] < 1
    assert same(stopped.weights(), whole.weights())
