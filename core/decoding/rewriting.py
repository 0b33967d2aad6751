"""Encoder–decoder models that write one text for another: translating, summarising. Any architecture of transformers.

Searching is `generate`'s; drawing is our own on top of its greedy search, so that what is drawn for a text depends on
the seed and the text alone, not on the texts beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import ValueInRecipeError
from ..models.loading import longest_context
from ..recipe.schema import Rewriting
from ..text import printable
from ..training.randomness import generator
from .loading import Loaded


@dataclass(frozen=True)
class Languages:
    """The languages of a model that knows several, as its tokenizer calls them; None for a model that does not."""

    source: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Answer:
    """What was written for a text.

    Attributes:
        text: without special tokens.
        ids: up to the end of text, as the decoder wrote them.
        score: log-probability after the length penalty, as beam search ranks it; NaN for a single beam and what was
            drawn.
        finished: it came to its end before it had all the tokens that it may have.
    """

    text: str
    ids: list[int]
    score: float
    finished: bool


@dataclass
class Shortfall:
    """What was left out or cut off, added up.

    Attributes:
        too_long: texts that have more tokens than the model takes, and so have no answer.
        cut: answers that were not finished when they had all the tokens that they may have.
    """

    too_long: int = 0
    cut: int = 0

    def sentences(self, tokens: int) -> list[str]:
        """All of it, for people; `tokens` is how many an answer may have."""
        found: list[str] = []
        if self.too_long:
            found.append(f"{self.too_long:,} texts have more tokens than the model takes and were left out")
        if self.cut:
            found.append(f"{self.cut:,} answers were not finished after {tokens} tokens and are cut off there")
        return found


class Rewriter:
    """An encoder–decoder model at work.

    Attributes:
        shortfall: of all calls so far.
    """

    def __init__(
        self,
        loaded: Loaded,
        settings: Rewriting,
        languages: Languages = Languages(),
        seed: int = 0,
        keys: tuple[str, str] = ("language", "target"),
    ):
        """Look whether the model knows the languages.

        Args:
            loaded: model and tokenizer.
            settings: how to write.
            languages: of a model that knows several.
            seed: what is drawn follows from it and from the text.
            keys: how the recipe calls source and target language, for messages.

        Raises:
            ValueInRecipeError: the model does not know a language, or needs to be told.
        """
        self.shortfall = Shortfall()
        self._loaded = loaded
        self._settings = settings
        self._seed = seed
        self._prefix, self._options = _towards(loaded, languages, keys)
        self._longest = longest_context(loaded.model)
        if self._longest is not None and settings.tokens >= self._longest:
            sentence = f"'{printable(loaded.name)}' writes at most {self._longest - 1} tokens, not {settings.tokens}"
            raise ValueInRecipeError("tokens", sentence)

    def __call__(self, texts: Sequence[str]) -> list[list[Answer]]:
        """What the model writes for each text, best first; nothing for a text that it cannot take.

        Batches have texts of like length.
        """
        encoded = [self.encode(text) for text in texts]
        fit = [i for i, ids in enumerate(encoded) if self._longest is None or len(ids) <= self._longest]
        self.shortfall.too_long += len(texts) - len(fit)
        fit.sort(key=lambda i: len(encoded[i]))
        answers: list[list[Answer]] = [[] for _ in texts]
        for start in range(0, len(fit), self._settings.batch_size):
            rows = fit[start : start + self._settings.batch_size]
            written = self._write([texts[row] for row in rows], [encoded[row] for row in rows])
            for row, answer in zip(rows, written, strict=True):
                answers[row] = answer
        return answers

    def encode(self, text: str) -> list[int]:
        """The ids that the encoder reads; special tokens written in the text are text."""
        tokenizer = self._loaded.tokenizer
        body = tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]
        if not self._prefix:
            return list(body)  # pyright: ignore[reportArgumentType]
        return [*self._prefix, *body]  # pyright: ignore[reportGeneralTypeIssues]

    def begin(self, answer: Answer) -> list[int]:
        """What the decoder is given before it writes the first token of its own choice."""
        config: Any = self._loaded.model.generation_config
        start = config.decoder_start_token_id
        forced = self._options.get("forced_bos_token_id", config.forced_bos_token_id)
        return [start] if forced is None else [start, answer.ids[0]]

    @torch.inference_mode()
    def _write(self, texts: Sequence[str], encoded: Sequence[list[int]]) -> list[list[Answer]]:
        loaded, settings, n = self._loaded, self._settings, self._settings.variants
        ids, mask = _padded(encoded, cast("int | None", loaded.tokenizer.pad_token_id) or 0)
        options: dict[str, Any] = {"max_new_tokens": settings.tokens, "do_sample": False, **self._options}
        if settings.search == "sample":
            ids, mask = ids.repeat_interleave(n, 0), mask.repeat_interleave(n, 0)
            streams = [generator(self._seed, "rewriting", text, variant) for text in texts for variant in range(n)]
            options |= {"num_beams": 1, "logits_processor": _processors(_Draw(settings, streams))}
        else:
            options |= {"num_beams": settings.beams, "num_return_sequences": n}
            options |= {"length_penalty": settings.length_penalty} if settings.beams > 1 else {}
        output: Any = loaded.model.generate(  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
            input_ids=ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        scores = getattr(output, "sequences_scores", None)
        scores = [float("nan")] * len(ids) * n if scores is None else scores.tolist()
        answers = [self._answer(*each) for each in zip(output.sequences.tolist(), scores, strict=False)]
        return [answers[start : start + n] for start in range(0, len(answers), n)]

    def _answer(self, sequence: list[int], score: float) -> Answer:
        ids, finished = self._finished(sequence)
        self.shortfall.cut += not finished
        text = str(self._loaded.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        return Answer(text, ids, score, finished)

    def _finished(self, sequence: list[int]) -> tuple[list[int], bool]:
        """The generated ids up to the end of text, and whether it came before there was no room left."""
        config: Any = self._loaded.model.generation_config
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        ids = sequence[1:]  # the first only starts the decoder
        for place, token in enumerate(ids):
            if token in ends:  # some architectures force one onto the very last place
                return ids[: place + 1], place + 1 < self._settings.tokens or config.forced_eos_token_id is None
        return ids, False


class _Draw:
    """Draws by the Gumbel-max trick: the best of scores plus Gumbel noise is a draw from their softmax.

    Each row has a stream of its own. A logits processor of `generate`, before its greedy choice.
    """

    def __init__(self, settings: Rewriting, streams: Sequence[torch.Generator]):
        self._settings = settings
        self._streams = streams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (rows, vocabulary) → the same, noisy."""
        scores = scores.float().cpu() / self._settings.temperature
        if self._settings.top_k is not None:
            floor = scores.topk(min(self._settings.top_k, scores.shape[1])).values[:, -1:]
            scores = scores.masked_fill(scores < floor, -torch.inf)
        if self._settings.top_p is not None:
            best, order = scores.sort(descending=True)
            before = best.softmax(-1).cumsum(-1) - best.softmax(-1)
            scores = scores.scatter(1, order, best.masked_fill(before >= self._settings.top_p, -torch.inf))
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=each) for each in self._streams])
        return (scores - noise.log()).to(input_ids.device)


def _processors(draw: Callable[[Tensor, Tensor], Tensor]) -> Any:
    from transformers import LogitsProcessorList

    return LogitsProcessorList([draw])  # pyright: ignore[reportArgumentType]


def _padded(rows: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def _towards(loaded: Loaded, languages: Languages, keys: tuple[str, str]) -> tuple[list[int], dict[str, Any]]:
    """What makes a model write the language that is wanted: ids before the text, and options of `generate`.

    M2M-100, NLLB and mBART begin their answer with the target language's token; Marian models of several target
    languages want it as `>>fra<<` before the text.
    """
    tokenizer: Any = loaded.tokenizer
    name = f"'{printable(loaded.name)}'"
    if hasattr(tokenizer, "src_lang"):
        for language, key in zip((languages.source, languages.target), keys, strict=True):
            if language is None:
                raise ValueInRecipeError(key, f"{name} knows many languages; say which with '{key}'")
            _language_id(tokenizer, language, name, key)
        tokenizer.src_lang = languages.source
        return [], {"forced_bos_token_id": _language_id(tokenizer, str(languages.target), name, keys[1])}
    if languages.target is None:
        return [], {}
    mark = f">>{languages.target}<<"
    if mark not in tokenizer.get_vocab():
        known = sorted(
            token[2:-2] for token in tokenizer.get_vocab() if token.startswith(">>") and token.endswith("<<")
        )
        there = f"it knows {', '.join(map(printable, known[:8]))}" if known else f"leave '{keys[1]}' out"
        raise ValueInRecipeError(keys[1], f"{name} has no target language '{printable(languages.target)}'; {there}")
    return [tokenizer.convert_tokens_to_ids(mark)], {}


def _language_id(tokenizer: Any, language: str, name: str, key: str) -> int:
    """The id of a language's token."""
    known: dict[str, int] = getattr(tokenizer, "lang_code_to_id", {}) or {
        token: number for token, number in tokenizer.get_added_vocab().items() if token in tokenizer.all_special_tokens
    }
    if language not in known:
        from ..recipe.keys import nearest

        close = nearest(language, known)
        hint = f"; did you mean '{close}'?" if close else ""
        raise ValueInRecipeError(key, f"{name} knows no language '{printable(language)}'{hint}")
    return known[language]
