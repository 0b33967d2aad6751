"""Labels of texts: sentiment, topic, language, or whatever a classifier has learned."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from ...data.encoded import encode
from ...decoding.loading import Loaded
from ...errors import UsageError
from ...models.loading import Head, longest_context
from ...text import printable, shorten
from .explaining import model_part, sigmoid_part, softmax_part, tokens_part
from .task import Choice, Part, Prediction, Settings

_NO_BOUND = 1_000_000


class TextClassification:
    """Probabilities of labels: by the logistic function for one label or several at once, else by softmax."""

    head: ClassVar[Head] = "classification"

    def __init__(self, loaded: Loaded, settings: Settings):
        """See the protocol."""
        self._loaded = loaded
        self._settings = settings
        config: Any = loaded.model.config
        self._kind = kind_of_labels(config)
        self._names = [str(config.id2label[number]) for number in range(config.num_labels)]
        self._with_types = getattr(config, "type_vocab_size", 0) > 1
        self._longest = longest_context(loaded.model) or _NO_BOUND
        self._cut = f"it was cut to the {self._longest:,} tokens that the model takes"
        self._pad = cast("int | None", config.pad_token_id)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The likeliest labels of each text."""
        rows, types, long = self._encoded(texts)
        logits = self._logits(rows, types)
        return [
            Prediction(text, (self._choices(each),), notes=(self._cut,) if i in long else ())
            for i, (text, each) in enumerate(zip(texts, logits, strict=True))
        ]

    def explain(self, text: str) -> list[Part]:
        """From tokens to logits to probabilities."""
        rows, types, long = self._encoded([text])
        (logits,) = self._logits(rows, types)
        labels = f"Its configuration names {len(self._names)} labels: {', '.join(map(printable, self._names[:20]))}."
        order = logits.argsort(descending=True).tolist()
        names = [self._names[place] for place in order]
        shape = f"The model turns {len(rows[0])} ids into {len(names)} numbers, a logit for each label."
        if self._kind == "softmax":
            numbers = softmax_part("From logits to probabilities", names, logits, len(names), (shape,))
        elif self._kind == "sigmoid":
            numbers = sigmoid_part("From logits to probabilities", names, logits[order])
        else:
            table = tuple((name, f"{z:.4f}") for name, z in zip(names, logits[order].tolist(), strict=True))
            numbers = Part("The score", (shape, "A regression: the number is the answer."), ("", "score"), table)
        why = {
            "softmax": "One label is right (more than one label, and problem_type does not say otherwise): softmax.",
            "sigmoid": "One label, or several may be right at once: the logistic function, label by label.",
            "none": "problem_type is regression: no probabilities.",
        }[self._kind]
        return [
            model_part(self._loaded, (labels, why)),
            tokens_part(self._loaded, rows[0], (self._cut,) if long else ()),
            numbers,
        ]

    def _encoded(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]] | None, set[int]]:
        """Ids and token types, cut to what the model takes, and the numbers of the texts that were cut."""
        found = encode(texts, None, self._loaded.tokenizer, self._longest, "truncate")
        for text, ids in zip(texts, found.ids, strict=True):
            if not len(ids):
                raise UsageError(f"there is nothing in the text '{printable(shorten(text, 40))}' to be classified")
        types = [each.tolist() for each in found.types] if found.types is not None and self._with_types else None
        return [ids.tolist() for ids in found.ids], types, set(found.long)

    @torch.inference_mode()
    def _logits(self, rows: Sequence[list[int]], types: Sequence[list[int]] | None) -> list[Tensor]:
        """(labels,) for each row; batches have rows of like length."""
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in self._batches(rows):
            longest = max(len(rows[row]) for row in batch)

            def padded(
                values: Sequence[list[int]], fill: int, batch: Sequence[int] = batch, to: int = longest
            ) -> Tensor:
                filled = [values[row] + [fill] * (to - len(values[row])) for row in batch]
                return torch.tensor(filled, device=self._loaded.device)

            inputs = {
                "input_ids": padded(rows, self._pad or 0),
                "attention_mask": padded([[1] * len(row) for row in rows], 0),
                **({} if types is None else {"token_type_ids": padded(types, 0)}),
            }
            output: Any = self._loaded.model(**inputs)
            for row, logits in zip(batch, output.logits.float().cpu(), strict=True):
                found[row] = logits
        return found

    def _batches(self, rows: Sequence[list[int]]) -> Iterator[list[int]]:
        """Row numbers; a model without a token for padding takes rows of one length only."""
        order = np.argsort([len(row) for row in rows], kind="stable").tolist()
        batch: list[int] = []
        for row in order:
            other = self._pad is None and batch and len(rows[row]) != len(rows[batch[0]])
            if other or len(batch) == self._settings.batch_size:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _choices(self, logits: Tensor) -> tuple[Choice, ...]:
        values = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "none": logits}[self._kind]
        best = logits.topk(min(self._settings.top, len(logits))).indices.tolist()
        scored = self._kind == "none"
        return tuple(
            Choice(self._names[place], None if scored else float(values[place]), float(logits[place])) for place in best
        )


def kind_of_labels(config: Any) -> str:
    """How logits become probabilities: `softmax`, `sigmoid`, or `none` for a regression."""
    if config.problem_type == "regression":
        return "none"
    several = config.problem_type == "multi_label_classification"
    return "sigmoid" if several or config.num_labels == 1 else "softmax"
