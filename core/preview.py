"""What a recipe would do, without doing it: `lmwb check` runs this module as a process of its own.

Reads {"recipe": frozen TOML, "origins": where its values came from, "home": path} from stdin as JSON, writes
one JSON object to stdout: {"stages": [...]} or {"error": sentence}. So the command line needs neither torch nor
transformers.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from .errors import LmwbError, ValueInRecipeError
from .recipe import origins, thaw
from .recipe.schema import Recipe, TrainStage

_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 240


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
    from .models.causal import quiet

    quiet()
    choose_device(recipe.device)
    stages: list[dict[str, Any]] = []
    for position, stage in enumerate(recipe.stage):
        try:
            stages.append(_preview_training(stage, recipe.seed, home))
        except ValueInRecipeError as error:
            raise origins.blame(written, position, error) from None
    return stages


def _preview_training(stage: TrainStage, seed: int, home: Path) -> dict[str, Any]:
    from .models.causal import outline
    from .stages.preparation import arrange, check_context, make_tokenizer, read_texts
    from .training.checkpoints import expected_bytes
    from .training.plan import Plan

    notes: list[str] = []
    texts = read_texts(stage.data, seed)
    tokenizer = make_tokenizer(stage, texts.train)
    model = outline(stage.model, tokenizer)
    check_context(stage.data, model)
    rows = arrange(texts, stage.data, tokenizer, notes.append)
    plan = Plan.of(stage.train, len(rows.train), seed)
    parameters = sum(weight.numel() for weight in model.parameters())
    one = expected_bytes(parameters, stage.train)
    return {
        "name": stage.name,
        "kind": stage.kind,
        "objective": stage.objective,
        "documents": {"train": len(texts.train), "validation": len(texts.validation), "test": len(texts.test)},
        "train_rows": len(rows.train),
        "validation_rows": 0 if rows.validation is None else len(rows.validation),
        "tokens_per_epoch": rows.train.targets,
        "steps": plan.total,
        "epochs": plan.total / plan.steps_per_epoch,
        "parameters": parameters,
        "vocabulary": len(tokenizer),
        "checkpoint_bytes": one * (stage.train.keep + 1),
        "free_bytes": shutil.disk_usage(_existing(home)).free,
        "examples": [
            tokenizer.decode(rows.train.tokens(row).tolist())[:_EXAMPLE_CHARACTERS]
            for row in range(min(_EXAMPLES, len(rows.train)))
        ],
        "notes": notes,
    }


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return folder if folder.exists() else _existing(folder.parent)


if __name__ == "__main__":
    sys.exit(main())
