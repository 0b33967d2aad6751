"""Classes and scores of texts, single or in pairs; GLUE tasks by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.cache import RowCache
from ..data.glue import TASKS, parts_of
from ..data.labelled import Columns, LabelSource
from ..data.labelled_rows import LabelledRows, LabelledSource
from ..data.labels import Written, class_numbers, described, find_names, scores
from ..data.sources import HUB
from ..data.split import draw_rows
from ..errors import ValueInRecipeError
from ..models.loading import Head, longest_context
from ..recipe.schema import ClassificationStage, PretrainedModel, RegressionStage
from ..training.evaluation import outputs_of
from ..training.objectives.labels import Classification, Regression
from .predictions import write_predictions
from .task import Material, Surroundings
from .tokenizers import make_tokenizer, padding_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace

_SHARE = 0.05
"""Set aside for validation where neither recipe nor task says otherwise."""


@dataclass(frozen=True)
class _Part:
    """Rows of one part; `values` are numbers of classes, or scores."""

    rows: LabelledRows
    values: NDArray[Any]


class LabelTask:
    """Labelled texts for a classifier, or scored ones for a regression."""

    head: ClassVar[Head] = "classification"

    def __init__(self, stage: ClassificationStage | RegressionStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._glue = None if stage.data.task is None else TASKS[stage.data.task]
        self._names: list[str] | None = None  # of the classes; None for scores
        self._tokenizer: PreTrainedTokenizerBase
        self._objectives: dict[str, Classification | Regression] = {}
        self._places: dict[str, list[str]] = {}

    def read(self) -> Material:
        """Read the texts, make the tokenizer, encode, and turn labels into numbers."""
        sources = self._sources()
        self._tokenizer = make_tokenizer(self._stage, sources["train"].texts, self._around)
        pad = padding_id(self._tokenizer, self._around.tell)
        found = {name: self._encoded(source) for name, source in sources.items()}
        values = self._values({name: (sources[name], rows) for name, rows in found.items()})
        parts = {name: _Part(rows, values[name]) for name, rows in found.items()}
        objectives = {name: self._objective(part, pad) for name, part in self._with_validation(parts).items()}
        self._objectives = objectives
        self._places = {name: rows.places for name, rows in found.items()}
        counts = {name: len(rows) for name, rows in objectives.items()}
        self._around.tell("rows: " + ", ".join(f"{count:,} in {name}" for name, count in counts.items()))
        return Material(
            tokenizer=self._tokenizer,
            train=objectives["train"],
            validation={name: rows for name, rows in objectives.items() if name.startswith("validation")},
            test={name: rows for name, rows in objectives.items() if name.startswith("test")},
            fields={**self._fields(), "pad_token_id": pad},
            counts={"rows": counts},
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """Rows must not be longer than the model allows, nor its vocabulary smaller than the tokenizer's."""
        longest = longest_context(model)
        rows = max(int(objective.lengths.max()) for objective in self._objectives.values())
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
        """The row's text and its label."""
        objective = self._objectives["train"]
        value = objective.labels[row]
        label = f"{value:g}" if self._names is None else self._names[int(value)]
        return f"{self._tokenizer.decode(objective.rows.tokens(row).tolist())} → {label}"

    @property
    def prompts(self) -> Sequence[str]:
        """Nothing is asked meanwhile."""
        return ()

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":  # noqa: ARG002 - part of the protocol
        """A classifier says nothing."""
        raise ValueError("a classifier writes no text")

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:
        """Write what the model says of the rows without labels, a file for each source."""
        written: dict[str, str] = {}
        for name, objective in self._objectives.items():
            if name.startswith("predict"):
                file = folder / f"{name.replace('predict', 'predictions', 1)}.csv"
                self._write_predictions(model, objective, self._places[name], file)
                self._around.tell(f"predictions for {len(objective):,} rows are in {file}")
                written[name.replace("predict", "predictions", 1)] = f"{folder.name}/{file.name}"
        return written

    # -- sources ----------------------------------------------------------------------------------

    def _sources(self) -> dict[str, LabelledSource]:
        """By the part's name, `train` first; rows without labels are in parts whose names begin with `predict`."""
        data = self._stage.data
        named: dict[str, tuple[str, str]] = {}  # source, and the key to blame
        if data.task is not None and (data.train is None or data.train.startswith(HUB) or Path(data.train).is_dir()):
            key = "data.task" if data.train is None else "data.train"
            named = {part: (source, key) for part, source in parts_of(data.task, data.train).items()}
            if data.validation is not None:
                named = {part: source for part, source in named.items() if not part.startswith("validation")}
            if data.predict is not None:
                named = {part: source for part, source in named.items() if not part.startswith("predict")}
        elif data.train is not None:
            named = {"train": (data.train, "data.train")}
        if isinstance(data.validation, str):
            named["validation"] = (data.validation, "data.validation")
        named |= {
            part: (source, f"data.{part}")
            for part, source in (("test", data.test), ("predict", data.predict))
            if source
        }
        columns = self._columns()
        return {
            part: LabelledSource(
                part, LabelSource(source, columns, not part.startswith("predict"), data.task, data.max_rows), key
            )
            for part, (source, key) in named.items()
        }

    def _columns(self) -> Columns:
        data, known = self._stage.data, self._glue
        plain = Columns() if known is None else Columns(known.text, known.pair, known.label)
        return Columns(
            (data.text,) if data.text else plain.text,
            (data.pair,) if data.pair else plain.pair,
            (data.label,) if data.label else plain.label,
        )

    def _encoded(self, source: LabelledSource) -> LabelledRows:
        data, tell = self._stage.data, self._around.tell
        kept = RowCache(self._around.cache / "rows", tell)
        rows = source.rows(self._tokenizer, data.max_length, data.too_long, kept)
        for note in rows.notes:
            tell(f"{source.name}: {note}")
        return rows

    def _with_validation(self, parts: dict[str, _Part]) -> dict[str, _Part]:
        """The parts, with a share of the training rows set aside unless validation has a source."""
        share = self._stage.data.validation
        if any(name.startswith("validation") for name in parts):
            return parts
        if share is None:
            share = _SHARE
        assert not isinstance(share, str)
        train = parts["train"]
        if len(train.values) < 2 and share:
            raise ValueInRecipeError("data.validation", "one row cannot be split; give a source, or 0")
        learned, aside = (np.asarray(rows, np.int64) for rows in draw_rows(len(train.values), share, self._around.seed))
        split = {"train": _take(train, learned), "validation": _take(train, aside)}
        if not len(aside):
            del split["validation"]
        return {**split, **{name: part for name, part in parts.items() if name != "train"}}

    # -- labels -----------------------------------------------------------------------------------

    def _values(self, found: Mapping[str, tuple[LabelledSource, LabelledRows]]) -> dict[str, NDArray[Any]]:
        """Numbers of classes or scores for each part; zeros where nothing is known."""
        written = {
            name: Written(source.source.name, source.key, rows.places, rows.labels)
            for name, (source, rows) in found.items()
            if rows.labels is not None
        }
        if isinstance(self._stage, RegressionStage):
            values: dict[str, NDArray[Any]] = {name: scores(labels) for name, labels in written.items()}
            return {name: values.get(name, np.zeros(len(rows.rows), np.float32)) for name, (_, rows) in found.items()}
        names, given = self._class_names(written["train"], found["train"][1].names)
        self._names = list(names)
        values = {name: class_numbers(labels, names, given) for name, labels in written.items()}
        self._around.tell(f"labels: {described(names, values['train'])}")
        return {name: values.get(name, np.zeros(len(rows.rows), np.int64)) for name, (_, rows) in found.items()}

    def _class_names(self, train: Written, from_source: Sequence[str] | None) -> tuple[Sequence[str], bool]:
        """The classes in the order of their numbers, and whether they are known from elsewhere than the rows."""
        given = self._stage.data.labels
        if given is not None:
            if len(set(given)) < len(given) or len(given) < 2:
                raise ValueInRecipeError("data.labels", "name two or more labels, each once")
            return given, True
        if self._glue is not None and self._glue.labels is not None:
            return self._glue.labels, True
        if from_source is not None:
            return from_source, True
        found = find_names(train)
        earlier = self._names_of_model()
        return (earlier if sorted(earlier) == sorted(found) else found), False

    def _names_of_model(self) -> list[str]:
        """The classes that the model knows already: those of the checkpoint, or of the model that training starts from.

        With the same classes their order is kept, so that the head keeps its meaning.
        """
        from transformers import AutoConfig

        from ..models.own import register

        register()
        model = self._stage.model
        sources = [str(self._around.saved)] if self._around.saved else []
        sources += [model.from_] if isinstance(model, PretrainedModel) else []
        for source in sources:
            try:
                known = AutoConfig.from_pretrained(source).id2label or {}
            except (OSError, ValueError, KeyError):  # loading the model will tell
                continue
            return [str(name) for _, name in sorted(known.items(), key=lambda item: int(item[0]))]
        return []

    def _fields(self) -> dict[str, Any]:
        if self._names is None:
            return {"num_labels": 1, "problem_type": "regression"}
        return {
            "num_labels": len(self._names),
            "id2label": dict(enumerate(self._names)),
            "label2id": {name: number for number, name in enumerate(self._names)},
            "problem_type": "single_label_classification",
        }

    def _objective(self, part: _Part, pad: int) -> Classification | Regression:
        if self._names is None:
            return Regression(part.rows.rows, part.values, pad)
        usual = ("accuracy", "f1") if len(self._names) == 2 else ("accuracy", "macro_f1")
        figures = usual if self._glue is None else self._glue.figures
        return Classification(part.rows.rows, part.values, pad, len(self._names), figures)

    # -- predictions ------------------------------------------------------------------------------

    def _write_predictions(
        self, model: nn.Module, objective: Classification | Regression, places: Sequence[str], file: Path
    ) -> None:
        settings, device = self._stage.train, next(model.parameters()).device
        answers: list[list[str]] = [[]] * len(objective)
        for rows, outputs, _ in outputs_of(model, objective, settings.eval_batch_size, device, settings.precision):
            for row, answer in zip(rows, self._answers(outputs.float().cpu()), strict=True):
                answers[row] = [str(row + 1), places[row], *answer]
        header = ["row", "place", "score"] if self._names is None else ["row", "place", "label", "probability"]
        write_predictions(file, header, answers)

    def _answers(self, outputs: Tensor) -> list[list[str]]:
        if self._names is None:
            return [[f"{score:.6g}"] for score in outputs.squeeze(-1).tolist()]
        best = torch.softmax(outputs, -1).max(-1)
        chosen = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [[self._names[number], f"{probability:.6f}"] for number, probability in chosen]


def _take(part: _Part, rows: NDArray[np.int64]) -> _Part:
    of = part.rows
    kept = LabelledRows(of.rows.take(rows), [of.places[i] for i in rows], None, of.names, of.notes)
    return _Part(kept, part.values[rows])
