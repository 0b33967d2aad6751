"""The ready-made tasks by name, and a model on the hub that can do each."""

from typing import TYPE_CHECKING

from ...errors import UsageError
from ...home import Home
from ...recipe.keys import nearest
from ...text import printable
from .task import InferenceTask, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULTS = {
    "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "language-detection": "papluca/xlm-roberta-base-language-detection",
    "text-generation": "openai-community/gpt2",
    "text-to-text": "google-t5/t5-small",
    "fill-mask": "google-bert/bert-base-uncased",
}
"""By task, the model that is meant by `default`."""


def make_task(
    name: str, reference: str, settings: Settings, home: Home, device: str, tell: "Callable[[str], None]"
) -> InferenceTask:
    """A task with its model.

    Args:
        name: one of `DEFAULTS`.
        reference: of the model, as `core.decoding.loading` reads it; or `default`.
        settings: how to answer.
        home: whose runs are meant.
        device: as in a recipe.
        tell: hears what a person should know.

    Raises:
        UsageError: there is no such task or model, or the model is of another kind.
    """
    kind = _class_of(name)
    from ...decoding.loading import load

    if reference == "default":
        reference = f"hub:{DEFAULTS[name]}"
        tell(f"model: {DEFAULTS[name]}")
    return kind(load(reference, home, device, kind.head, tell), settings)


def _class_of(name: str) -> type[InferenceTask]:
    if name not in DEFAULTS:
        close = nearest(name, DEFAULTS)
        hint = f"did you mean '{close}'?" if close else f"there are {', '.join(DEFAULTS)}"
        raise UsageError(f"there is no task '{printable(name)}'; {hint}")
    if name == "text-generation":
        from .text_generation import TextGeneration

        return TextGeneration
    if name == "text-to-text":
        from .text_to_text import TextToText

        return TextToText
    if name == "fill-mask":
        from .fill_mask import FillMask

        return FillMask
    from .text_classification import TextClassification

    return TextClassification
