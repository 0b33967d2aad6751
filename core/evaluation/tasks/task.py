"""What a ready-made task is, what it answers, and how it explains itself. Knows no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ...recipe.schema import Decoding, Rewriting

if TYPE_CHECKING:
    from ...decoding.loading import Loaded
    from ...models.loading import Head
    from ...tokens import TokenTrace


@dataclass(frozen=True)
class Choice:
    """One answer.

    Attributes:
        text: a label, a token, or what was written; foreign text.
        probability: of the label or the token; None where a whole text is the answer.
        score: a classifier's logit, or the log-probability of a written text; None if it is not known.
    """

    text: str
    probability: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class Prediction:
    """All answers to one text.

    Attributes:
        text: what was asked; foreign text.
        answers: best first; one list, or for gaps to fill one for each gap.
        whole: the text with the best token in each gap; None for other tasks.
        notes: what a reader must know, such as that the text was cut; sentences.
    """

    text: str
    answers: tuple[tuple[Choice, ...], ...]
    whole: str | None = None
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "text": self.text,
            "answers": [[vars(choice) for choice in choices] for choices in self.answers],
            **({} if self.whole is None else {"whole": self.whole}),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Part:
    """One step of an explanation: sentences, then a table, then tokens, as far as there are any.

    Attributes:
        title: what the step is.
        sentences: what happens; may hold foreign text.
        head: of the table.
        rows: of the table; foreign text.
        shares: a probability for each row, to be drawn beside it.
        trace: tokens with what the model thought of each.
    """

    title: str
    sentences: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    shares: tuple[float, ...] = ()
    trace: "TokenTrace | None" = None


@dataclass(frozen=True)
class Settings:
    """How to answer.

    Attributes:
        top: answers for each text or gap.
        batch_size: texts at once; `decoding` and `rewriting` have their own.
        decoding: how `text-generation` goes on.
        rewriting: how `text-to-text` writes.
        prefix: put before each text by `text-to-text`.
        language: of the texts, for translation models of many languages.
        target: the language to translate to, likewise.
        seed: of what `text-to-text` draws; `decoding` has its own.
    """

    top: int = 5
    batch_size: int = 16
    decoding: Decoding = field(default_factory=Decoding)
    rewriting: Rewriting = field(default_factory=Rewriting)
    prefix: str = ""
    language: str | None = None
    target: str | None = None
    seed: int = 0


class InferenceTask(Protocol):
    """Answers texts with a model."""

    head: "ClassVar[Head]"

    def __init__(self, loaded: "Loaded", settings: Settings):
        """Nothing is computed yet.

        Raises:
            UsageError: the model and the settings do not go together.
        """
        ...

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction for each text; what is said of a text does not depend on the others.

        Raises:
            UsageError: a text cannot be answered.
        """
        ...

    def explain(self, text: str) -> list[Part]:
        """The road from a text to its answer, step by step.

        Raises:
            UsageError: the text cannot be answered.
        """
        ...
