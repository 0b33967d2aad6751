"""Letting a model go on from prompts: texts in, texts and everything about them out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..data.tokenizer import token_pieces
from ..errors import UsageError
from ..models.loading import longest_context
from ..recipe.problems import quoted
from ..recipe.schema import Decoding
from . import processors
from .assembling import Batch
from .loading import Loaded
from .recording import Recorder
from .records import Generation, Step
from .sampling import prompt_ids
from .search import Trail, search

Prompt = str | Sequence[int]
"""A text, or the ids of one; an empty one becomes the token that texts begin with."""


@dataclass(frozen=True)
class Progress:
    """Where a search is.

    Attributes:
        prompts: places, among all prompts, of those that are worked on at once.
        step: steps done for them, from 1.
        steps: how many there will be at most.
        tree: by such a place, the step just done, if the prompt was not through before; empty if nothing is recorded.
    """

    prompts: tuple[int, ...]
    step: int
    steps: int
    tree: dict[int, Step]


OnStep = Callable[[Progress], None]
"""Hears of every step; an exception that it raises ends the search and reaches the caller."""


def generate(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    settings: Decoding,
    on_step: OnStep | None = None,
    record: bool = True,
    measure_prompts: bool = True,
) -> list[Generation]:
    """Let a causal language model go on from each prompt.

    Args:
        loaded: the model.
        prompts: any number; those of like length are worked on together.
        settings: how to search; the results of a prompt do not depend on the others, but for rounding.
        on_step: hears of every step.
        record: keep the tree, ranks, entropies and alternatives; without it, hypotheses have ids, log-probabilities,
            scores and totals, and NaN (0 for ranks, no alternatives) elsewhere.
        measure_prompts: with `record`, the numbers of the prompts' tokens, too; costs the vocabulary head at each.

    Returns:
        One for each prompt, in their order.

    Raises:
        UsageError: the model keeps no keys and values, prompt and tokens are longer than its longest context, there
            is no end of text to stop at, or a processor cannot be made.
        TrainingError: the model's numbers are not finite; it names step and row.
    """
    loaded.model.eval()
    given = [prompt_ids(loaded.tokenizer, prompt) for prompt in prompts]
    _check_lengths(loaded, given, settings)
    known_ends = end_ids(loaded)
    if settings.end == "stop" and not known_ends:
        raise UsageError(f"{quoted(loaded.name)} has no token that ends a text; it can only go on with end = 'ignore'")
    steps = processors.make(settings, loaded.tokenizer, known_ends)
    ends = known_ends if settings.end == "stop" else ()
    vocabulary: int = loaded.model.config.get_text_config().vocab_size
    found: dict[int, Generation] = {}
    for places in _batches(given, settings):
        recorder = Recorder(min(settings.alternatives, vocabulary), measure_prompts) if record else None
        batch = Batch([given[i] for i in places], settings, recorder)
        teller = _teller(on_step, places, batch, settings)
        result = search(loaded.model, batch.prompts, settings, ends, steps, recorder, teller, places)
        pieces = token_pieces(loaded.tokenizer, batch.known_ids(result))
        special = frozenset(loaded.tokenizer.all_special_ids) & set(pieces)
        for place, generation in zip(places, batch.generations(result, pieces, special), strict=True):
            prompt = prompts[place]
            found[place] = replace(generation, prompt=prompt) if isinstance(prompt, str) else generation
    return [found[place] for place in range(len(prompts))]


def end_ids(loaded: Loaded) -> tuple[int, ...]:
    """The tokens that end a text: what the model's generation settings say, else the tokenizer."""
    said: Any = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    if said is None:
        said = loaded.tokenizer.eos_token_id
    return () if said is None else tuple(sorted({said} if isinstance(said, int) else set(said)))


def _batches(given: Sequence[Sequence[int]], settings: Decoding) -> Iterator[list[int]]:
    """Places of prompts that are worked on at once, of like length so that little is padded."""
    order = sorted(range(len(given)), key=lambda place: len(given[place]))
    size = 1 if settings.exact else settings.batch_size
    return (order[start : start + size] for start in range(0, len(order), size))


def _check_lengths(loaded: Loaded, given: Sequence[Sequence[int]], settings: Decoding) -> None:
    longest = longest_context(loaded.model)
    for place, ids in enumerate(given):
        if longest is not None and len(ids) + settings.tokens > longest:
            left = longest - len(ids)
            advice = f"ask for {left} at most" if left > 0 else "shorten it"
            raise UsageError(
                f"prompt {place + 1} has {len(ids)} tokens and {settings.tokens} are to follow, but "
                f"{quoted(loaded.name)} takes {longest} in all; {advice}"
            )


def _teller(
    on_step: OnStep | None, places: Sequence[int], batch: Batch, settings: Decoding
) -> Callable[[int, Trail], None] | None:
    if on_step is None:
        return None

    def tell(step: int, trail: Trail) -> None:
        tree = {places[prompt]: found for prompt, found in batch.step(step, trail).items()}
        on_step(Progress(tuple(places), step + 1, settings.tokens, tree))

    return tell
