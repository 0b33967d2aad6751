"""Asks a training which of its rows made queries come out as they did; the way there is the same for all stages."""

from pathlib import Path

from ..errors import Stopped, UsageError, ValueInRecipeError
from ..influence import (
    Answer,
    Factors,
    FactorSettings,
    Profile,
    ScoreSettings,
    Side,
    Strategy,
    Subject,
    Watch,
    answer_over,
    fit_factors,
    study,
)
from ..recipe.schema import AnyInfluence
from ..recipe.schema.influence import Numbers
from .context import StageContext
from .studied import KEY, Studied

FACTORS, SCORES = "influence", "scores"
"""The folders of factors in the cache, and of scores in the stage's own."""
_GIB = 2**30


class Asker:
    """Asks one training.

    Attributes:
        profile: adds up the time of all that is asked.
        notes: what the work has told, each once.
    """

    def __init__(self, stage: AnyInfluence, studied: Studied, context: StageContext):
        """Nothing is loaded yet."""
        self._stage, self._studied, self._context = stage, studied, context
        self.profile = Profile(context.device)
        self.notes: list[str] = []

    def answer(
        self,
        queries: Side,
        strategy: Strategy,
        numbers: Numbers = "float32",
        settings: ScoreSettings | None = None,
        steps: list[int] | None = None,
    ) -> Answer:
        """Score all training rows, or find the scores in the stage's folder.

        Args:
            queries: what is asked about.
            strategy: the approximation of the curvature.
            numbers: the type of the inputs of matrix products.
            settings: how rows are scored; as the recipe says if None.
            steps: the checkpoints over which scores are averaged; the result if None.

        Raises:
            ValueInRecipeError: the model has no layers to look at, rows do not fit it, a query predicts nothing, or the
                damping makes a layer singular.
            Stopped: the user asked for it; whole parts are kept.
        """
        train = Side.all_of(self._studied.material.train)
        settings = settings or self.score_settings()
        watch = self._watch(f"{strategy}" + (f" in {numbers}" if numbers != "float32" else ""))

        def load(step: int | None) -> tuple[Subject, Factors]:
            subject, rows = self._subject(numbers, step), self._studied.material.train
            return subject, fit_factors(subject, rows, self._cache, self._factors(strategy), watch)

        try:
            return answer_over(
                [lambda step=step: load(step) for step in steps or [None]], train, queries,
                self._context.folder / SCORES, settings, watch,
            )  # fmt: skip
        except ValueInRecipeError:
            raise
        except UsageError as error:
            raise ValueInRecipeError(KEY, str(error)) from None

    def score_settings(self) -> ScoreSettings:
        """As the recipe says."""
        asked = self._stage.scores
        return ScoreSettings(
            asked.damping, int(asked.memory * _GIB), asked.rank, asked.numbers, asked.top, asked.keep_all, asked.tokens,
            asked.aggregated, asked.part,
        )  # fmt: skip

    @property
    def _cache(self) -> Path:
        return self._context.cache / FACTORS

    def _factors(self, strategy: Strategy) -> FactorSettings:
        asked = self._stage.factors
        return FactorSettings(strategy, asked.labels, asked.seed, asked.share, asked.parts, int(asked.memory * _GIB))

    def _subject(self, numbers: Numbers, step: int | None) -> Subject:
        return study(
            self._studied.model(self._context.device, step), self._studied.material.train, self._context.device,
            numbers, embeddings=self._stage.embeddings, head=self._stage.head,
        )  # fmt: skip

    def _watch(self, doing: str) -> Watch:
        def tell(sentence: str) -> None:
            if sentence not in self.notes:
                self.notes.append(sentence)
                self._context.tell(sentence)

        def look(phase: str, done: int, total: int) -> None:
            if self._context.stop_wanted():
                self._context.tell("stopped as asked; the parts that are whole are kept", kind="stopped")
                raise Stopped
            self._context.recorder.progress(self._context.stage_id, done, total, f"{doing}: {phase}")

        return Watch(tell, look, self.profile, self._context.team or Watch().team)
