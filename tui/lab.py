"""The decoding lab without a screen: branches, the way in from a run, and the command that does the same.

Pure data and pure functions; the screen shows them, the model service answers.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .lab_settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..core.decoding.records import Generation
    from ..core.history.records import SampleEntry
    from ..core.tokens import TokenTrace
    from .watcher import Detail

BEAM_SIZES = (1, 2, 5, 10)
"""Sizes whose probabilities are compared."""


@dataclass(frozen=True)
class Said:
    """What one model said to a prompt: texts, best first, and the search behind them if it was recorded.

    Attributes:
        traces: one for each text.
        generation: None for a text that was recorded during training.
        words: where it comes from, for a legend.
        vocabulary: the fingerprint of the tokens that the ids are of; empty while it is not known.
        scored: nothing was said; the model was asked what it thinks of a given text.
        against: of a scored text, what the first model thinks of the same tokens.
    """

    traces: tuple["TokenTrace", ...]
    generation: "Generation | None" = None
    words: str = ""
    vocabulary: str = ""
    scored: bool = False
    against: "TokenTrace | None" = None

    @property
    def difference(self) -> "NDArray[np.float32] | None":
        """(n,) by how much likelier than the first model this one found each token, in natural logarithms."""
        return None if self.against is None else self.traces[0].logprob - self.against.logprob

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
    scored = 0 in branch.said and branch.said[0].scored
    told = [*([] if scored else settings.options()), *(["--compare", other] if other else [])]
    end = ["--"] if branch.prompt.startswith("-") else []
    return shlex.join(["lmwb", "score" if scored else "generate", *told, *end, model or "MODEL", branch.prompt])


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


def whole(here: Branch, said: Said, number: int) -> Branch:
    """A branch whose prompt is all of a text that was said.

    Args:
        here: the branch at which it was said.
        said: the texts of one model.
        number: which of them.
    """
    trace = said.traces[number]
    way = f"text {number + 1} of {len(said.traces)}, scored" if said.generation is not None else "scored"
    return branched(here, trace, [], len(trace.ids), said.vocabulary, way)


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
    """The stage's model: its result, or the newest checkpoint and its step; an empty reference for none.

    Of a stage that trains nothing, such as one that evaluates, the model is that of the last one before it that did.
    """
    stage = detail.stage
    if stage is not None and stage.kind != "train":
        trained = [each.name for each in detail.stages if each.kind == "train" and each.id < stage.id]
        return (f"{detail.run.uid}/{trained[-1]}", None) if trained else ("", None)
    if stage is not None and stage.outcome == "finished":
        return _place(detail), None
    if detail.checkpoints:
        step = max(each.step for each in detail.checkpoints)
        return f"{_place(detail)}@{step}", step
    return "", None


def _place(detail: "Detail") -> str:
    return f"{detail.run.uid}/{detail.stage.name}" if detail.stage is not None else detail.run.uid
