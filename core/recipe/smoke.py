"""A recipe made small, to see within a minute that all of it works: the same code path, tiny models, a handful of rows.

What the hub would bring is replaced: models by tiny ones of the same family, data by stand-ins if the hub cannot be
reached. Every replacement is told.
"""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .lines import is_list, is_table
from .problems import quoted
from .smoke_influence import small_questions, trainings_asked_about
from .stand_ins import STAND_IN_TEXTS, write_stand_in

_ROWS = 96
_DOCUMENTS = 6
_STEPS = 6
_PAIRS = 48
_WIDTH = 32
_HUB = ("huggingface.co", 443)

_FAMILIES = {
    "distilbert": "distilbert",
    "roberta": "roberta",
    "albert": "albert",
    "electra": "electra",
    "deberta": "deberta-v2",
    "bert": "bert",
    "gpt2": "gpt2",
    "neox": "gpt_neox",
    "pythia": "gpt_neox",
    "gpt-neo": "gpt_neo",
    "opt-": "opt",
    "bloom": "bloom",
    "qwen": "qwen2",
    "mistral": "mistral",
    "llama": "llama",
    "opus-mt": "marian",
    "m2m100": "m2m_100",
    "nllb": "m2m_100",
    "mbart": "mbart",
    "t5": "t5",
    "bart": "bart",
}
"""By a part of a model's name on the hub, its architecture."""

_READS_BOTH_WAYS = (
    *("masked-lm", "classification", "regression", "multiple-choice"),
    *("text-classification", "language-detection", "fill-mask"),
)


def shrink(document: dict[str, Any], folder: Path, base: Path) -> list[str]:
    """Make a recipe with stages small, in place.

    Args:
        document: a recipe that may be wrong in any way; what is wrong is left for the validation to tell.
        folder: where stand-in data are written.
        base: the folder that paths in the recipe are relative to.

    Returns:
        What was replaced, a sentence each.
    """
    notes: list[str] = []
    stages = document.get("stage")
    stages = [stage for stage in stages if is_table(stage)] if is_list(stages) else []
    reachable = not _names_hub_data([*stages, *trainings_asked_about(stages)]) or _hub_answers()
    names: list[Any] = []
    for stage in stages:
        if stage.get("kind", "train") == "train":
            _shorten(stage)
            _short_schedules(stage)
            _tiny_model(stage, names, base, notes.append)
            _tiny_teachers(stage, names, base, notes.append)
            _few_rows(stage, folder, reachable, notes.append)
            _reachable_threshold(stage, notes.append)
        elif stage.get("kind") == "information-gain":
            _tiny_model(stage, names, base, notes.append)
            _few_pairs(stage, folder, reachable, notes.append)
        elif stage.get("kind") == "evaluate":
            _small_evaluation(stage, names, base, notes.append)
            _made_up_rows(stage, "evaluate", folder, reachable, notes.append)
        elif stage.get("kind") == "generate":
            _tiny_model(stage, names, base, notes.append)
            _few_tokens(stage)
            _made_up_rows(stage, "generate", folder, reachable, notes.append)
        elif stage.get("kind") == "predict":
            _small_prediction(stage, names, folder, base, reachable, notes.append)
        elif stage.get("kind") == "augment":
            _small_augmentation(stage, folder, base, reachable, notes.append)
        elif stage.get("kind") in ("influence", "half-precision", "counterfactual", "datamodel"):
            small_questions(stage, notes.append)
            if is_table(training := stage.get("training")):
                _tiny_model(training, names, base, notes.append)
                _few_rows(training, folder, reachable, notes.append)
        names.append(stage.get("name"))
    _few_members(document, notes.append)
    return notes


def _names_hub_data(stages: list[dict[str, Any]]) -> bool:
    return any(_is_hub(data, key) for stage in stages for data, key in _sources(stage))


def _sources(stage: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    data = stage.get("data")
    if is_table(data):
        if data.get("task") is not None and "train" not in data:
            data["train"] = f"hub:nyu-mll/glue/{data['task']}"
        keys = ("train", "validation", "test", "predict", "objective", "source")
        yield from ((data, key) for key in keys if key in data)


def _is_hub(data: dict[str, Any], key: str) -> bool:
    return isinstance(data[key], str) and data[key].startswith("hub:")


def _hub_answers() -> bool:
    """Whether the model hub can be reached."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        with socket.create_connection(_HUB, timeout=2):
            return True
    except OSError:
        return False


def _shorten(stage: dict[str, Any]) -> None:
    """Few steps, small batches, short texts."""
    train = stage.setdefault("train", {})
    if is_table(train):
        train.pop("epochs", None)
        _at_most(train, "steps", _STEPS, always=True)
        _at_most(train, "batch_size", 4, always=True)
        _at_most(train, "eval_batch_size", 8, always=True)
        _at_most(train, "gradient_accumulation", 2)
        _at_most(train, "eval_every", _STEPS // 2, always=True)
        _at_most(train, "checkpoint_every", _STEPS // 2)
        _at_most(train, "warmup", 0.5)
    sample = stage.get("sample")
    if is_table(sample):
        _at_most(sample, "tokens", 12, always=True)
        _at_most(sample, "every", _STEPS // 2)


def _few_pairs(stage: dict[str, Any], folder: Path, reachable: bool, tell: Callable[[str], None]) -> None:
    """Few pairs and objective contexts, short trainings of the learners."""
    data = stage.get("data")
    _at_most(stage, "pairs", _PAIRS, always=True)
    if is_table(stage.get("estimate")):
        _at_most(stage["estimate"], "calibration", 32, always=True)
    learners = stage.get("learner")
    for each in learners if is_list(learners) else []:
        if is_table(each):
            _at_most(each, "epochs", 3, always=True)
    if is_table(data):
        _at_most(data, "contexts", 8, always=True)
        _short_articles(data)
        _made_up_rows(stage, "information-gain", folder, reachable, tell)


def _short_articles(data: dict[str, Any]) -> None:
    _at_most(data, "max_documents", _ROWS, always=True)
    _at_most(data, "block_size", 64)
    _at_most(data, "min_tokens", 64)


def _reachable_threshold(stage: dict[str, Any], tell: Callable[[str], None]) -> None:
    """A learner that has hardly learned promises little of any context: thresholds become shares."""
    methods = stage.get("method")
    for each in methods if is_list(methods) else []:
        if is_table(each) and each.get("kind") == "information-gain":
            each["threshold"] = {"kind": "quantile", "keep": 0.5, "contexts": 64}
            tell("smoke: the better half of the contexts stands in for those that reach the threshold")


def _short_schedules(stage: dict[str, Any]) -> None:
    """Room for a threshold to move in few steps."""
    methods = stage.get("method")
    for each in methods if is_list(methods) else []:
        if is_table(each) and each.get("kind") == "movement-pruning":
            _at_most(each, "warmup", 0.1, always=True)


def _at_most(table: dict[str, Any], key: str, most: float, always: bool = False) -> None:
    value = table.get(key)
    if (value is None and always) or (isinstance(value, int | float) and not isinstance(value, bool) and value > most):
        table[key] = most


# -- models and tokenizers ------------------------------------------------------------------------


def _tiny_model(stage: dict[str, Any], earlier: list[Any], base: Path, tell: Callable[[str], None]) -> None:
    model, tokenizer = stage.get("model"), stage.get("tokenizer")
    if is_table(model):
        source = model.get("from")
        if isinstance(source, str) and source not in earlier and _comes_from_hub(source, base):
            family = _family(source, str(stage.get("objective", "causal-lm")))
            model["from"] = f"smoke:{family}"
            model.pop("trust_remote_code", None)
            tell(f"smoke: a tiny new {family} stands in for the model {quoted(source)}")
        elif "type" in model:
            _narrow(model, tell)
        elif model.get("kind") in ("encoder", "bag"):
            _without_vectors(model, base, tell)
    if is_table(tokenizer):
        _small_vocabulary(stage, tokenizer, base, tell)


def _tiny_teachers(stage: dict[str, Any], earlier: list[Any], base: Path, tell: Callable[[str], None]) -> None:
    """Teachers from the hub are replaced, and of two layers one is left to their students."""
    model, methods = stage.get("model"), stage.get("method")
    if is_table(model) and "layers" in model and (model.get("from") in earlier or _stands_in(model.get("from"))):
        model["layers"] = 1
        tell("smoke: the student has one of its teacher's two layers")
    for method in methods if is_list(methods) else []:
        source = method.get("teacher") if is_table(method) else None
        if isinstance(source, str) and source not in earlier and _comes_from_hub(source, base):
            family = _family(source, str(stage.get("objective", "causal-lm")))
            method["teacher"] = f"smoke:{family}"
            tell(f"smoke: a tiny new {family} stands in for the teacher {quoted(source)}")


def _stands_in(source: Any) -> bool:
    return isinstance(source, str) and source.startswith("smoke:")


def _comes_from_hub(source: str, base: Path) -> bool:
    return not source.startswith(("run:", "smoke:", ".", "/", "~")) and not (base / source).exists()


def _family(name: str, objective: str) -> str:
    lowered = name.lower()
    guess = "bert" if objective in _READS_BOTH_WAYS else "t5" if objective == "text-to-text" else "gpt2"
    return next((family for part, family in _FAMILIES.items() if part in lowered), guess)


def _narrow(model: dict[str, Any], tell: Callable[[str], None]) -> None:
    """A configuration of the same architecture with few and narrow layers; the rest of it stays."""
    sizes = ("n_embd", "n_layer", "n_head", "n_inner", "hidden_size", "num_hidden_layers", "num_attention_heads")
    fields = model.get("config")
    kept = {key: value for key, value in fields.items() if key not in sizes} if is_table(fields) else {}
    for key in ("intermediate_size", "ffn_dim"):
        _at_most(kept, key, 2 * _WIDTH)
    for key in ("num_key_value_heads",):
        _at_most(kept, key, 2)
    model["config"] = {**kept, "hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    tell(f"smoke: the {quoted(str(model['type']))} has 2 layers of width {_WIDTH}")


def _without_vectors(model: dict[str, Any], base: Path, tell: Callable[[str], None]) -> None:
    """Vectors that are not there are left out."""
    source = model.get("embeddings")
    if isinstance(source, str) and (source.startswith("glove:") or not (base / source).exists()):
        del model["embeddings"]
        tell(f"smoke: new vectors stand in for {quoted(source)}")
    if "embeddings" not in model:
        _at_most(model, "hidden", _WIDTH, always=True)


def _small_vocabulary(
    stage: dict[str, Any], tokenizer: dict[str, Any], base: Path, tell: Callable[[str], None]
) -> None:
    for key in ("from", "special_tokens_from"):
        source = tokenizer.get(key)
        if not isinstance(source, str) or not _comes_from_hub(source, base):
            continue
        if key == "special_tokens_from":
            del tokenizer[key]
            tell(f"smoke: common special tokens stand in for those of {quoted(source)}")
        else:
            tokenizer.clear()
            tokenizer["kind"] = "wordpiece" if stage.get("objective") in _READS_BOTH_WAYS else "bpe"
            tell(f"smoke: a tokenizer trained on the texts stands in for {quoted(source)}")
    vectors = tokenizer.get("vocabulary")
    if isinstance(vectors, str) and (vectors.startswith("glove:") or not (base / vectors).exists()):
        del tokenizer["vocabulary"]
        tell(f"smoke: the words of the training texts stand in for those of {quoted(vectors)}")
    if tokenizer.get("kind", "bpe") in ("bpe", "wordpiece", "unigram") and "from" not in tokenizer:
        _at_most(tokenizer, "vocab_size", 512, always=True)


def _small_prediction(
    stage: dict[str, Any], earlier: list[Any], folder: Path, base: Path, reachable: bool, tell: Callable[[str], None]
) -> None:
    """A tiny model that answers at random, short answers to a few texts."""
    model, data = stage.get("model"), stage.get("data")
    if is_table(model):
        source = model.get("from")
        if isinstance(source, str) and source not in earlier and _comes_from_hub(source, base):
            family = _family(source, str(stage.get("task")))
            model["from"] = f"smoke:{family}"
            tell(f"smoke: a tiny new {family} that answers at random stands in for {quoted(source)}")
            for key in ("language", "target"):
                stage.pop(key, None)  # it knows none
    for key in ("decoding", "rewriting"):
        _at_most(stage.setdefault(key, {}), "tokens", 12, always=True)
    if is_table(data):
        _at_most(data, "max_rows", _ROWS, always=True)
        _made_up_rows(stage, "generate", folder, reachable, tell)


def _small_augmentation(
    stage: dict[str, Any], folder: Path, base: Path, reachable: bool, tell: Callable[[str], None]
) -> None:
    """Tiny translators that write at random, short texts for a few rows."""
    data, augmenters = stage.get("data"), stage.get("augmenter")
    if is_table(data):
        _at_most(data, "max_rows", _ROWS // 4, always=True)
        _made_up_rows(stage, "classification", folder, reachable, tell)
    for each in augmenters if is_list(augmenters) else []:
        if not is_table(each) or each.get("kind", "back-translation") != "back-translation":
            continue
        _at_most(each, "tokens", 12, always=True)
        _at_most(each, "beams", 2, always=True)
        for key in ("there", "back"):
            source = each.get(key)
            if isinstance(source, str) and _comes_from_hub(source, base):
                family = _family(source, "text-to-text")
                each[key] = f"smoke:{family}"
                tell(f"smoke: a tiny new {family} that writes at random stands in for {quoted(source)}")
        if str(each.get("there")).startswith("smoke:"):
            each.setdefault("back", each["there"])
            for key in ("language", "pivot"):
                each.pop(key, None)  # it knows none


# -- data and members -----------------------------------------------------------------------------


def _few_rows(stage: dict[str, Any], folder: Path, reachable: bool, tell: Callable[[str], None]) -> None:
    data, objective = stage.get("data"), str(stage.get("objective", "causal-lm"))
    if not is_table(data):
        return
    _at_most(data, "max_documents" if objective in ("causal-lm", "masked-lm") else "max_rows", _ROWS, always=True)
    _at_most(data, "block_size", 64, always=objective in ("causal-lm", "masked-lm", "instruction-tuning"))
    _at_most(data, "max_length", 64)
    _at_most(data, "min_tokens", 64)
    if objective == "instruction-tuning":
        data["too_long"] = "truncate"  # whatever is there must do
    _made_up_rows(stage, objective, folder, reachable, tell)
    if data.get("train") == data.get("validation") == STAND_IN_TEXTS:  # long documents, all of which would be evaluated
        _at_most(data, "max_documents", _DOCUMENTS)


def _small_evaluation(stage: dict[str, Any], earlier: list[Any], base: Path, tell: Callable[[str], None]) -> None:
    """Few examples, short continuations, tiny models in place of those from the hub."""
    models = stage.get("models")
    if is_table(models):
        for name, source in models.items():
            if isinstance(source, str) and source not in earlier and _comes_from_hub(source, base):
                family = _family(source, "causal-lm")
                models[name] = f"smoke:{family}"
                tell(f"smoke: a tiny new {family} stands in for the model {quoted(source)}")
    _few_tokens(stage)


def _few_tokens(stage: dict[str, Any]) -> None:
    """Short continuations of a few prompts."""
    data, decoding = stage.get("data"), stage.setdefault("decoding", {})
    if is_table(data):
        _at_most(data, "max_rows", _ROWS // 4, always=True)
    if is_table(decoding):
        _at_most(decoding, "tokens", 8, always=True)
        _at_most(decoding, "beams", 2, always=True)


def _made_up_rows(
    stage: dict[str, Any], objective: str, folder: Path, reachable: bool, tell: Callable[[str], None]
) -> None:
    if reachable:
        return
    for table, key in list(_sources(stage)):
        if _is_hub(table, key):
            told = table[key]
            table[key] = write_stand_in(objective, table, key, folder)
            tell(f"smoke: made-up rows stand in for {quoted(told)}")


def _few_members(document: dict[str, Any], tell: Callable[[str], None]) -> None:
    seeds, sweep = document.get("seeds"), document.get("sweep")
    if is_list(seeds) and len(seeds) > 2:
        document["seeds"] = seeds[:2]
        tell("smoke: two seeds only")
    if is_table(sweep):
        _two_values(sweep)


def _two_values(table: dict[str, Any]) -> None:
    for key, value in table.items():
        if is_list(value):
            table[key] = value[:2]
        elif is_table(value):
            _two_values(value)
