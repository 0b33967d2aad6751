"""Multiple choice: beginnings with several endings, one of which is right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from torch import nn

from ..data.cache import RowCache
from ..data.choice_rows import ChoiceRows, ChoiceSource
from ..data.choices import ChoiceColumns
from ..data.split import draw_rows
from ..errors import ValueInRecipeError
from ..models.loading import Head, longest_context
from ..recipe.schema import MultipleChoiceStage
from ..training.evaluation import outputs_of
from ..training.objectives.choices import MultipleChoice
from .predictions import write_predictions
from .task import Material, Surroundings
from .tokenizers import make_tokenizer, padding_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace


class ChoiceTask:
    """Questions for a model that gives each ending a score."""

    head: ClassVar[Head] = "multiple-choice"

    def __init__(self, stage: MultipleChoiceStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._tokenizer: PreTrainedTokenizerBase
        self._objectives: dict[str, MultipleChoice] = {}

    def read(self) -> Material:
        """Read the questions, make the tokenizer, encode each ending with its beginning."""
        data, tell = self._stage.data, self._around.tell
        sources = self._sources()
        self._tokenizer = make_tokenizer(self._stage, sources["train"].texts, self._around)
        pad = padding_id(self._tokenizer, tell)
        kept = RowCache(self._around.cache / "rows", tell)
        parts: dict[str, ChoiceRows] = {}
        for name, source in sources.items():
            parts[name] = source.rows(self._tokenizer, data.max_length, data.too_long, kept)
            for note in parts[name].notes:
                tell(f"{source.key}: {note}")
        if not isinstance(data.validation, str):
            parts = self._set_aside(parts, data.validation)
        objectives = {name: MultipleChoice(rows, pad) for name, rows in parts.items()}
        self._objectives = objectives
        counts = {name: len(rows) for name, rows in objectives.items()}
        tell("questions: " + ", ".join(f"{count:,} in {name}" for name, count in counts.items()))
        return Material(
            tokenizer=self._tokenizer,
            train=objectives["train"],
            validation={name: rows for name, rows in objectives.items() if name == "validation"},
            test={name: rows for name, rows in objectives.items() if name == "test"},
            counts={"questions": counts},
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """Rows must not be longer than the model allows, nor its vocabulary smaller than the tokenizer's."""
        longest = longest_context(model)
        rows = max(int(objective.questions.rows.lengths.max()) for objective in self._objectives.values())
        if longest is not None and rows > longest:
            raise ValueInRecipeError(
                "data.max_length", f"a row has {rows} tokens, the model takes {longest}; lower max_length"
            )
        known = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
        if len(self._tokenizer) > known:
            raise ValueInRecipeError(
                "tokenizer", f"the tokenizer has {len(self._tokenizer)} tokens, the model knows {known}; leave it out"
            )
        for objective in self._objectives.values():
            objective.with_types = getattr(model.config, "type_vocab_size", 0) > 1

    def example(self, row: int) -> str:
        """A question with its right ending, and the ending's number."""
        questions = self._objectives["train"].questions
        right = int(questions.labels[row])
        ids = questions.rows.tokens(row * questions.endings + right)
        return f"{self._tokenizer.decode(ids.tolist())} → {right}"

    @property
    def prompts(self) -> Sequence[str]:
        """Nothing is asked meanwhile."""
        return ()

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":  # noqa: ARG002 - part of the protocol
        """A model that chooses says nothing."""
        raise ValueError("a model for multiple choice writes no text")

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:
        """Write what the model chooses for the questions without labels."""
        objective = self._objectives.get("predict")
        if objective is None:
            return {}
        settings, device = self._stage.train, next(model.parameters()).device
        places, count = objective.questions.places, objective.questions.endings
        answers: list[list[str]] = [[]] * len(objective)
        for rows, outputs, _ in outputs_of(model, objective, settings.eval_batch_size, device, settings.precision):
            for row, shares in zip(rows, torch.softmax(outputs.float().cpu(), -1), strict=True):
                choice = str(int(shares.argmax()))
                answers[row] = [str(row + 1), places[row], choice, *(f"{share:.6f}" for share in shares.tolist())]
        file = folder / "predictions.csv"
        write_predictions(file, ["row", "place", "choice", *(f"probability{i}" for i in range(count))], answers)
        self._around.tell(f"predictions for {len(objective):,} questions are in {file}")
        return {"predictions": f"{folder.name}/{file.name}"}

    def _sources(self) -> dict[str, ChoiceSource]:
        """By the part's name."""
        data = self._stage.data
        named = {"train": data.train, "validation": data.validation, "test": data.test, "predict": data.predict}
        sources: dict[str, ChoiceSource] = {}
        for part, source in named.items():
            if isinstance(source, str):
                label = None if part == "predict" else data.label
                columns = ChoiceColumns(data.context, data.start, tuple(data.endings), label)
                sources[part] = ChoiceSource(source, f"data.{part}", columns, data.max_rows)
        return sources

    def _set_aside(self, parts: dict[str, ChoiceRows], share: float) -> dict[str, ChoiceRows]:
        """The parts, with a share of the training questions for validation."""
        if share == 0:
            return parts
        if len(parts["train"]) < 2:
            raise ValueInRecipeError("data.validation", "one row cannot be split; give a source, or 0")
        drawn = draw_rows(len(parts["train"]), share, self._around.seed)
        learned, aside = (parts["train"].take(np.asarray(rows, np.int64)) for rows in drawn)
        return {**parts, "train": learned, "validation": aside}
