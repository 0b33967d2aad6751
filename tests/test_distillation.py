"""Distillation in a training stage: teachers found and checked, layers taken, and interruptions leave no trace."""

from contextlib import closing

import pytest
import small_labels
import test_masked
import tiny
import torch
import transformers
from lmwb.core.errors import Stopped, TrainingError, ValueInRecipeError
from lmwb.core.methods.distillation import objective, remembered
from lmwb.core.models.layers import spaced, with_layers
from lmwb.core.models.loading import make_model, outline
from lmwb.core.recipe.schema import Recipe, StartingModel
from lmwb.core.references import builds_on, resolved
from test_training_stage import Bench, same

TEACHER = {**small_labels.BERT, "config": {**small_labels.BERT["config"], "num_hidden_layers": 3}}


def folder_of(bench):
    return str(bench.folder / "train" / "model")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Labelled rows and a teacher trained on them."""
    root = tmp_path_factory.mktemp("labelled")
    rows = small_labels.write(root / "rows.csv", small_labels.rows(60, pair=True))
    bench = Bench(root / "teacher", classes(rows, model=TEACHER, method=[], tokenizer=WORDS))
    bench.work()
    return rows, folder_of(bench)


WORDS = {"kind": "wordpiece", "vocab_size": 200}


def classes(rows, **changes):
    common = {"data__pair": "other", "train__steps": 8, "train__eval_every": 4, "train__result": "last"}
    return small_labels.stage(rows, **{**common, "tokenizer": None, **changes})


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """Texts and a masked language model of three layers."""
    root = tmp_path_factory.mktemp("hidden")
    (root / "corpus.txt").write_text("\n\n".join(tiny.texts()))
    config = {**test_masked.BERT, "num_hidden_layers": 3}
    bench = Bench(root / "teacher", test_masked.stage(root / "corpus.txt", model={"type": "bert", "config": config}))
    bench.work()
    return root / "corpus.txt", folder_of(bench)


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A causal language model of three layers with its tokenizer."""
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, dropout=0.1, n_layer=3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def method(teacher, **settings):
    return [{"kind": "distillation", "teacher": teacher, **settings}]


STAGES = {
    "labels": lambda given: classes(
        given("labelled")[0],
        model={"from": given("labelled")[1], "layers": [0, 2]},
        method=method(given("labelled")[1], mse=0.1, cosine=1.0),
    ),
    "kept": lambda given: classes(
        given("labelled")[0],
        model={"from": given("labelled")[1], "layers": [0, 2]},
        method=method(given("labelled")[1], cache="all"),
    ),
    "masked": lambda given: test_masked.stage(
        given("hidden")[0],
        model={"from": given("hidden")[1], "layers": 2},
        tokenizer=None,
        masking={"smoothing": 0.7},
        method=method(given("hidden")[1], soft=5.0, hard=2.0, cosine=1.0, freeze_positions=True),
    ),
    "causal": lambda given: tiny.stage(
        model={"from": given("causal"), "layers": 1},
        tokenizer=None,
        method=method(given("causal"), cosine=1.0),
        **{"train__steps": 8, "train__eval_every": 4, "train__result": "last", "train__gradient_accumulation": 2},
    ),
    "causal-top": lambda given: tiny.stage(
        model={"from": given("causal"), "layers": 1},
        tokenizer=None,
        method=method(given("causal"), cache="top", top=5),
        **{"train__steps": 8, "train__eval_every": 4, "train__result": "last", "data__packing": "documents"},
    ),
    "adapted": lambda given: classes(
        given("labelled")[0],
        model={"from": given("labelled")[1], "layers": 2},
        method=[*method(given("labelled")[1]), {"kind": "lora", "targets": ["query"], "rank": 2}],
    ),
}


def files(bench):
    from safetensors.torch import load_file

    return {
        f"{file.name}:{name}": value
        for file in (bench.folder / "train" / "model").glob("*.safetensors")
        for name, value in load_file(file).items()
    }


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in ("labels", "masked") else pytest.mark.slow) for k in STAGES]
)
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(kind, tmp_path, request):
    stage = STAGES[kind](request.getfixturevalue)
    whole, bench = Bench(tmp_path / "whole", stage), Bench(tmp_path / "stopped", stage)
    whole.work()
    for stop in (3, 2):
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    bench.work()
    assert files(whole)
    assert same(files(bench), files(whole))
    with closing(bench.history) as resumed, closing(whole.history) as reference:
        for part in ("soft", "hard"):
            found = resumed.points(bench.stage_id, f"distillation/{part}")
            expected = reference.points(whole.stage_id, f"distillation/{part}")
            assert found.steps.tolist() == expected.steps.tolist() == list(range(1, 9))
            assert found.values.tolist() == expected.values.tolist()


def test_the_curves_are_the_parts_of_the_loss(tmp_path, labelled):
    rows, teacher = labelled
    weights = {"soft": 0.3, "hard": 0.5, "mse": 0.2, "cosine": 0.7}
    bench = Bench(tmp_path, classes(rows, model={"from": teacher, "layers": 2}, method=method(teacher, **weights)))
    bench.work()
    with closing(bench.history) as history:
        curves = {part: history.points(bench.stage_id, f"distillation/{part}").values for part in weights}
        loss = history.points(bench.stage_id, "train/loss").values
    assert sum(weights[part] * curves[part] for part in weights) == pytest.approx(loss, rel=1e-5)


def test_a_student_loads_as_an_ordinary_model_of_fewer_layers(tmp_path, hidden):
    corpus, teacher = hidden
    stage = test_masked.stage(corpus, model={"from": teacher, "layers": 2}, tokenizer=None, method=method(teacher))
    bench = Bench(tmp_path, stage)
    bench.work()
    found, report = transformers.AutoModelForMaskedLM.from_pretrained(folder_of(bench), output_loading_info=True)
    assert found.config.num_hidden_layers == 2
    assert not any(report[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert transformers.AutoTokenizer.from_pretrained(folder_of(bench)).mask_token


# -- layers -----------------------------------------------------------------------------------------


def test_layers_are_spaced_evenly_from_the_first_to_the_last():
    assert spaced(6, 12) == [0, 2, 4, 7, 9, 11]  # DistilBERT's
    assert spaced(3, 6) == [0, 3, 5]
    assert spaced(1, 4) == [0]
    assert spaced(5, 5) == [0, 1, 2, 3, 4]


SMALL = {
    **{"vocab_size": 50, "hidden_size": 16, "dim": 16, "num_attention_heads": 2, "n_heads": 2, "intermediate_size": 16},
    **{"num_hidden_layers": 4, "n_layers": 4, "ffn_dim": 16, "word_embed_proj_dim": 16, "embedding_size": 16},
    **{"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "initializer_range": 0.3},
    **{"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2},
}
PLACES = {
    **dict.fromkeys(("bert", "roberta", "electra", "deberta-v2"), ("encoder.layer", "MaskedLM")),
    "distilbert": ("transformer.layer", "MaskedLM"),
    **dict.fromkeys(("gpt2", "bloom"), ("h", "CausalLM")),
    **dict.fromkeys(("llama", "qwen2", "gpt_neox", "smollm3"), ("layers", "CausalLM")),
    "opt": ("decoder.layers", "CausalLM"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_chosen_layers_say_what_the_model_says_without_the_others(kind):
    place, head = PLACES[kind]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL)
    large = getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()
    small, _ = with_layers(large, [0, 3])
    above, _, name = place.rpartition(".")
    parent = large.base_model.get_submodule(above)
    setattr(parent, name, torch.nn.ModuleList([getattr(parent, name)[number] for number in (0, 3)]))
    large.config.num_hidden_layers = 2
    for field in ("layer_types", "no_rope_layers"):
        if getattr(config, field, None):
            setattr(large.config, field, [getattr(config, field)[number] for number in (0, 3)])
    ids = torch.randint(3, 50, (2, 9))
    more = {"use_cache": False} if head == "CausalLM" else {}
    with torch.no_grad():
        assert torch.equal(small(input_ids=ids, **more).logits, large(input_ids=ids, **more).logits)


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [(4, "the model has 3 layers, 4 cannot"), ([0, 3], "numbered from 0 to 2; 3 is none")],
)
def test_layers_that_are_not_there_are_refused(hidden, layers, sentence):
    table = StartingModel.model_validate({"from": hidden[1], "layers": layers})
    for make in (make_model, outline):
        with pytest.raises(ValueInRecipeError, match=sentence) as caught:
            make(*(table, "masked-lm", None, {}), *([print] if make is make_model else []))
        assert caught.value.key == "model.layers"


def test_the_outline_has_the_chosen_layers(hidden):
    table = StartingModel.model_validate({"from": hidden[1], "layers": 2})
    found = outline(table, "masked-lm", None, {})
    assert found.config.num_hidden_layers == len(found.base_model.encoder.layer) == 2


# -- the teacher ------------------------------------------------------------------------------------


def refusal(stage, tmp_path):
    with pytest.raises(ValueInRecipeError) as caught:
        Bench(tmp_path, stage).work()
    return caught.value.key, str(caught.value)


def test_a_teacher_without_the_head_is_refused(tmp_path, labelled, hidden):
    key, text = refusal(classes(labelled[0], model={"from": hidden[1]}, method=method(hidden[1])), tmp_path)
    assert key == "method.0.teacher"
    assert "is no text classifier: it has no weights for" in text
    assert "train it for the objective first" in text


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path, labelled):
    stage = classes(labelled[0], model=TEACHER, tokenizer={"kind": "words"}, method=method(labelled[1]))
    key, text = refusal(stage, tmp_path)
    assert key == "method.0.teacher"
    assert "they need one vocabulary: token" in text


def test_a_teacher_of_other_labels_is_refused(tmp_path, labelled):
    rows = small_labels.write(tmp_path / "odd.csv", small_labels.rows(60, ("bad", "good", "odd"), pair=True))
    key, text = refusal(classes(rows, model={"from": labelled[1]}, method=method(labelled[1])), tmp_path)
    assert (key, "tells 2 labels apart, the student 3" in text) == ("method.0.teacher", True)
    stage = classes(labelled[0], model={"from": labelled[1]}, data__labels=["good", "bad"], method=method(labelled[1]))
    key, text = refusal(stage, tmp_path / "turned")
    assert "calls the labels 'bad', 'good', the data 'good', 'bad'" in text


def test_states_of_another_width_are_refused_only_if_they_are_compared(tmp_path, labelled):
    wide = {**small_labels.BERT, "config": {**small_labels.BERT["config"], "hidden_size": 32}}
    given = {"model": wide, "tokenizer": {"from": labelled[1]}}
    key, text = refusal(classes(labelled[0], **given, method=method(labelled[1], cosine=1.0)), tmp_path)
    assert key == "method.0.cosine"
    assert "16 numbers, the student's 32" in text
    Bench(tmp_path / "soft", classes(labelled[0], **given, method=method(labelled[1]))).work()


@pytest.mark.parametrize(
    ("kind", "settings", "key", "sentence"),
    [
        ("labelled", {"positions": "learned"}, "positions", "only language models"),
        ("labelled", {"cache": "top"}, "cache", "labels are few"),
        ("hidden", {"cache": "all"}, "cache", "other tokens are hidden each time"),
    ],
)
def test_settings_that_do_not_fit_the_objective_are_refused(tmp_path, request, kind, settings, key, sentence):
    data, teacher = request.getfixturevalue(kind)
    make = classes if kind == "labelled" else test_masked.stage
    found, text = refusal(
        make(data, model={"from": teacher}, tokenizer=None, method=method(teacher, **settings)), tmp_path
    )
    assert found == f"method.0.{key}"
    assert sentence in text


def test_a_teacher_that_changed_is_noticed_on_resume(tmp_path, causal):
    import shutil

    teacher = tmp_path / "teacher"
    shutil.copytree(causal, teacher)
    bench = Bench(tmp_path / "run", tiny.stage(model={"from": causal}, tokenizer=None, method=method(str(teacher))))
    with pytest.raises(Stopped):
        bench.work(stop_after=3)
    other = tiny.model(tiny.tokenizer(), n_layer=3)
    with torch.no_grad():
        other.lm_head.weight.mul_(1.1)
    other.save_pretrained(teacher)
    with pytest.raises(TrainingError, match="the teacher is not what it was"):
        bench.work()


def test_stages_learn_from_earlier_ones():
    text = {"train": "python-reference", "block_size": 16}
    common = {"objective": "masked-lm", "data": text}
    recipe = Recipe.model_validate(
        {
            "name": "two",
            "stage": [
                {**common, "name": "big", "model": {"type": "bert"}, "tokenizer": {"kind": "wordpiece"}},
                {**common, "name": "small", "model": {"from": "somewhere"}, "method": method("big")},
            ],
        }
    )
    assert builds_on(recipe, 1) == "big"


def test_a_teacher_that_left_nothing_behind_is_named(tmp_path):
    from lmwb.core.home import Home

    text = {"train": "python-reference", "block_size": 16}
    stages = [{"name": "a", "model": {"type": "gpt2"}, "tokenizer": {"kind": "bpe"}, "data": text}]
    stages.append({"name": "b", "model": {"from": "hub/name"}, "data": text, "method": method("a")})
    recipe = Recipe.model_validate({"name": "two", "stage": stages})
    with pytest.raises(ValueInRecipeError, match="'a' has left no model behind") as caught:
        resolved(recipe, 1, tmp_path, Home(tmp_path))
    assert caught.value.key == "method.0.teacher"


# -- kept answers -----------------------------------------------------------------------------------


def test_kept_answers_are_those_of_the_teacher(tmp_path, labelled, capsys):
    rows, teacher = labelled
    asked = {}
    for cache in ("no", "all"):
        stage = classes(rows, model={"from": teacher, "layers": 2}, method=method(teacher, cache=cache))
        bench = Bench(tmp_path / cache, stage)
        bench.work()
        with closing(bench.history) as history:
            asked[cache] = history.points(bench.stage_id, "distillation/soft").values
    assert asked["all"] == pytest.approx(asked["no"], rel=1e-3, abs=1e-6)
    assert "teacher: all logits at 45 places, 0.0 MiB, worked out and kept" in capsys.readouterr().out


def test_all_of_the_vocabulary_as_top_is_as_asking(tmp_path, causal, capsys):
    found = {}
    for cache, more in (("no", {}), ("all", {}), ("top", {"top": 400})):
        stage = tiny.stage(
            model={"from": causal, "layers": 1},
            tokenizer=None,
            method=method(causal, cache=cache, **more),
            data__packing="documents",
        )
        bench = Bench(tmp_path / cache, stage)
        bench.work()
        found[cache] = files(bench)
    for cache in ("all", "top"):
        for name, weight in found["no"].items():
            torch.testing.assert_close(found[cache][name], weight, rtol=1e-3, atol=2e-4)
    assert "teacher: 320 logits at" in capsys.readouterr().out


def test_answers_are_asked_for_once_and_damaged_ones_again(tmp_path, labelled, monkeypatch):
    rows, teacher = labelled
    asked = []
    ask = remembered.Teacher.ask
    monkeypatch.setattr(remembered.Teacher, "ask", lambda *given: (asked.append(1), ask(*given))[1])
    stage = classes(rows, model={"from": teacher, "layers": 2}, method=method(teacher, cache="all"))

    def count(name):
        asked.clear()
        bench = Bench(tmp_path / name, stage)
        (tmp_path / "cache").mkdir(exist_ok=True)
        bench.home.cache.parent.mkdir(parents=True, exist_ok=True)
        bench.home.cache.symlink_to(tmp_path / "cache")
        bench.work()
        return len(asked)

    first = count("first")
    assert first > 2
    assert count("again") == 1  # only how many labels there are
    kept = next((tmp_path / "cache" / "teachers").glob("*.logits"))
    data = bytearray(kept.read_bytes())
    data[3] ^= 1
    kept.write_bytes(data)
    assert count("damaged") == first


def test_a_step_that_is_not_finite_changes_nothing(tmp_path, labelled, monkeypatch):
    rows, teacher = labelled
    ask = objective.Teacher.ask
    steps = []

    def sometimes(self, inputs, places=None):
        steps.append(1)
        found = ask(self, inputs, places)
        return type(found)(found.logits * (float("nan") if len(steps) == 3 else 1.0), found.states)

    monkeypatch.setattr(objective.Teacher, "ask", sometimes)
    bench = Bench(tmp_path, classes(rows, model={"from": teacher}, method=method(teacher)))
    results = bench.work()
    assert results["bad_steps"] == 1
    assert all(weight.isfinite().all() for weight in files(bench).values())


# -- with pruning -----------------------------------------------------------------------------------

PRUNING = {"kind": "movement-pruning", "final_threshold": 0.3, "warmup": 1.0}


def test_a_student_is_pruned_while_it_learns_from_its_teacher(tmp_path, labelled):
    """In either order, and with a stop in the middle of the schedule."""
    rows, teacher = labelled
    found = []
    for number, order in enumerate((1, -1)):
        methods = [PRUNING, *method(teacher, cosine=1.0)][::order]
        stage = classes(rows, model={"from": teacher}, method=methods)
        bench = Bench(tmp_path / str(number), stage)
        if number:
            with pytest.raises(Stopped):
                bench.work(stop_after=4)
        bench.work()
        found.append(files(bench))
        with closing(bench.history) as history:
            names = history.metrics(bench.stage_id)
        assert {"distillation/soft", "distillation/cosine"} <= set(names)
        assert any(name.startswith("pruning/") for name in names)
    assert same(*found)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder_of(bench))
    pruned = plain.bert.encoder.layer[0].attention.self.query.weight
    assert 0 < int((pruned == 0).sum()) < pruned.numel()
