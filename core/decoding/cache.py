"""A model's memory of a text while several continuations of it are searched.

The prompt is read once, its keys and values are repeated for each row and never moved again: a row only ever follows
a row of the same prompt. What is generated is written in place, and only that part is put into a new order.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _RowsLayer(DynamicLayer):
    """One layer's keys and values of all rows: (rows, heads, longest text, width)."""

    def __init__(self, keys: Tensor, values: Tensor, index: Tensor, more: int):
        super().__init__()
        self.is_initialized = True
        self.dtype, self.device = keys.dtype, keys.device
        self._length = self._prompt = keys.shape[2]
        self._keys, self._values = (_with_room(each, index, more) for each in (keys, values))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        end = self._length + key_states.shape[2]
        self._keys[:, :, self._length : end] = key_states
        self._values[:, :, self._length : end] = value_states
        self._length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._length

    def follow(self, index: Tensor) -> None:
        """Row i goes on from row index[i], which belongs to the same prompt."""
        for each in (self._keys, self._values):
            each[:, :, self._prompt : self._length] = each[:, :, self._prompt : self._length].index_select(0, index)

    def keep(self, index: Tensor) -> None:
        """Go on with other rows altogether."""
        self._keys, self._values = self._keys.index_select(0, index), self._values.index_select(0, index)


def _with_room(given: Tensor, index: Tensor, more: int) -> Tensor:
    """Rows of a tensor, with room for more places."""
    _, heads, length, width = given.shape
    room = given.new_empty(len(index), heads, length + more, width)
    room[:, :, :length] = given.index_select(0, index)
    return room


def empty(model: "PreTrainedModel") -> Cache:
    """A cache to read prompts with."""
    return DynamicCache(config=model.config)


def spread(cache: Cache, index: Tensor, more: int) -> None:
    """After the prompts are read: row i goes on from prompt index[i], by up to `more` tokens."""
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[place] = _RowsLayer(cast("Tensor", layer.keys), cast("Tensor", layer.values), index, more)
        else:  # sliding windows and recurrent states have rules of their own
            layer.reorder_cache(cast("torch.LongTensor", index))


def follow(cache: Cache, index: Tensor, same_prompts: bool) -> None:
    """Row i goes on from row index[i]; with `same_prompts`, that row always belongs to the same prompt."""
    for layer in cache.layers:
        if not isinstance(layer, _RowsLayer):
            layer.reorder_cache(cast("torch.LongTensor", index))
        elif same_prompts:
            layer.follow(index)
        else:
            layer.keep(index)
