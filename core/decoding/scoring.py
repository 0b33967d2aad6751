"""What a model thinks of given texts, token by token, and how two models differ about the same tokens.

Nothing is generated: each token is predicted from those that really stand before it (teacher forcing).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.tokenizer import token_pieces
from ..errors import UsageError
from ..recipe.problems import quoted
from ..tokens import TokenTrace
from .likelihood import Passage, Predicted, predictions
from .loading import Loaded
from .recording import measure

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TraceDifference:
    """Two models about the same n tokens.

    Attributes:
        before, after: what each thinks.
    """

    before: TokenTrace
    after: TokenTrace

    @property
    def difference(self) -> NDArray[np.float32]:
        """(n,) float32, `after` minus `before` in log-probability, natural; above 0 the second model expected the token
        more. NaN where there is no context."""
        return self.after.logprob - self.before.logprob

    @property
    def mean(self) -> float:
        """Of the differences; NaN if there are none."""
        known = self.difference[~np.isnan(self.difference)]
        return float(known.mean()) if len(known) else float("nan")


def score_texts(loaded: Loaded, texts: Sequence[str], alternatives: int = 8) -> list[TokenTrace]:
    """What a causal language model thinks of every token of some texts.

    A text is encoded as its tokenizer does, special tokens included. Its very first token has no number. One beyond the
    model's longest context is read in windows that overlap by half; each token is scored once.

    Args:
        loaded: the model.
        texts: any number, of any length; an empty one gives a trace without tokens if the tokenizer adds none.
        alternatives: likeliest tokens to record beside each token.

    Raises:
        TrainingError: the model's output is not finite.
    """
    encoded: Any = loaded.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
    return score_ids(loaded, cast("list[list[int]]", encoded), alternatives)


def score_ids(loaded: Loaded, texts: Sequence[Sequence[int]], alternatives: int = 8) -> list[TokenTrace]:
    """The same for texts that are ids already.

    Raises:
        TrainingError: the model's output is not finite.
    """
    passages = [Passage(np.asarray(ids, np.int64)) for ids in texts]
    width = min(alternatives, loaded.model.config.get_text_config().vocab_size)
    columns = [_Columns.empty(len(passage.ids), width) for passage in passages]
    for part in predictions(loaded.model, passages):
        _fill(columns, part, width)
    return [_trace(loaded.tokenizer, passage, found) for passage, found in zip(passages, columns, strict=True)]


def score_difference(
    before: Loaded, after: Loaded, texts: Sequence[str], alternatives: int = 8
) -> list[TraceDifference]:
    """How two models differ about the tokens of some texts, encoded once.

    Raises:
        UsageError: their vocabularies differ, so that their tokens cannot be compared.
        TrainingError: the output of one is not finite.
    """
    check_same_vocabulary(before, after)
    first = score_texts(before, texts, alternatives)
    second = score_ids(after, [trace.ids.tolist() for trace in first], alternatives)
    return [TraceDifference(*pair) for pair in zip(first, second, strict=True)]


def check_same_vocabulary(before: Loaded, after: Loaded) -> None:
    """Refuse two models whose ids stand for other tokens.

    Raises:
        UsageError: they do; it names a token.
    """
    first, second = before.tokenizer.get_vocab(), after.tokenizer.get_vocab()
    if first == second:
        return
    names = f"{quoted(before.name)} and {quoted(after.name)}"
    if len(first) != len(second):
        told = f"{len(first):,} and {len(second):,} tokens"
    else:
        token = next(token for token, number in first.items() if second.get(token) != number)
        told = f"{quoted(token)} is {first[token]} in one and {second.get(token, 'nothing')} in the other"
    raise UsageError(f"{names} have different vocabularies ({told}); compare them by bits per byte: `lmwb evaluate`")


# -- inside ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Columns:
    """The numbers of a trace before they are known: NaN, and 0 for ranks."""

    logprob: NDArray[np.float32]
    rank: NDArray[np.uint32]
    entropy: NDArray[np.float32]
    alternative_ids: NDArray[np.uint32]
    alternative_logprob: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int, width: int) -> "_Columns":
        return cls(
            np.full(n, np.nan, np.float32),
            np.zeros(n, np.uint32),
            np.full(n, np.nan, np.float32),
            np.zeros((n, width), np.uint32),
            np.full((n, width), np.nan, np.float32),
        )


@torch.inference_mode()
def _fill(columns: Sequence[_Columns], part: Predicted, width: int) -> None:
    """Put the numbers of a batch where they belong."""
    logprob = part.logits - part.normaliser[:, None]
    values = vars(measure(logprob, part.ids, width))
    for passage in np.unique(part.passage):
        rows = part.passage == passage
        found = columns[passage]
        places = part.position[rows]
        for name, column in vars(found).items():
            column[places] = values[name][rows]


def _trace(tokenizer: "PreTrainedTokenizerBase", passage: Passage, found: _Columns) -> TokenTrace:
    known = np.unique(np.concatenate([passage.ids, found.alternative_ids.ravel()])).astype(int).tolist()
    return TokenTrace(
        ids=passage.ids.astype(np.uint32),
        prompt_length=len(passage.ids),
        pieces=token_pieces(tokenizer, known),
        special=frozenset(tokenizer.all_special_ids) & set(known),
        **vars(found),
    )
