"""The lab's settings: every key of a recipe's table `decoding` that makes a difference to a single prompt.

`exact` and `batch_size` are about many prompts; the lab has one. The score processors that people change most are
settings of their own; any others stand in `processors`, in a short form or as in a recipe.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import UsageError

BEAMS = "beams "
"""Before their number, where a search is named."""

_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
_TOKENS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Settings:
    """How to go on from a prompt. Names are those of the recipe's table and of its kinds of processor."""

    search: str = "beam"
    beams: int = 5
    samples: int = 1
    tokens: int = 32
    end: str = "ignore"
    length_penalty: float = 0.0
    early_stopping: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0
    words: bool = False
    ngrams: int | None = None
    bad_words: tuple[str, ...] = ()
    minimum_length: int | None = None
    scope: str = "all"
    processors: tuple[Mapping[str, Any], ...] = ()
    alternatives: int = 8

    def table(self) -> dict[str, Any]:
        """The table `decoding`: whatever this search takes and is not left out."""
        chosen = {each.key: getattr(self, each.key) for each in self.choices() if each.key not in _PROCESSORS}
        return {**{key: value for key, value in chosen.items() if value is not None}, "processors": self._processors()}

    def options(self) -> list[str]:
        """What `lmwb generate` is told."""
        told: list[str] = []
        for each in self.choices():
            value = getattr(self, each.key)
            if value == each.default or each.key in _PROCESSORS:
                continue
            option = f"--{each.key.replace('_', '-')}"
            if each.key == "end":
                told.append("--stop")
            elif each.key == "alternatives":
                told += ["--set", f"alternatives={value}"]
            else:
                told += [option] if value is True else [option, str(value)]
        return [*told, *self._blocking()]

    def in_words(self) -> str:
        """The search in a word or two: ``beams 5``."""
        if self.search == "beam":
            return f"{BEAMS}{self.beams}"
        return self.search if self.search == "greedy" else f"drawn, seed {self.seed}"

    def choices(self) -> "tuple[Choice, ...]":
        """What this search can be told, in the order of the form."""
        return tuple(each for each in CHOICES if self._takes(each.key))

    def in_row(self) -> "tuple[Choice, ...]":
        """Those in the row of settings."""
        return tuple(each for each in self.choices() if each.label is not None)

    def beyond_row(self) -> "tuple[Choice, ...]":
        """Those that are not in the row and differ from their defaults."""
        return tuple(each for each in self.choices() if each.label is None and getattr(self, each.key) != each.default)

    def turned(self, key: str, by: int) -> "Settings":
        """With the next value of a setting, or the one before; held at the ends, but for words that take turns.

        A setting without such values stays as it is.
        """
        values, present = choice(key).values, getattr(self, key)
        if not values:
            return self
        if isinstance(values[0], str | bool):
            return replace(self, **{key: values[(values.index(present) + by) % len(values)]})
        place = next((i for i, value in enumerate(values) if not _below(value, present)), len(values) - 1)
        if by > 0 and values[place] != present:
            place -= 1
        return replace(self, **{key: values[min(max(place + by, 0), len(values) - 1)]})

    # -- inside -----------------------------------------------------------------------------------

    def _takes(self, key: str) -> bool:
        """The setting makes a difference as things are."""
        match key:
            case "beams" | "length_penalty":
                return self.search == "beam"
            case "samples" | "seed" | "temperature" | "top_k" | "top_p" | "min_p":
                return self.search == "sample"
            case "early_stopping":
                return self.search == "beam" and self.end == "stop"
            case "scope":
                return bool(self.words or self.ngrams or self.bad_words)
            case _:
                return True

    def _processors(self) -> list[dict[str, Any]]:
        scope = {"scope": self.scope} if self.scope != "all" else {}
        made: list[dict[str, Any]] = []
        made += [{"kind": "words", **scope}] if self.words else []
        made += [{"kind": "ngrams", "n": self.ngrams, **scope}] if self.ngrams is not None else []
        made += [{"kind": "bad-words", "words": list(self.bad_words), **scope}] if self.bad_words else []
        made += [{"kind": "minimum-length", "tokens": self.minimum_length}] if self.minimum_length is not None else []
        return [*made, *map(dict, self.processors)]

    def _blocking(self) -> list[str]:
        """The processors as options: the short ones where they can say it."""
        if self.scope != "all" or self.bad_words or self.minimum_length is not None or self.processors:
            return ["--set", f"processors={toml(self._processors())}"]
        told = ["--block", "words"] if self.words else []
        names = {2: "bigrams", 3: "trigrams"}
        return [*told, "--block", names.get(self.ngrams, f"{self.ngrams}-grams")] if self.ngrams is not None else told


@dataclass(frozen=True)
class Choice:
    """A setting.

    Attributes:
        key: the field of `Settings`.
        values: what arrow keys choose from, ascending; None stands for a setting that is left out; empty for one that
            can only be typed.
        label: before its value in the row; empty for a value that speaks for itself; None for what is not in the row.
    """

    key: str
    values: tuple[Any, ...] = ()
    label: str | None = None

    @property
    def name(self) -> str:
        """As a recipe calls it."""
        return self.key.replace("_", "-") if self.key in _PROCESSORS else self.key

    @property
    def default(self) -> Any:
        """Its value at first."""
        return getattr(_DEFAULT, self.key)


CHOICES = (
    Choice("search", ("beam", "greedy", "sample"), ""),
    Choice("beams", _COUNTS, "beams"),
    Choice("samples", _COUNTS, "texts"),
    Choice("tokens", _TOKENS, "tokens"),
    Choice("end", ("ignore", "stop"), "end"),
    Choice("length_penalty", (-2.0, -1.0, -0.5, 0.0, 0.2, 0.5, 0.8, 1.0, 1.5, 2.0)),
    Choice("early_stopping", (False, True)),
    Choice("temperature", (None, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 5.0), "T"),
    Choice("top_k", (None, 1, 2, 5, 10, 20, 40, 50, 100, 200), "k"),
    Choice("top_p", (None, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99), "p"),
    Choice("min_p", (None, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)),
    Choice("seed", tuple(range(100)), "seed"),
    Choice("words", (False, True), "words"),
    Choice("ngrams", (None, 1, 2, 3, 4, 5, 6), "ngrams"),
    Choice("bad_words"),
    Choice("minimum_length", (None, 1, 2, 4, 8, 16, 32, 64)),
    Choice("scope", ("all", "generated")),
    Choice("processors"),
    Choice("alternatives", (0, 1, 2, 4, 8, 12, 16, 20, 50, 100)),
)
_PROCESSORS = ("words", "ngrams", "bad_words", "minimum_length", "scope", "processors")
"""Settings that make the list `processors`."""
_DEFAULT = Settings()
_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


def choice(key: str) -> Choice:
    """The setting of this name."""
    return next(each for each in CHOICES if each.key == key)


def shown(value: Any) -> str:
    """A setting's value as it may be typed again: foreign text; ``–`` for one that is left out."""
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if not isinstance(value, tuple):
        return str(value)
    if isinstance(value[0], str):
        return toml(list(value)) if any(re.search(r"^\[|,|^\s|\s$", word) for word in value) else ", ".join(value)
    short = [_short(each) for each in value]
    return ", ".join(each for each in short if each) if all(short) else toml(list(value))


def explanation(key: str) -> str:
    """What a setting does, in the words of the recipe's schema."""
    from ..core.recipe.schema import decoding

    if key in _KINDS:
        told = getattr(decoding, _KINDS[key]).__doc__ or ""
    elif key == "scope":
        told = "Of words, ngrams and bad-words: " + (decoding.BlockWords.model_fields[key].description or "")
    else:
        told = decoding.Decoding.model_fields[key].description or ""
    if key == "processors":
        told += " These come after those above: temperature=0.7, min-p=0.1, or a list of tables as in a recipe."
    return " ".join(told.split())


def typed(settings: Settings, key: str, text: str) -> Settings:
    """The settings with a value as somebody typed it; nothing typed stands for the default.

    Raises:
        UsageError: it is no value of this setting; the sentence says what would be.
    """
    from ..core.recipe.decoding import decoding_of

    text = text.strip()
    changed = replace(settings, **{key: choice(key).default if text in ("", "–") else _value(key, text)})
    decoding_of(changed.table())
    return changed


def toml(value: Any) -> str:
    """A value in TOML, in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


# -- inside ---------------------------------------------------------------------------------------

_KINDS = {
    "words": "BlockWords",
    "ngrams": "BlockNgrams",
    "bad_words": "BadWords",
    "minimum_length": "MinimumLength",
}
"""Settings that are a kind of processor, and the table of that kind."""


def _value(key: str, text: str) -> Any:
    """What was typed, as the setting has it; whether that is allowed, the schema says."""
    from ..core.recipe.overrides import toml_value

    if isinstance(choice(key).default, bool):
        if text.lower() not in _SWITCH:
            raise UsageError(f"'{choice(key).name}' must be on or off")
        return _SWITCH[text.lower()]
    found = toml_value(text)
    if key == "bad_words":
        return _listed(key, found) if text[0] == "[" else tuple(word.strip() for word in text.split(","))
    if key == "processors":
        return _listed(key, found) if text[0] == "[" else tuple(map(_processor, re.split(r"[,\s]+", text.strip(", "))))
    return text if found is None else found


def _listed(key: str, found: Any) -> tuple[Any, ...]:
    """The entries of a list that was typed."""
    if not isinstance(found, list):
        raise UsageError(f"'{choice(key).name}' is no list in TOML: something is not closed or has no quotes")
    return tuple(found)  # type: ignore[reportUnknownArgumentType]


def _processor(text: str) -> dict[str, Any]:
    """The table that ``min-p=0.1`` stands for."""
    from ..core.recipe.overrides import toml_value
    from ..core.recipe.problems import quoted

    kind, sign, value = text.partition("=")
    if not sign:
        return {"kind": kind}
    if kind not in _SHORT:
        known = ", ".join(f"{each}=…" for each in _SHORT)
        raise UsageError(f"{quoted(kind)} is no processor with one value; there are {known}")
    found = toml_value(value)
    return {"kind": kind, _SHORT[kind]: value if found is None else found}


_SHORT = {"ngrams": "n", "minimum-length": "tokens", "temperature": "value", "top-k": "k", "top-p": "p", "min-p": "p",
          "plugin": "name"}  # fmt: skip
"""Kinds of processor that one value makes, and its key."""


def _short(processor: Mapping[str, Any]) -> str:
    """A processor as it may be typed; empty if that needs a table."""
    kind = processor.get("kind")
    if kind == "words" and len(processor) == 1:
        return "words"
    key = _SHORT.get(str(kind), "")
    return f"{kind}={processor[key]}" if key in processor and len(processor) == 2 else ""


def _below(value: float | None, other: float | None) -> bool:
    """None comes first."""
    return other is not None and (value is None or value < other)
