"""The decoding lab without a screen: settings, branches, the way in from a run, and the command that does the same.

Pure data and pure functions; the screen shows them, the model service answers.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.decoding.records import Generation
    from ..core.history.records import SampleEntry
    from ..core.tokens import TokenTrace
    from .watcher import Detail

BEAM_SIZES = (1, 2, 5, 10)
"""Sizes whose probabilities are compared."""

BEAMS = "beams "
"""Before their number, where a search is named."""

_BEAMS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
_TOKENS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Settings:
    """How to go on from a prompt: the part of a recipe's table `decoding` that the lab's keys change."""

    search: str = "beam"
    beams: int = 5
    samples: int = 1
    tokens: int = 32
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    words: bool = False
    trigrams: bool = False
    end: str = "ignore"

    def table(self) -> dict[str, Any]:
        """The table `decoding`: what differs from its defaults, and what this search takes."""
        processors: list[dict[str, Any]] = []
        processors += [{"kind": "words"}] if self.words else []
        processors += [{"kind": "ngrams", "n": 3}] if self.trigrams else []
        chosen = {each.key: getattr(self, each.key) for each in self.choices() if each.key not in _PROCESSORS}
        return {**{key: value for key, value in chosen.items() if value is not None}, "processors": processors}

    def options(self) -> list[str]:
        """What `lmwb generate` is told."""
        told: list[str] = []
        for each in self.choices():
            value = getattr(self, each.key)
            if value == getattr(_DEFAULT, each.key):
                continue
            if each.key in _PROCESSORS:
                told += ["--block", each.key]
            elif each.key == "end":
                told.append("--stop")
            else:
                told += [f"--{each.key.replace('_', '-')}", str(value)]
        return told

    def in_words(self) -> str:
        """The search in a word or two: ``beams 5``."""
        if self.search == "beam":
            return f"{BEAMS}{self.beams}"
        return self.search if self.search == "greedy" else f"drawn, seed {self.seed}"

    def choices(self) -> tuple["Choice", ...]:
        """What this search can be told, in the order of the row of settings."""
        return tuple(each for each in CHOICES if each.search in (None, self.search))

    def turned(self, key: str, by: int) -> "Settings":
        """With the next value of a setting, or the one before; held at the ends, but for words that take turns."""
        (choice,) = (each for each in CHOICES if each.key == key)
        values, present = choice.values, getattr(self, key)
        if isinstance(values[0], str | bool):
            return replace(self, **{key: values[(values.index(present) + by) % len(values)]})
        place = next((i for i, value in enumerate(values) if not _below(value, present)), len(values) - 1)
        if by > 0 and values[place] != present:
            place -= 1
        return replace(self, **{key: values[min(max(place + by, 0), len(values) - 1)]})


@dataclass(frozen=True)
class Choice:
    """A setting in the row.

    Attributes:
        key: the field of `Settings`.
        label: before its value; none for a value that speaks for itself.
        values: ascending; None stands for a setting that is left out.
        search: the search that takes it; None for every search.
    """

    key: str
    label: str
    values: tuple[Any, ...]
    search: str | None = None


CHOICES = (
    Choice("search", "", ("beam", "greedy", "sample")),
    Choice("beams", "beams", _BEAMS, "beam"),
    Choice("samples", "texts", _BEAMS, "sample"),
    Choice("tokens", "tokens", _TOKENS),
    Choice("temperature", "T", (None, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 5.0), "sample"),
    Choice("top_k", "k", (None, 1, 2, 5, 10, 20, 40, 50, 100, 200), "sample"),
    Choice("top_p", "p", (None, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99), "sample"),
    Choice("seed", "seed", tuple(range(100)), "sample"),
    Choice("words", "words", (False, True)),
    Choice("trigrams", "trigrams", (False, True)),
    Choice("end", "end", ("ignore", "stop")),
)
_PROCESSORS = ("words", "trigrams")
_DEFAULT = Settings()


@dataclass(frozen=True)
class Said:
    """What one model said to a prompt: texts, best first, and the search behind them if it was recorded.

    Attributes:
        traces: one for each text.
        generation: None for a text that was recorded during training.
        words: where it comes from, for a legend.
        vocabulary: the fingerprint of the tokens that the ids are of; empty while it is not known.
    """

    traces: tuple["TokenTrace", ...]
    generation: "Generation | None" = None
    words: str = ""
    vocabulary: str = ""

    @classmethod
    def of(cls, generation: "Generation", words: str, vocabulary: str) -> "Said":
        """What a search found."""
        return cls(tuple(one.trace for one in generation.hypotheses), generation, words, vocabulary)


@dataclass(frozen=True)
class Branch:
    """A prompt, or a place in a text that one goes on from, and what was said there.

    Attributes:
        prompt: as text: foreign.
        ids: the same exactly, if it is the beginning of something that a model said.
        vocabulary: the fingerprint of the tokens that the ids are of; empty while it is not known.
        way: how one got here, in words.
        said: what each model said, by its place, 0 or 1.
        sizes: what the first model said with other numbers of beams.
    """

    prompt: str
    ids: tuple[int, ...] | None = None
    vocabulary: str = ""
    way: str = ""
    said: Mapping[int, Said] = field(default_factory=dict[int, Said])
    sizes: Mapping[int, Said] = field(default_factory=dict[int, Said])

    def given(self, vocabulary: str) -> str | tuple[int, ...]:
        """What a model with this vocabulary is given: exactly these ids if they are its own, else the text."""
        return self.ids if self.ids is not None and vocabulary == self.vocabulary else self.prompt


@dataclass(frozen=True)
class Opening:
    """How the lab is opened.

    Attributes:
        model: a reference for the service; empty if there is none yet.
        branch: the prompt to begin with, and what was recorded of it.
        note: what a person should know; empty for nothing.
    """

    model: str = ""
    branch: Branch = Branch("")
    note: str = ""


def opening_of(detail: "Detail | None", following: bool) -> Opening:
    """The way into the lab from what the home screen shows.

    A sample is opened with the checkpoint of its step; if that is gone, with the newest one, or the stage's result.

    Args:
        detail: the selected run.
        following: the sample that is shown is the latest.
    """
    if detail is None:
        return Opening()
    model, step = _newest(detail)
    sample, trace = detail.sample, detail.trace
    if sample is None:
        return Opening(model)
    branch = Branch(sample.prompt) if trace is None else _recorded(sample, trace)
    exact = f"{_place(detail)}@{sample.step}"
    if any(each.step == sample.step for each in detail.checkpoints):
        return Opening(exact, branch)
    if following and step is None:
        return Opening(model, branch)
    if step is None and not model:
        note = "This run has left no checkpoint yet; the sample is shown as it was recorded."
    else:
        instead = f"of step {step}" if step is not None else "that the stage ended with"
        note = f"There is no checkpoint of step {sample.step}; the lab has the model {instead}."
    return Opening(model, branch, note)


def command(model: str, other: str, branch: Branch, settings: Settings) -> str:
    """What asks the same from a shell."""
    told = [*settings.options(), *(["--compare", other] if other else [])]
    end = ["--"] if branch.prompt.startswith("-") else []
    return shlex.join(["lmwb", "generate", *told, *end, model or "MODEL", branch.prompt])


def branched(here: Branch, trace: "TokenTrace", added: Sequence[int], keep: int, vocabulary: str, way: str) -> Branch:
    """A branch that goes on from the beginning of a text.

    Args:
        here: the branch at which the text was said.
        trace: the text.
        added: ids that follow its first `keep` tokens.
        keep: tokens of the text that stay.
        vocabulary: the fingerprint of the tokens.
        way: how one got there, in words.
    """
    ids = (*map(int, trace.ids[:keep]), *added)
    text = text_of(ids, trace.pieces, trace.special)
    given = text_of([int(i) for i in trace.ids[: trace.prompt_length]], trace.pieces, trace.special)
    if given.endswith(here.prompt):
        text = text[len(given) - len(here.prompt) :]  # a space that the tokenizer puts before every text
    return Branch(text, ids, vocabulary, way)


def text_of(ids: Sequence[int], pieces: Mapping[int, bytes], special: frozenset[int]) -> str:
    """The tokens as text, without special ones; bytes that are no text are replaced."""
    return b"".join(pieces.get(i, b"") for i in ids if i not in special).decode("utf-8", "replace")


def _recorded(sample: "SampleEntry", trace: "TokenTrace") -> Branch:
    """A sample and exactly what the model was given for it, which may be more than the prompt: a chat's frame."""
    way = f"recorded at step {sample.step}"
    ids = tuple(map(int, trace.ids[: trace.prompt_length]))
    text = text_of(ids, trace.pieces, trace.special)
    prompt = sample.prompt if text.lstrip(" ") == sample.prompt.lstrip(" ") else text
    return Branch(prompt, ids, way=way, said={0: Said((trace,), None, way)})


def _newest(detail: "Detail") -> tuple[str, int | None]:
    """The stage's model: its result, or the newest checkpoint and its step; an empty reference for none."""
    stage = detail.stage
    if stage is not None and stage.outcome == "finished":
        return _place(detail), None
    if detail.checkpoints:
        step = max(each.step for each in detail.checkpoints)
        return f"{_place(detail)}@{step}", step
    return "", None


def _place(detail: "Detail") -> str:
    return f"{detail.run.uid}/{detail.stage.name}" if detail.stage is not None else detail.run.uid


def _below(value: float | None, other: float | None) -> bool:
    """None comes first."""
    return other is not None and (value is None or value < other)
