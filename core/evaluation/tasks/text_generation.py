"""Texts that a causal language model goes on with."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from ...decoding.generate import generate
from ...decoding.loading import Loaded
from ...decoding.records import Generation
from ...models.loading import Head
from .explaining import model_part, softmax_part, tokens_part, top_names
from .task import Choice, Part, Prediction, Settings


class TextGeneration:
    """Goes on from each text."""

    head: ClassVar[Head] = "causal-lm"

    def __init__(self, loaded: Loaded, settings: Settings):
        """See the protocol."""
        self._loaded = loaded
        self._settings = settings

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """What follows each text, the best first."""
        found = generate(self._loaded, list(texts), self._settings.decoding, record=False)
        return [self._prediction(text, each) for text, each in zip(texts, found, strict=True)]

    @torch.inference_mode()
    def explain(self, text: str) -> list[Part]:
        """From tokens to the logits of the next token to probabilities, and the whole text."""
        (found,) = generate(self._loaded, [text], self._settings.decoding)
        best = found.hypotheses[0].trace
        given = best.ids[: best.prompt_length].tolist()
        output: Any = self._loaded.model(input_ids=torch.tensor([given], device=self._loaded.device))
        logits = output.logits[0, -1].float().cpu()
        names = top_names(self._loaded, logits, self._settings.top)
        said = "The model reads all tokens and gives a logit for each token that could come next."
        search = self._settings.decoding.search
        how = {
            "beam": f"Beam search keeps the best {self._settings.decoding.beams} beginnings at each step.",
            "greedy": "The likeliest token is taken, put at the end of the text, and so on.",
            "sample": "A token is drawn by its probability, put at the end of the text, and so on.",
        }[search]
        return [
            model_part(self._loaded),
            tokens_part(self._loaded, given),
            softmax_part("The next token", names, logits, self._settings.top, (said,)),
            Part("The text, token by token", (how, *found.notes), trace=best),
        ]

    def _prediction(self, text: str, found: Generation) -> Prediction:
        choices: list[Choice] = []
        for each in found.hypotheses[: self._settings.top]:
            ids = each.trace.ids[each.trace.prompt_length :].tolist()
            choices.append(Choice(str(self._loaded.tokenizer.decode(ids, skip_special_tokens=True)), score=each.total))
        return Prediction(text, (tuple(choices),), notes=found.notes)
