"""What a recipe would do, without doing it: `lmwb check` runs this module as a process of its own.

Reads {"recipe": frozen TOML, "origins": where its values came from, "home": path} from stdin as JSON, writes
one JSON object to stdout: {"stages": [...]} or {"error": sentence}. So the command line needs neither torch nor
transformers.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from .errors import LmwbError, ValueInRecipeError
from .history.tensorboard import check_installed
from .home import Home
from .recipe import origins, thaw
from .recipe.schema import INFLUENCE_STAGES, TRAIN_STAGES, EvaluateStage, Recipe
from .references import builds_on, resolved
from .text import shorten

_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 240
_PART_CHARACTERS = 70  # of the beginning and of the end of a part, where parts of an example are marked
_PARTS = 9


def main() -> int:
    """Answer the question on stdin."""
    question: dict[str, Any] = json.loads(sys.stdin.read())
    try:
        answer: dict[str, Any] = {
            "stages": preview(thaw(question["recipe"]), question["origins"], Path(question["home"]))
        }
    except LmwbError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
    return 0


def preview(recipe: Recipe, written: dict[str, str], home: Path) -> list[dict[str, Any]]:
    """What each stage would read, make and leave behind.

    Raises:
        RecipeError: a value does not fit the data or the model; it points at the user's line.
    """
    from .device import choose_device
    from .models.loading import quiet
    from .training.distribution import team_size

    quiet()
    choose_device(recipe.device)
    team_size(recipe.processes, recipe.device)
    if recipe.log.tensorboard:
        check_installed(written)
    stages: list[dict[str, Any]] = []
    for position, stage in enumerate(recipe.stage):
        try:
            notes = _notes_of(recipe, position, Home(home))
        except ValueInRecipeError as error:
            raise origins.blame(written, position, error) from None
        if not isinstance(stage, TRAIN_STAGES):
            stages.append({"name": stage.name, "kind": stage.kind, "notes": notes})
            continue
        if earlier := builds_on(recipe, position):
            stages.append({"name": stage.name, "kind": stage.kind, "builds_on": earlier})
            continue
        try:
            stages.append(_preview_training(recipe, position, home))
        except ValueInRecipeError as error:
            raise origins.blame(written, position, error) from None
    return stages


def _notes_of(recipe: Recipe, position: int, home: Home) -> list[str]:
    """What a stage that does not train would do, where there is something to tell."""
    stage = recipe.stage[position]
    if isinstance(stage, INFLUENCE_STAGES):
        from .stages.foreseeing import foresee

        return foresee(recipe, position, home)
    return _examples_of(stage) if isinstance(stage, EvaluateStage) else []


def _examples_of(stage: EvaluateStage) -> list[str]:
    """What models would be measured on."""
    from .evaluation.examples import read_examples

    return [f"{name} is {source}" for name, source in stage.models.items()] + list(read_examples(stage.data).notes)


def _preview_training(recipe: Recipe, position: int, home: Path) -> dict[str, Any]:
    from .methods import adapt
    from .models.loading import outline
    from .models.storage import stored_weights
    from .tasks.registry import task_of
    from .tasks.task import Surroundings
    from .training.checkpoints import expected_bytes

    stage = resolved(recipe, position, home, Home(home))
    assert isinstance(stage, TRAIN_STAGES)
    notes: list[str] = []
    task = task_of(stage, Surroundings(recipe.seed, Home(home).cache, notes.append))
    material = task.read()
    model = outline(stage.model, task.head, material.tokenizer, material.fields, Home(home).cache)
    task.check_model(model)
    adapt(model, stage.method, notes.append)
    rows = material.train
    plan = material.planned(stage.train, recipe.seed)
    weights = list(model.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return {
        "name": stage.name,
        "kind": stage.kind,
        "objective": stage.objective,
        "counts": material.counts,
        "train_rows": len(rows),
        "validation_rows": sum(len(part) for part in material.validation.values()),
        "tokens_per_epoch": int(rows.lengths.sum()) * plan.rows // len(rows),
        "steps": plan.total,
        "epochs": plan.total / plan.steps_per_epoch,
        "parameters": sum(weight.numel() for weight in weights),
        "trained": trained,
        "vocabulary": None if material.tokenizer is None else len(material.tokenizer),
        "checkpoint_bytes": expected_bytes(stored_weights(model), trained, stage.train) * (stage.train.keep + 1),
        "free_bytes": shutil.disk_usage(_existing(home)).free,
        "details": material.details,
        "examples": [_shortened(task.example(row)) for row in range(min(_EXAMPLES, len(rows)))],
        "notes": notes,
    }


def _shortened(example: str) -> str:
    """The beginning of an example; or of one in which parts are marked, the beginning and the end of each part."""
    from .tasks.task import LEARNED

    parts = re.split(f"([{''.join(LEARNED)}])", example)
    if len(parts) == 1:
        return shorten(example, _EXAMPLE_CHARACTERS)
    few = 2 * _PART_CHARACTERS
    shown = [p if len(p) <= few else f"{p[:_PART_CHARACTERS]} … {p[-_PART_CHARACTERS:]}" for p in parts[:_PARTS]]
    return "".join(shown) + ("…" if len(parts) > _PARTS else "")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return folder if folder.exists() else _existing(folder.parent)


if __name__ == "__main__":
    sys.exit(main())
