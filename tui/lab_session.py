"""What goes on in the lab: one model or two that are asked, and the branches of what they said. Knows no screen.

A session is used by one event loop. Whoever cancels a task that waits here cancels the search behind it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..core.errors import LmwbError, UsageError
from .lab import BEAM_SIZES, Branch, Opening, Said
from .lab_settings import Settings

if TYPE_CHECKING:
    from ..core.decoding.client import ModelFacts, OnNote, OnStep
    from ..core.decoding.records import Generation
    from ..core.tokens import TokenTrace

_T = TypeVar("_T")


class Models(Protocol):
    """Who answers: `ModelService`, or a test's stand-in."""

    async def load(self, model: str, on_note: "OnNote | None" = None) -> "ModelFacts":
        """As `ModelService.load`."""
        ...

    async def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        settings: Mapping[str, Any],
        on_step: "OnStep | None" = None,
        on_note: "OnNote | None" = None,
    ) -> "Generation":
        """As `ModelService.generate`."""
        ...

    async def score(
        self, model: str, text: str | Sequence[int], alternatives: int = 8, on_note: "OnNote | None" = None
    ) -> "TokenTrace":
        """As `ModelService.score`."""
        ...

    async def close(self) -> None:
        """As `ModelService.close`."""
        ...


@dataclass
class Speaker:
    """A model that is asked.

    Attributes:
        reference: as the service takes it; empty for none yet.
        facts: known once it is loaded.
        doing: what it does at present, or why it does nothing: foreign text.
        bad: that is a trouble.
    """

    reference: str
    facts: "ModelFacts | None" = None
    doing: str = ""
    bad: bool = False

    @property
    def name(self) -> str:
        """What to call it: foreign text."""
        return self.facts.name if self.facts is not None else self.reference or "no model"


class Session:
    """Models and branches.

    Attributes:
        speakers: the first model, and a second one if there is one beside it.
        branches: the way to the present one, which is the last.
    """

    def __init__(self, models: Models, opening: Opening, changed: Callable[[], None], say: Callable[[str], None]):
        """Nothing is loaded yet.

        Args:
            models: who answers.
            opening: where to begin.
            changed: hears that something is to be shown anew.
            say: hears sentences that the user should read.
        """
        self.speakers = [Speaker(opening.model)]
        self.branches = [opening.branch]
        self._opening = opening
        self._models = models
        self._changed = changed
        self._say = say

    @property
    def branch(self) -> Branch:
        """Where we are."""
        return self.branches[-1]

    @property
    def trouble(self) -> str:
        """Why nobody can speak; empty if somebody can."""
        return "" if self.speakers[0].reference else "No model yet: M names one."

    def known(self, place: int) -> bool:
        """It is known which tokens the ids of what was said at a place are of; it is not while a model is loaded."""
        said = self.branch.said.get(place)
        speaker = self.speakers[0]
        return said is None or bool(said.vocabulary) or speaker.facts is not None or speaker.bad

    def grow(self, branch: Branch) -> None:
        """Go to a new branch; one without prompt and words is not worth coming back to."""
        here = self.branch
        if not here.prompt and not here.said:
            self.branches.pop()
        self.branches.append(branch)

    def name_model(self, place: int, reference: str) -> bool:
        """Let another model speak at a place; with an empty name, none. Whether there is one to be loaded."""
        forget = {at: said for at, said in self.branch.said.items() if at != place}
        if not reference and place:
            del self.speakers[place:]
        elif reference:
            self.speakers[place : place + 1] = [Speaker(reference)]
        else:
            return False
        self.branches[-1] = replace(self.branch, said=forget, sizes={} if place == 0 else self.branch.sizes)
        self._changed()
        return bool(reference)

    def quiet(self) -> None:
        """Nobody does anything any more."""
        for speaker in self.speakers:
            if not speaker.bad:
                speaker.doing = ""
        self._changed()

    async def load(self, place: int) -> bool:
        """Bring a model into memory; whether that worked."""
        speaker = self.speakers[place]
        self._tell(speaker, "loading …")
        return await self._trying(speaker, self._bring(speaker)) is not None

    async def speak(self, places: Sequence[int], settings: Settings) -> None:
        """Let models go on from the present branch, one after the other."""
        for place in places:
            self._keep(place, await self._ask(self.speakers[place], settings))

    async def score(self, places: Sequence[int]) -> None:
        """What models think of the prompt itself, token by token, one after the other."""
        for place in places:
            self._keep(place, await self._judge(self.speakers[place]))

    async def differ(self) -> None:
        """What two models think of the same tokens: those of the present prompt as the first one reads it."""
        first, second = self.speakers
        before = await self._judge(first)
        if before is not None:
            self._keep(0, before)
            self._keep(1, await self._judge(second, before))

    async def speak_in_sizes(self, settings: Settings) -> None:
        """Let the first model go on with several numbers of beams."""
        for beams in BEAM_SIZES:
            wanted = replace(settings, search="beam", beams=beams)
            shown = self.branch.said.get(0)
            if beams not in self.branch.sizes and (shown is None or shown.words != wanted.in_words()):
                said = await self._ask(self.speakers[0], wanted)
                if said is None:
                    return
                self.branches[-1] = replace(self.branch, sizes={**self.branch.sizes, beams: said})
                self._changed()

    def forget_sizes(self) -> None:
        """What was said with other numbers of beams was said with other settings."""
        self.branches[-1] = replace(self.branch, sizes={})

    # -- inside -----------------------------------------------------------------------------------

    async def _ask(self, speaker: Speaker, settings: Settings) -> Said | None:
        """What a model says at the present branch; None if it cannot, which is told."""

        def on_step(done: int, of: int) -> None:
            self._tell(speaker, f"step {done} of {of}")

        async def answer() -> Said:
            vocabulary = (speaker.facts or await self._bring(speaker)).vocabulary
            given, table = self.branch.given(vocabulary), settings.table()
            found = await self._models.generate(speaker.reference, given, table, on_step, self._say)
            return Said.of(found, settings.in_words(), vocabulary)

        self._tell(speaker, "thinking …" if speaker.facts else "loading …")
        return await self._trying(speaker, answer())

    async def _bring(self, speaker: Speaker) -> "ModelFacts":
        """Load a model, and know it from now on."""
        speaker.facts = facts = await self._models.load(speaker.reference, self._say)
        if speaker.reference == self._opening.model:
            self._know_recorded(facts.vocabulary)
        return facts

    async def _judge(self, speaker: Speaker, first: Said | None = None) -> Said | None:
        """What a model thinks of the present prompt, or of what the first one made of it; None if it cannot, which is
        told."""

        async def answer() -> Said:
            facts = speaker.facts or await self._bring(speaker)
            given = self.branch.given(facts.vocabulary)
            if first is not None:
                if first.vocabulary != facts.vocabulary:
                    raise UsageError(
                        "The two models have different vocabularies, so that their tokens cannot be compared; "
                        "compare them by bits per byte: `lmwb evaluate`."
                    )
                given = first.traces[0].ids.tolist()
            trace = await self._models.score(speaker.reference, given, on_note=self._say)
            against = None if first is None else first.traces[0]
            read = replace(trace, prompt_length=0)
            return Said((read,), None, "scored", facts.vocabulary, scored=True, against=against)

        self._tell(speaker, "reading …" if speaker.facts else "loading …")
        return await self._trying(speaker, answer())

    def _keep(self, place: int, said: Said | None) -> None:
        if said is not None:
            self.branches[-1] = replace(self.branch, said={**self.branch.said, place: said})
            self._changed()

    async def _trying(self, speaker: Speaker, deed: Awaitable[_T]) -> _T | None:
        """Tell a trouble where the speaker's words would be."""
        try:
            answer = await deed
        except LmwbError as error:
            self._tell(speaker, str(error), bad=True)
            return None
        self._tell(speaker, "")
        return answer

    def _tell(self, speaker: Speaker, doing: str, bad: bool = False) -> None:
        speaker.doing, speaker.bad = doing, bad
        self._changed()

    def _know_recorded(self, vocabulary: str) -> None:
        """What was recorded while this model learned consists of its tokens."""
        for at, branch in enumerate(self.branches):
            said = {
                place: one if one.vocabulary else replace(one, vocabulary=vocabulary)
                for place, one in branch.said.items()
            }
            self.branches[at] = replace(branch, said=said, vocabulary=branch.vocabulary or vocabulary)
