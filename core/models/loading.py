"""Models: loaded, or made anew, with the head that an objective needs."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..errors import ValueInRecipeError
from ..recipe.keys import nearest
from ..recipe.problems import quoted
from ..recipe.schema import AnyModel, PretrainedModel, ScratchModel, StartingModel
from .origin import remember_origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Head = Literal["causal-lm", "masked-lm", "classification", "multiple-choice", "image-classification", "seq2seq"]
"""What a model's last layer answers."""

HEADS: dict[Head, tuple[str, str, str]] = {
    "causal-lm": ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "causal language model"),
    "masked-lm": ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES", "masked language model"),
    "classification": (
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        "text classifier",
    ),
    "multiple-choice": (
        "AutoModelForMultipleChoice",
        "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES",
        "model for multiple choice",
    ),
    "image-classification": (
        "AutoModelForImageClassification",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
        "image classifier",
    ),
    "seq2seq": (
        "AutoModelForSeq2SeqLM",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        "text-to-text model",
    ),
}
"""By head: transformers' class, its table of architectures, and what people call it."""

Tell = Callable[[str], None]

_NO_HEAD = re.compile(r"Unrecognized configuration class <class '[\w.]*\.(\w+)Config'> for this kind of AutoModel")
"""What transformers says of an architecture that it has no such head for."""


def make_model(
    model: AnyModel,
    head: Head,
    tokenizer: "PreTrainedTokenizerBase | None",
    fields: Mapping[str, Any],
    tell: Tell,
    cache: Path | None = None,
) -> "PreTrainedModel":
    """The model that a recipe names, its weights in float32; new weights are drawn from torch's present seed.

    Args:
        model: the recipe's table.
        head: what the model shall answer.
        tokenizer: its vocabulary's size is that of a new model.
        fields: fields of the configuration that the data decide, such as `num_labels`.
        tell: hears which weights are new although the model is not.
        cache: a folder for what can be made again; without it, word vectors are read anew.

    Raises:
        ValueInRecipeError: there is none by that name, it is of another kind, or does not take these fields.
    """
    if isinstance(model, PretrainedModel):
        return _cut(model, _load(model, head, fields, tell), tell)
    if isinstance(model, ScratchModel):
        return _new(model, head, tokenizer, fields)
    from .own import new_model

    return new_model(model, tokenizer, fields, tell, cache)


def outline(
    model: AnyModel,
    head: Head,
    tokenizer: "PreTrainedTokenizerBase | None",
    fields: Mapping[str, Any],
    cache: Path | None = None,
) -> "PreTrainedModel":
    """The model without its weights: shapes on torch's meta device, for looking before training.

    Raises:
        ValueInRecipeError: as loading or making it would.
    """
    with torch.device("meta"):
        if not isinstance(model, PretrainedModel):
            return make_model(model, head, tokenizer, fields, lambda _: None, cache)
        from .own import register

        register()
        from transformers import AutoConfig

        from .adapted import configuration_of, is_adapted
        from .shrunk import is_shrunk, take_sizes

        try:
            if is_adapted(model.from_):
                configuration = configuration_of(Path(model.from_), fields, model.trust_remote_code)
            else:
                trust = model.trust_remote_code
                configuration = AutoConfig.from_pretrained(model.from_, trust_remote_code=trust, **fields)
        except Exception as error:
            raise _cannot_load(model, head, error) from None
        if isinstance(model, StartingModel) and model.layers is not None:
            from .layers import chosen_layers, cut_configuration

            configuration = cut_configuration(configuration, chosen_layers(configuration, model.layers))
        try:
            outlined = auto_class(head).from_config(configuration)
        except Exception as error:
            raise _cannot_load(model, head, error) from None
        if is_shrunk(model.from_):
            take_sizes(outlined, Path(model.from_))
        return outlined


def _load(model: PretrainedModel, head: Head, fields: Mapping[str, Any], tell: Tell) -> "PreTrainedModel":
    from .adapted import is_adapted, start_from_adapted
    from .own import register
    from .shrunk import is_shrunk, start_from_shrunk

    register()
    if is_adapted(model.from_):
        return start_from_adapted(Path(model.from_), head, fields, tell, model.trust_remote_code)
    if is_shrunk(model.from_):
        return start_from_shrunk(Path(model.from_), head, fields, tell, model.trust_remote_code)
    try:
        found, report = auto_class(head).from_pretrained(
            model.from_,
            dtype=torch.float32,
            trust_remote_code=model.trust_remote_code,
            ignore_mismatched_sizes=head not in ("causal-lm", "masked-lm", "seq2seq"),
            output_loading_info=True,
            **fields,
        )
    except Exception as error:
        raise _cannot_load(model, head, error) from None
    _tell_what_is_new(model, report, tell)
    if not report.get("missing_keys") and not report.get("mismatched_keys"):
        _tell_new_labels(model, fields, tell)
    mismatched = {name for name, *_ in report.get("mismatched_keys", ())}
    remember_origin(found, model.from_, {*report.get("missing_keys", ()), *mismatched})
    return found


def _cut(model: PretrainedModel, found: "PreTrainedModel", tell: Tell) -> "PreTrainedModel":
    """The layers of a model that the recipe wants."""
    if not isinstance(model, StartingModel) or model.layers is None:
        return found
    from .layers import with_layers

    small, layers = with_layers(found, model.layers)
    tell(f"model: layers {', '.join(map(str, layers))} of the {found.config.num_hidden_layers} of '{model.from_}'")
    return small


def _tell_new_labels(model: PretrainedModel, fields: Mapping[str, Any], tell: Tell) -> None:
    """A head that is kept although its labels are called something else is said aloud."""
    import transformers

    wanted = fields.get("id2label")
    if not wanted:
        return
    had = transformers.AutoConfig.from_pretrained(model.from_, trust_remote_code=model.trust_remote_code).id2label
    if not had or all(name == f"LABEL_{number}" for number, name in had.items()):
        return
    before, now = ([quoted(str(name)) for _, name in sorted(each.items())] for each in (had, wanted))
    if before != now:
        tell(f"model: the head is kept; what it called {', '.join(before[:8])} is now {', '.join(now[:8])}")


def _tell_what_is_new(model: PretrainedModel, report: Mapping[str, Any], tell: Tell) -> None:
    """A head that is new, or replaces one of another size, is said aloud."""
    replaced = [
        f"{name} {tuple(there)} → {tuple(wanted)}" for name, there, wanted in sorted(report.get("mismatched_keys", ()))
    ]
    if replaced:
        tell(f"model: a head of another size is replaced by a new one: {', '.join(replaced)}")
    if missing := sorted(
        set(report.get("missing_keys", ())) - {name for name, *_ in report.get("mismatched_keys", ())}
    ):
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        tell(f"model: '{model.from_}' has no weights for {shown}; they are new")


def _new(
    model: ScratchModel, head: Head, tokenizer: "PreTrainedTokenizerBase | None", fields: Mapping[str, Any]
) -> "PreTrainedModel":
    configuration = _configuration(model, head, tokenizer, fields)
    try:
        return auto_class(head).from_config(configuration)
    except Exception as error:
        raise ValueInRecipeError(
            "model.config", f"the fields do not make a {model.type}: {first_line(error)}"
        ) from None


def _configuration(
    model: ScratchModel, head: Head, tokenizer: "PreTrainedTokenizerBase | None", fields: Mapping[str, Any]
) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto

    _, table, words = HEADS[head]
    known = list(getattr(modeling_auto, table))
    if model.type not in known:
        close = nearest(model.type, known)
        hint = f"; did you mean '{close}'?" if close else ""
        raise ValueInRecipeError("model.type", f"transformers knows no {words} of type '{model.type}'{hint}")
    configuration = AutoConfig.for_model(model.type)
    for name in model.config:
        if not hasattr(configuration, name):
            close = nearest(name, list(vars(configuration)))
            hint = f"; did you mean '{close}'?" if close else ""
            raise ValueInRecipeError(
                f"model.config.{name}", f"a {model.type} has no configuration field '{name}'{hint}"
            )
    special = {} if tokenizer is None else {"vocab_size": len(tokenizer), **_special_ids(tokenizer)}
    try:
        return AutoConfig.for_model(model.type, **{**special, **fields, **model.config})
    except Exception as error:
        raise ValueInRecipeError(
            "model.config", f"the fields do not make a {model.type}: {first_line(error)}"
        ) from None


def _special_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def longest_context(model: "PreTrainedModel") -> int | None:
    """The most tokens that the model takes at once; None if it names no bound."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None:
        return None
    # RoBERTa and its kin count positions from the padding token's id on
    positions = next((m for name, m in model.named_modules() if name.endswith("embeddings.position_embeddings")), None)
    first = getattr(positions, "padding_idx", None)
    return longest if first is None else longest - first - 1


def quiet() -> None:
    """Keep transformers' progress bars and advice out of the log."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def auto_class(head: Head) -> Any:
    """transformers' Auto class for a head."""
    import transformers

    return getattr(transformers, HEADS[head][0])


def head_named(name: str | None, config: type[Any]) -> Head | None:
    """The head for which transformers makes a class of that name; None if it is none of ours."""
    for head in HEADS:
        classes = auto_class(head)._model_mapping.get(config, ())
        if name in [each.__name__ for each in (classes if isinstance(classes, tuple) else (classes,))]:
            return head
    return None


def _cannot_load(model: PretrainedModel, head: Head, error: Exception) -> ValueInRecipeError:
    if match := _NO_HEAD.match(str(error)):
        reason = f"transformers makes none of its kind, {match[1]}"
        return ValueInRecipeError("model.from", f"cannot load a {HEADS[head][2]} from '{model.from_}': {reason}")
    return ValueInRecipeError("model.from", f"cannot load a {HEADS[head][2]} from '{model.from_}': {first_line(error)}")


def first_line(error: Exception) -> str:
    """The beginning of an error's text, or else its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
