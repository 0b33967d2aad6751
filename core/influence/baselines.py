"""Scores without gradients: how alike training rows and queries are. What influence has to be better than."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from torch import nn

from ..errors import UsageError
from ..training.objective import Objective
from .sides import Side

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def tf_idf(train: Side, queries: Side) -> NDArray[np.float64]:
    """(queries, rows): the cosine of counts of tokens, each weighed with how few training rows have it.

    A token's weight is its count times ln((1 + n) / (1 + rows that have it)) + 1, for n training rows.

    Raises:
        UsageError: the rows have no tokens.
    """
    rows, asked = list(_tokens(train)), list(_tokens(queries))
    known = 1 + max(int(ids.max()) for ids in (*rows, *asked))
    counted, counted_asked = _counts(rows, known), _counts(asked, known)
    having = np.bincount(counted.indices, minlength=known)
    weights = diags(np.log((1 + len(rows)) / (1 + having)) + 1)
    return np.asarray((_unit(counted_asked @ weights) @ _unit(counted @ weights).T).todense())


def embedded(model: nn.Module, train: Side, queries: Side) -> NDArray[np.float64]:
    """(queries, rows): the cosine of the means of the model's embeddings of their tokens.

    Raises:
        UsageError: the rows have no tokens, or the model has no embeddings of tokens.
    """
    try:
        table = cast("nn.Embedding", cast("PreTrainedModel", model).get_input_embeddings()).weight.detach()
    except (AttributeError, NotImplementedError):
        raise UsageError("the model has no embeddings of tokens; leave out the baseline 'embeddings'") from None
    vectors = table.double().cpu()

    def means(side: Side) -> NDArray[np.float64]:
        found = torch.stack([vectors[torch.from_numpy(ids)].mean(0) for ids in _tokens(side)]).numpy()
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300)

    return means(queries) @ means(train).T


def _tokens(side: Side) -> Iterator[NDArray[np.int64]]:
    """The ids of each row that the model reads, padding left out."""
    for row in side.rows:
        yield _ids(side.objective, row)


def _ids(objective: Objective, row: int) -> NDArray[np.int64]:
    inputs = objective.collate([row], 0).inputs
    ids = inputs.get("input_ids")
    if ids is None:
        raise UsageError("the rows have no tokens, so they cannot be compared by them; leave out 'baselines'")
    mask = inputs.get("attention_mask")
    return (ids.flatten() if mask is None or mask.shape != ids.shape else ids[mask.bool()]).numpy()


def _counts(rows: Sequence[NDArray[np.int64]], known: int) -> Any:
    """(rows, tokens), sparse."""
    ends = np.cumsum([0, *map(len, rows)])
    counted = csr_matrix((np.ones(ends[-1]), np.concatenate(rows), ends), (len(rows), known))
    counted.sum_duplicates()
    return counted


def _unit(rows: Any) -> Any:
    """Each row with a length of one."""
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return diags(1 / np.maximum(norms, 1e-300)) @ rows
