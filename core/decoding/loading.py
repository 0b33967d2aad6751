"""The model that a person means: a run, one of its checkpoints, a folder, or a name on the hub.

References are read as `RUN`, `RUN/STAGE`, `RUN@STEP`, `RUN/STAGE@STEP`, a folder, or a hub name, in the order folder,
run, hub; `run:` and `hub:` in front leave no doubt. Code from repositories is never run.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError, UsageError, ValueInRecipeError
from ..history.queries import History, Run, Stage
from ..history.trained import MODEL, trained_stage
from ..home import Home
from ..models.loading import HEADS, Head, auto_class, make_model, quiet
from ..models.origin import origin_of
from ..recipe.problems import quoted
from ..recipe.schema import PretrainedModel
from ..text import printable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_KEY = "model.from"


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to be asked: on its device, dropout off.

    Attributes:
        model: in float32.
        tokenizer: that belongs to it.
        name: what people call it: `RUN/STAGE@STEP`, a folder, or a hub name; foreign text.
        device: where the model is.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    device: "torch.device"


@dataclass(frozen=True)
class Found:
    """Where a reference leads: a folder or hub name, and what people call it."""

    source: str
    name: str


def load(
    reference: str,
    home: Home,
    device: str = "auto",
    head: Head = "causal-lm",
    tell: Callable[[str], None] = lambda _: None,
) -> Loaded:
    """The model and tokenizer that a reference names.

    Args:
        reference: as the module describes.
        home: whose runs are meant.
        device: as in a recipe.
        head: what the model must answer; one that lacks the weights for it is refused.
        tell: hears what a person should know, such as that a run has only a checkpoint yet.

    Raises:
        UsageError: there is no such model, it is incomplete, or of another kind.
    """
    from ..data.tokenizer import load_tokenizer
    from ..device import choose_device

    quiet()
    place = choose_device(device)
    found = find(reference, home, tell)
    _check_whole(found)
    _check_kind(found, head)
    model = make_model(PretrainedModel.model_validate({"from": found.source}), head, None, {}, lambda _: None)
    if new := origin_of(model).new:
        names = ", ".join(sorted(new)[:3])
        raise ValueInRecipeError(_KEY, f"{quoted(found.name)} is no {HEADS[head][2]}: it has no weights for {names}")
    return Loaded(model.to(place).eval(), load_tokenizer(found.source, _KEY), found.name, place)  # pyright: ignore[reportArgumentType]


def find(reference: str, home: Home, tell: Callable[[str], None] = lambda _: None) -> Found:
    """Where a reference leads, without loading anything.

    Raises:
        UsageError: there is no such run, stage or checkpoint.
    """
    if reference.startswith("hub:"):
        return Found(reference.removeprefix("hub:"), reference.removeprefix("hub:"))
    if not reference.startswith("run:"):
        if Path(reference).expanduser().is_dir():
            return Found(str(Path(reference).expanduser()), reference)
        if reference.startswith((".", "/", "~")):
            raise ValueInRecipeError(_KEY, f"there is no folder {quoted(reference)}")
    match = MODEL.fullmatch(reference.removeprefix("run:"))
    if match and home.database.exists():
        with closing(History(home)) as history:
            try:
                run = history.find(match["run"])
            except NotFoundError as error:
                if reference.startswith("run:") or match["step"] or "several" in str(error):
                    raise ValueInRecipeError(_KEY, str(error)) from None
            else:
                return _of_run(history, run, match["stage"], match["step"], tell)
    if reference.startswith("run:") or "@" in reference:
        raise ValueInRecipeError(_KEY, f"there is no run {quoted(reference)}; `lmwb runs` lists them")
    return Found(reference, reference)


def _of_run(history: History, run: Run, stage: str | None, step: str | None, tell: Callable[[str], None]) -> Found:
    chosen = trained_stage(history, run, stage, _KEY)
    if step is None:
        return _result(history, run, chosen, tell)
    kept = {each.step: each for each in history.checkpoints(run, chosen.id)}
    if int(step) not in kept:
        there = ", ".join(map(str, sorted(kept))) or "none"
        raise ValueInRecipeError(_KEY, f"{run.uid}/{chosen.name} has no checkpoint of step {step}; there are: {there}")
    return Found(str(kept[int(step)].path), f"{run.uid}/{chosen.name}@{int(step)}")


def _result(history: History, run: Run, stage: Stage, tell: Callable[[str], None]) -> Found:
    """A stage's result; its newest checkpoint while there is none."""
    folder = run.folder / stage.name / "model"
    name = f"{run.uid}/{stage.name}"
    if stage.outcome == "finished" and folder.is_dir():
        return Found(str(folder), name)
    kept = history.checkpoints(run, stage.id)
    if not kept:
        raise ValueInRecipeError(_KEY, f"{name} has left no model behind yet, nor a checkpoint")
    tell(f"model: {name} is not finished; this is its newest checkpoint, step {kept[-1].step}")
    return Found(str(kept[-1].path), f"{name}@{kept[-1].step}")


def _check_whole(found: Found) -> None:
    """Refuse a folder that is still being written, or was damaged."""
    from ..training import checkpoints

    folder = Path(found.source)
    if not folder.is_dir():
        return
    if folder.name.startswith(checkpoints.UNFINISHED):
        raise ValueInRecipeError(_KEY, f"{quoted(found.name)} is not complete: it is still being written")
    if (folder / checkpoints.MANIFEST).is_file() and (trouble := checkpoints.damage(folder)):
        raise ValueInRecipeError(_KEY, f"{quoted(found.name)} is not complete: {trouble}")


def _check_kind(found: Found, head: Head) -> None:
    """Refuse a model whose configuration names a class for another purpose.

    transformers would load a masked language model as a causal one and let every token see its future.
    """
    from ..models.adapted import configuration_of, is_adapted
    from ..models.own import register

    register()
    from transformers import AutoConfig

    try:
        if is_adapted(found.source):
            config: Any = configuration_of(Path(found.source), {})
        else:
            config = AutoConfig.from_pretrained(found.source, trust_remote_code=False)
    except UsageError:
        raise
    except Exception:
        return  # loading will say it better
    named = (getattr(config, "architectures", None) or [None])[0]
    if named is None or named in _classes(head, config):
        return
    for other, (_, _, words) in HEADS.items():
        if named in _classes(other, config):
            sentence = f"{quoted(found.name)} is a {words} ({printable(named)}), not a {HEADS[head][2]}"
            raise ValueInRecipeError(_KEY, sentence)


def _classes(head: Head, config: Any) -> list[str]:
    classes = auto_class(head)._model_mapping.get(type(config), ())
    return [each.__name__ for each in (classes if isinstance(classes, tuple) else (classes,))]
