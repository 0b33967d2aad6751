"""Letting a model go on from prompts: texts in, texts and everything about them out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..recipe.schema import Decoding
from .loading import Loaded
from .records import Generation, Step

Prompt = str | Sequence[int]
"""A text, or the ids of one ; an empty one becomes the token that texts begin with."""


@dataclass(frozen=True)
class Progress:
    """Where a search is.

    Attributes:
        prompts: places, among all prompts, of those that are worked on at once.
        step: steps done for them, from 1.
        steps: how many there will be at most.
        tree: the step just done, for each of these prompts that was still going on; empty if nothing is recorded.
    """

    prompts: range
    step: int
    steps: int
    tree: dict[int, Step]


OnStep = Callable[[Progress], None]
"""Hears of every step; an exception that it raises ends the search and reaches the caller."""


def generate(
    loaded: Loaded, prompts: Sequence[Prompt], settings: Decoding, on_step: OnStep | None = None, record: bool = True
) -> list[Generation]:
    """Let a causal language model go on from each prompt.

    Args:
        loaded: the model.
        prompts: any number; they are worked on in batches.
        settings: how to search; the results of a prompt do not depend on the others, but for rounding.
        on_step: hears of every step.
        record: keep the tree, ranks, entropies and alternatives; without it, hypotheses have ids, log-probabilities,
            scores and totals, and NaN (0 for ranks, no alternatives) elsewhere.

    Returns:
        One for each prompt, in their order.

    Raises:
        UsageError: prompt and tokens are longer than the model's longest context, or a processor cannot be made.
        TrainingError: the model's numbers are not finite; it names step and row.
    """
    raise NotImplementedError
