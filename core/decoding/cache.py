"""A model's memory of a text while several continuations of it are searched.

The prompt is read once, its keys and values are repeated for each row and never moved again: a row only ever follows
a row of the same prompt. What is generated is written in place, and only that part is put into a new order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Room:
    """Keys and values of all rows in layers of one shape: (rows, 2 · layers, heads, longest text, width)."""

    def __init__(self, columns: Sequence[Tensor], prompts: Tensor, rows: int, more: int):
        _, heads, self.prompt, width = columns[0].shape
        shape = len(prompts), rows, len(columns), heads, self.prompt + more, width
        self.tensor = columns[0].new_empty(shape)
        whole = len(prompts) == len(columns[0])
        for place, column in enumerate(columns):
            chosen = column if whole else column.index_select(0, prompts)
            self.tensor[:, :, place, :, : self.prompt] = chosen[:, None]
        self.tensor = self.tensor.flatten(0, 1)

    def follow(self, index: Tensor, end: int) -> None:
        """Row i goes on from row index[i], which belongs to the same prompt; texts go up to `end`."""
        generated = self.tensor[:, :, :, self.prompt : end]
        generated.copy_(generated.index_select(0, index))

    def keep(self, index: Tensor) -> None:
        """Go on with other rows altogether."""
        self.tensor = self.tensor.index_select(0, index)


class _RowsLayer(DynamicLayer):
    """One layer's part of a room."""

    def __init__(self, room: _Room, place: int):
        super().__init__()
        self.is_initialized = True
        self.dtype, self.device = room.tensor.dtype, room.tensor.device
        self.room = room
        self._place = place
        self._length = room.prompt

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        end = self._length + key_states.shape[2]
        keys, values = self.room.tensor[:, self._place, :, :end], self.room.tensor[:, self._place + 1, :, :end]
        keys[:, :, self._length :] = key_states
        values[:, :, self._length :] = value_states
        self._length = end
        return keys, values

    def get_seq_length(self) -> int:
        return self._length


def empty(model: "PreTrainedModel") -> Cache:
    """A cache to read prompts with."""
    return DynamicCache(config=model.config)


def spread(cache: Cache, prompts: Tensor, rows: int, more: int) -> None:
    """After the prompts are read: so many rows go on from each of these, in rising order, by up to `more` tokens."""
    index = prompts.repeat_interleave(rows)
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and _shape(layer.keys) == _shape(layer.values):
            alike.setdefault(_shape(layer.keys), []).append(place)
        else:  # sliding windows and recurrent states have rules of their own
            layer.reorder_cache(cast("torch.LongTensor", index))
    for places in alike.values():
        layers = [cast("Any", cache.layers[place]) for place in places]
        room = _Room([column for layer in layers for column in (layer.keys, layer.values)], prompts, rows, more)
        for number, place in enumerate(places):
            cache.layers[place] = _RowsLayer(room, 2 * number)


def follow(cache: Cache, index: Tensor, same_prompts: bool) -> None:
    """Row i goes on from row index[i]; with `same_prompts`, that row always belongs to the same prompt."""
    rooms: dict[int, tuple[_Room, int]] = {}
    for layer in cache.layers:
        if isinstance(layer, _RowsLayer):
            rooms[id(layer.room)] = layer.room, layer.get_seq_length()
        else:
            layer.reorder_cache(cast("torch.LongTensor", index))
    for room, end in rooms.values():
        if same_prompts:
            room.follow(index, end)
        else:
            room.keep(index)


def _shape(column: Tensor | None) -> tuple[int, ...]:
    return () if column is None else tuple(column.shape)
