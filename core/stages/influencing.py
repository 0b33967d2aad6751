"""Asks a training which of its rows made queries come out as they did; the way there is the same for all stages."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    layer_of_whole_rows,
    self_scores,
    study,
)
from ..influence.query_losses import query_losses
from ..influence.storage import folder_for, load_tensors, save_tensors
from ..recipe.schema import AnyInfluence
from ..recipe.schema.influence import Numbers
from ..text import printable
from ..training.distribution import ALONE
from .context import StageContext
from .row_texts import tokens_of
from .studied import KEY, Studied, see_that_rows_are_few

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
        """Nothing is loaded yet.

        Raises:
            ValueInRecipeError: the training's rows are too many to score.
        """
        see_that_rows_are_few(studied)
        self._stage, self._studied, self._context = stage, studied, context
        self.profile = Profile(context.device)
        self.notes: list[str] = []
        self._latest: tuple[int | None, Subject] | None = None

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
        settings = settings or self.score_settings()
        watch = self._watch(strategy, numbers)
        with _blamed():
            return answer_over(
                [lambda step=step: self._loaded(strategy, numbers, step, watch) for step in steps or [None]],
                self._train, queries, self._context.folder / SCORES, settings, watch,
            )  # fmt: skip

    def self_scores(
        self, strategy: Strategy, numbers: Numbers = "float32", steps: list[int] | None = None
    ) -> NDArray[np.float64]:
        """The score of each training row with itself, (rows,), or what is in the stage's folder of it.

        Args:
            strategy: the approximation of the curvature.
            numbers: the type of the inputs of matrix products.
            steps: the checkpoints over which scores are averaged; the result if None.

        Raises:
            ValueInRecipeError, Stopped: as `answer`.
        """
        watch = self._watch(strategy, numbers)
        with _blamed():
            found = [self._own_scores(*self._loaded(strategy, numbers, step, watch), watch) for step in steps or [None]]
        return np.mean(found, axis=0)

    def losses(self, queries: Side, steps: list[int] | None = None) -> list[float]:
        """The queries' losses in nats, summed over what is asked about; means over the checkpoints."""
        with _blamed():
            subjects = (self._subject("float32", step) for step in steps or [None])
            found = [query_losses(subject.model, queries, subject.device) for subject in subjects]
        return np.mean(found, axis=0).tolist()

    def settings(self, numbers: Numbers, steps: list[int] | None = None) -> ScoreSettings:
        """As the recipe says, but without scores of tokens where there are none to tell, which is noted.

        Raises:
            ValueInRecipeError: as `answer`.
        """
        asked, rows = self.score_settings(), self._studied.material.train
        if asked.tokens == "none":
            return asked
        if not tokens_of(rows, 0):
            self.note("scores of tokens are left out: a training row is no single text")
            return replace(asked, tokens="none")
        with _blamed():
            layer = layer_of_whole_rows(self._subject(numbers, steps[0] if steps else None), rows)
        if layer is None:
            return asked
        self.note(f"scores of tokens are left out: layer '{printable(layer)}' sees a row's tokens only together")
        return replace(asked, tokens="none")

    def note(self, sentence: str) -> None:
        """Tell something, and keep it among the notes."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            self._context.tell(sentence)

    def score_settings(self) -> ScoreSettings:
        """As the recipe says."""
        return scores_of(self._stage)

    @property
    def _cache(self) -> Path:
        return self._context.cache / FACTORS

    def _factors(self, strategy: Strategy) -> FactorSettings:
        asked = self._stage.factors
        return FactorSettings(strategy, asked.labels, asked.seed, asked.share, asked.parts, int(asked.memory * _GIB))

    def _subject(self, numbers: Numbers, step: int | None) -> Subject:
        """A model, ready to be asked; the latest stays in memory, for it is asked several times."""
        if self._latest is None or self._latest[0] != step:
            self._latest = None  # its memory is wanted
            device = self._context.device
            model, rows = self._studied.model(device, step), self._studied.material.train
            found = study(model, rows, device, embeddings=self._stage.embeddings, head=self._stage.head)
            self._latest = step, found
        return replace(self._latest[1], numbers=numbers)

    @property
    def _train(self) -> Side:
        return Side.all_of(self._studied.material.train)

    def _loaded(self, strategy: Strategy, numbers: Numbers, step: int | None, watch: Watch) -> tuple[Subject, Factors]:
        subject, rows = self._subject(numbers, step), self._studied.material.train
        for note in subject.notes:
            watch.tell(note)
        return subject, fit_factors(subject, rows, self._cache, self._factors(strategy), watch)

    def _own_scores(self, subject: Subject, factors: Factors, watch: Watch) -> NDArray[np.float64]:
        """Part by part, each a file."""
        settings, train = self.score_settings(), self._train
        key = {"self": factors.strategy, **factors.key, "damping": settings.damping, "part": settings.part}
        folder = folder_for(self._context.folder / SCORES, key)
        starts = range(0, len(train.rows), settings.part)
        files = {start: folder / f"self-{start:09d}.safetensors" for start in starts}
        for start in starts[watch.team.rank :: watch.team.size]:
            if not files[start].is_file():
                part = train.only(train.rows[start : start + settings.part])
                scores = self_scores(subject, factors, part, settings.damping, settings.memory, watch)
                save_tensors(files[start], {"scores": scores.double()})
        watch.team.gathered(None)
        return np.concatenate([load_tensors(file)["scores"].numpy() for file in files.values()])

    def _watch(self, strategy: Strategy, numbers: Numbers) -> Watch:
        team = self._context.team or ALONE
        doing = strategy + (f" in {numbers}" if numbers != "float32" else "")

        def look(phase: str, done: int, total: int) -> None:
            if self._context.stop_wanted():
                self._context.tell("stopped as asked; the parts that are whole are kept", kind="stopped")
                raise Stopped
            if team.leads:
                self._context.recorder.progress(self._context.stage_id, done, total, f"{doing}: {phase}")

        return Watch(self.note, look, self.profile, team)


def scores_of(stage: AnyInfluence) -> ScoreSettings:
    """How rows are scored, as a stage says."""
    asked = stage.scores
    return ScoreSettings(
        asked.damping, int(asked.memory * _GIB), asked.rank, asked.numbers, asked.top, asked.keep_all, asked.tokens,
        asked.aggregated, asked.part,
    )  # fmt: skip


@contextmanager
def _blamed() -> Generator[None]:
    """What the library complains about is the training's fault, or that of what is asked of it."""
    try:
        yield
    except ValueInRecipeError:
        raise
    except UsageError as error:
        raise ValueInRecipeError(KEY, str(error)) from None
