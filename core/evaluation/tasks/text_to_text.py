"""Texts written for texts by encoder–decoder models: translations, summaries, answers."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from ...decoding.loading import Loaded
from ...decoding.rewriting import Languages, Rewriter
from ...errors import UsageError
from ...models.loading import Head
from ...text import printable, shorten
from .explaining import model_part, softmax_part, token_name, tokens_part, top_names
from .task import Choice, Part, Prediction, Settings


class TextToText:
    """Writes a text for each text."""

    head: ClassVar[Head] = "seq2seq"

    def __init__(self, loaded: Loaded, settings: Settings):
        """See the protocol."""
        self._loaded = loaded
        self._settings = settings
        languages = Languages(settings.language, settings.target)
        self._rewriter = Rewriter(loaded, settings.rewriting, languages, settings.seed)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """What the model writes, as many variants as the settings say."""
        predictions: list[Prediction] = []
        for text, answers in zip(texts, self._rewriter([self._settings.prefix + text for text in texts]), strict=True):
            choices = tuple(Choice(each.text, score=None if math.isnan(each.score) else each.score) for each in answers)
            notes = () if answers else ("it has more tokens than the model takes, and so has no answer",)
            cut = (f"not finished after {self._settings.rewriting.tokens} tokens",)
            notes += cut if any(not each.finished for each in answers) else ()
            predictions.append(Prediction(text, (choices,), notes=notes))
        return predictions

    @torch.inference_mode()
    def explain(self, text: str) -> list[Part]:
        """From the encoder's tokens to the logits of the decoder's first token to the whole text."""
        text = self._settings.prefix + text
        (answers,) = self._rewriter([text])
        if not answers:
            raise UsageError(f"'{printable(shorten(text, 40))}' has more tokens than the model takes")
        best, ids = answers[0], self._rewriter.encode(text)
        begun = self._rewriter.begin(best)
        inputs = {"input_ids": torch.tensor([ids]), "decoder_input_ids": torch.tensor([begun])}
        output: Any = self._loaded.model(**{key: value.to(self._loaded.device) for key, value in inputs.items()})
        logits = output.logits[0, -1].float().cpu()
        names = top_names(self._loaded, logits, self._settings.top)
        first = ", ".join(token_name(self._loaded, token) for token in begun)
        said = (
            "The encoder reads all of them at once; the decoder writes one token after the other, looking at what the "
            f"encoder made of the text and at what it has written. It begins after: {first}"
        )
        written = tuple((str(i), token_name(self._loaded, token), str(token)) for i, token in enumerate(best.ids))
        return [
            model_part(self._loaded),
            tokens_part(self._loaded, ids),
            softmax_part("The first token that is written", names, logits, self._settings.top, (said,)),
            Part("From ids to text", (f"Written: {best.text}",), ("step", "token", "id"), written),
        ]
