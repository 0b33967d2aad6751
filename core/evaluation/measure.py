"""All the figures of a model on some examples, and of several models in one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..data.hashing import hash_of_texts
from ..decoding.generate import generate
from ..decoding.loading import Loaded
from ..errors import UsageError
from ..models.loading import longest_context
from ..recipe.schema import EvaluateStage
from .examples import Examples
from .perplexity import Beginning, Perplexity, marks_before, perplexity_of_continuations, perplexity_of_texts
from .rouge import rouge
from .table import EvaluationTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 64
"""Prompts whose search is held in memory."""


@dataclass(frozen=True)
class Measured:
    """What a model came to.

    Attributes:
        figures: by the names that tables give them; None where a figure is not defined.
        notes: how it was measured and what was left out, sentences.
        continuations: (prefix, what was generated, what really follows), for `rouge`.
        vocabulary: differs between models whose ids stand for other tokens, the same in every process.
    """

    figures: dict[str, float | int | None]
    notes: tuple[str, ...]
    continuations: tuple[tuple[str, str, str], ...] = ()
    vocabulary: str = ""


def measure(
    loaded: Loaded, examples: Examples, settings: EvaluateStage, look: Callable[[], None] = lambda: None
) -> Measured:
    """Measure a causal language model.

    Args:
        loaded: the model.
        examples: what it is measured on.
        settings: which figures, and how.
        look: called with every batch of texts and every step of a search; may raise to end it.

    Raises:
        UsageError: the model or its tokenizer cannot be measured so.
        TrainingError: the model's output is not finite.
    """
    beginning: Beginning = settings.beginning or ("never" if examples.pairs else "tokenizer")
    figures: dict[str, float | int | None] = {}
    notes: list[str] = []
    continuations: tuple[tuple[str, str, str], ...] = ()
    if "perplexity" in settings.measures:
        found = _perplexity(loaded, examples, settings, beginning, look)
        figures |= found.figures()
        notes += found.notes()
    if "rouge" in settings.measures:
        more = _rouge(loaded, examples.pairs, settings, marks_before(loaded.tokenizer, beginning), look)
        figures |= more.figures
        notes += more.notes
        continuations = more.continuations
    vocabulary = hash_of_texts(f"{token} {number}" for token, number in sorted(loaded.tokenizer.get_vocab().items()))
    return Measured(figures, tuple(notes), continuations, vocabulary)


def table_of(measured: dict[str, Measured], notes_before: Sequence[str] = ()) -> EvaluationTable:
    """What models came to on the same examples; a note that does not hold for all names the model."""
    notes = list(notes_before)
    every = [each.notes for each in measured.values()]
    for name, each in measured.items():
        for note in each.notes:
            common = all(note in others for others in every)
            told = note if common else f"{name}: {note}"
            notes += [] if told in notes else [told]
    if len({each.vocabulary for each in measured.values()}) > 1:
        notes.append(
            "the models have different vocabularies: of these figures only bits_per_byte and rouge1 to rougeL "
            "can be compared"
        )
    return EvaluationTable.of([(name, each.figures) for name, each in measured.items()], notes)


def _perplexity(
    loaded: Loaded, examples: Examples, settings: EvaluateStage, beginning: Beginning, look: Callable[[], None]
) -> Perplexity:
    model, tokenizer = loaded.model, loaded.tokenizer
    if examples.pairs:
        return perplexity_of_continuations(model, tokenizer, examples.pairs, settings.boundary, beginning, look)
    return perplexity_of_texts(model, tokenizer, examples.texts, beginning, look)


def _rouge(
    loaded: Loaded,
    pairs: Sequence[tuple[str, str]],
    settings: EvaluateStage,
    marks: list[int],
    look: Callable[[], None],
) -> Measured:
    """Let the model go on from each prefix; its best text is the prediction, what really follows is gold."""
    encode = _encoder(loaded.tokenizer)
    prompts = [marks + encode(prefix) for prefix, _ in pairs]
    longest = longest_context(loaded.model)
    fits = [bool(ids) and (longest is None or len(ids) + settings.decoding.tokens <= longest) for ids in prompts]
    chosen = [number for number, fit in enumerate(fits) if fit]
    if not chosen:
        raise UsageError(
            f"no prefix leaves room for {settings.decoding.tokens} tokens in the model's longest context of {longest}; "
            "lower decoding.tokens"
        )
    ids: list[list[int]] = []
    texts: list[str] = []
    for start in range(0, len(chosen), _AT_ONCE):
        part = [prompts[number] for number in chosen[start : start + _AT_ONCE]]
        for generation in generate(loaded, part, settings.decoding, lambda _: look(), record=False):
            trace = generation.hypotheses[0].trace
            ids.append(trace.ids[trace.prompt_length :].tolist())
            texts.append(trace.text(trace.prompt_length))
    gold = [pairs[number][1] for number in chosen]
    found = rouge(texts, gold, ids, [encode(text) for text in gold], settings.order)
    notes = [_how(settings), *found.notes()]
    if len(chosen) < len(pairs):
        notes.append(
            f"prefixes that are empty or too long to go on from, left out of ROUGE: {len(pairs) - len(chosen):,}"
        )
    before = [pairs[number][0] for number in chosen]
    return Measured(found.figures(), tuple(notes), tuple(zip(before, texts, gold, strict=True)))


def _how(settings: EvaluateStage) -> str:
    """How continuations were generated, in words."""
    of = settings.decoding
    search = {"beam": f"beam search, {of.beams} beams", "greedy": "greedy", "sample": f"sampled, seed {of.seed}"}
    said = ", ".join(each.kind for each in of.processors)
    end = "stops" if of.end == "stop" else "ignored"
    how = f"continuations: {search[of.search]}, {of.tokens} tokens, end of text {end}"
    return how + (f", processors {said}" if said else "")


def _encoder(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        found: Any = tokenizer(text, add_special_tokens=False, verbose=False)
        return cast("list[int]", found["input_ids"])

    return encode
