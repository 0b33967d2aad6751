"""The keys of a recipe: which table holds which, how tables are called, and what a wrong key was meant to be.

All of it is read off the schema.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic.fields import FieldInfo

from .lines import KeyPath
from .schema import STAGES, CausalStage, Recipe, Table, tag_of

STAGE_KEYS = frozenset(info.alias or name for kind in STAGES for name, info in kind.model_fields.items()) - frozenset(
    Recipe.model_fields
)
"""What a recipe of one stage may write at the top, besides the recipe's own keys."""

_OTHER_NAMES = {
    "learning_rate": "lr",
    "max_lr": "lr",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "max_steps": "steps",
    "max_grad_norm": "clip",
    "grad_clip": "clip",
    "lr_scheduler_type": "schedule",
    "scheduler": "schedule",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "eval_steps": "eval_every",
    "save_steps": "checkpoint_every",
    "save_total_limit": "keep",
    "logging_steps": "log_every",
    "max_length": "block_size",
    "max_seq_length": "block_size",
    "max_new_tokens": "tokens",
    "model_type": "type",
    "alpha_ce": "soft",
    "alpha_distil": "soft",
    "alpha_mlm": "hard",
    "alpha_clm": "hard",
    "alpha_mse": "mse",
    "alpha_cos": "cosine",
    "restrict_ce_to_mask": "positions",
    "freeze_pos_embs": "freeze_positions",
    "teacher_name": "teacher",
    "teacher_name_or_path": "teacher",
    "mlm_smoothing": "smoothing",
}
"""What other programs call the same thing."""


@dataclass(frozen=True)
class Place:
    """A key that an error of the validation speaks of.

    Attributes:
        path: where it stands.
        kinds: the kinds of table that may stand around it.
        table: the kind that does.
        stage: the kind of stage around it.
        field: the key's description; None if the schema does not have it.
        below: the kinds of table that the key itself may hold.
    """

    path: KeyPath
    kinds: Sequence[type[Table]]
    table: type[Table]
    stage: type[Table]
    field: FieldInfo | None
    below: Sequence[type[Table]]

    @classmethod
    def of(cls, location: Iterable[str | int]) -> "Place":
        """Follow an error's location through the schema, leaving out the branches that only pydantic names."""
        place = cls((), (Recipe,), Recipe, CausalStage, None, (Recipe,))
        below: Sequence[type[Table]] = (Recipe,)
        for part in location:
            if isinstance(part, int):
                place = replace(place, path=(*place.path, part))
            elif len(below) > 1:
                below = [table for table in below if tag_of(table) == part]
                if len(place.path) == 2 and below:
                    place = replace(place, stage=below[0])
            elif below:
                place = place._under(part, below[0])
                below = place.below
        return place

    def _under(self, key: str, table: type[Table]) -> "Place":
        field = _fields(table).get(key)
        below = tables_in(field.annotation) if field else []
        return Place((*self.path, key), self.below, table, self.stage, field, below)


@dataclass(frozen=True)
class Advice:
    """What to do about an unknown key; `meant` is the path of the key or table that it was probably meant for."""

    text: str
    meant: KeyPath | None = None


def advise(place: Place, flat: bool) -> Advice:
    """Where an unknown key belongs, or which key it is a misspelling of."""
    key, table = str(place.path[-1]), place.path[:-1]
    stage: KeyPath = table[:2] if table else ("stage", 0)
    for kind in place.kinds:
        if kind is not place.table and key in _fields(kind) and key not in Recipe.model_fields:
            word = "objective" if "objective" in kind.model_fields else "kind"
            return Advice(f"it belongs to {word} '{tag_of(kind)}'", table)
    homes = [(path, keys) for path, keys in _homes(place.stage, stage, flat) if path != table]
    if found := [path for path, keys in homes if key in keys]:
        return Advice(f"it belongs {_places(found, flat)}", (*found[0], key))
    if found := [kind for kind in STAGES if key in _keys_at(kind, table[2:])]:
        return Advice(f"it belongs to objective {' or '.join(repr(tag_of(kind)) for kind in found)}", table)
    own = {name for kind in place.kinds for name in _fields(kind)}
    if table == stage:
        own = set(_fields(place.stage))
    if flat and table in ((), stage):
        own = (own | set(_fields(Recipe)) | set(_fields(place.stage))) - {"stage"}
    word = _OTHER_NAMES.get(_normal(key), key)
    if meant := word if word in own else nearest(word, own):
        return Advice(f"did you mean '{meant}'?", _path_of(meant, place.table, table, stage))
    for path, keys in homes:
        if meant := word if word in keys else nearest(word, keys, 0.75):
            return Advice(f"did you mean '{meant}' {_places([path], flat)}?", (*path, meant))
    return Advice(f"known keys: {', '.join(sorted(own))}" if len(own) < 20 else "`lmwb schema` lists all keys")


def _path_of(meant: str, kind: type[Table], table: KeyPath, stage: KeyPath) -> KeyPath:
    """Where a key stands that was misspelt in a table; the table's own path if another kind of table has the key."""
    if meant in _fields(kind):
        return (*table, meant)
    return table if table else (*stage, meant)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that a misspelt one was probably meant to be."""
    lowered = {name.lower(): name for name in sorted(known)}
    found = difflib.get_close_matches(_normal(word), lowered, n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None


def table_name(path: KeyPath, flat: bool) -> str:
    """How the table at a path is written: ``[train]``, ``[stage.train]``; nothing for the top of the recipe."""
    if path[:1] == ("stage",) and len(path) == 2:
        return "" if flat else "[[stage]]"
    names = [str(part) for part in path if not isinstance(part, int)]
    return f"[{'.'.join(names[1:] if flat and names[:1] == ['stage'] else names)}]" if names else ""


def tables_in(annotation: Any) -> list[type[Table]]:
    """The kinds of table that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [table for part in get_args(annotation) for table in tables_in(part)]


def _normal(word: str) -> str:
    """A key without the differences that nobody means."""
    return word.lower().replace("-", "_")


def _fields(table: type[Table]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in table.model_fields.items()}


def _keys_at(kind: type[Table], path: KeyPath) -> set[str]:
    """The keys that a kind of stage may have in a table right below it; none if it has no such table."""
    if len(path) != 1 or (field := _fields(kind).get(str(path[0]))) is None:
        return set()
    return {name for table in tables_in(field.annotation) for name in _fields(table)}


def _homes(kind: type[Table], stage: KeyPath, flat: bool) -> Iterator[tuple[KeyPath, set[str]]]:
    """Every table of a recipe with all the keys that it may have."""
    yield (), set(_fields(Recipe)) - ({"stage"} if flat else set())
    yield stage, set(_fields(kind))
    for key, field in _fields(kind).items():
        if kinds := tables_in(field.annotation):
            yield (*stage, key), {name for kind in kinds for name in _fields(kind)}


def _places(paths: Sequence[KeyPath], flat: bool) -> str:
    names = [name for path in paths if (name := table_name(path, flat))]
    top = ["at the top"] if len(names) < len(paths) else []
    return " or ".join([f"in {name}" for name in names] + top)
