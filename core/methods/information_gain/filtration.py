"""The method: each step is made of contexts whose predicted information gain reaches a threshold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data.crops import Crops
from ...data.hashing import hash_of_tokenizer
from ...errors import TrainingError, ValueInRecipeError
from ...recipe.problems import quoted
from ...recipe.schema.gain import AnyThreshold, ConstantThreshold, InformationGain, PublishedThreshold
from ...training.crops import CropPlan, Draws
from ...training.method import Method, Steps
from ...training.objectives.causal import CausalLM
from ..active import Place
from .choosing import Chosen, Score
from .learning import predict
from .stored import Facts, load_learner, read_facts


class Filtration(Method):
    """Chooses the rows of each step, for batches of the size that the recipe asks for."""

    name = "information-gain"

    def __init__(self, number: int, settings: InformationGain, place: Place):
        """The method that stands at `number` among a recipe's methods.

        Raises:
            ValueInRecipeError: there is no learner, or it is not one for these contexts.
        """
        self._settings = settings
        self._place = place
        self._crops = _crops_of(number, place)
        folder = Path(settings.from_)
        self._facts = _facts_of(number, folder, place)
        kind = self._facts.best if settings.learner == "best" else settings.learner
        self._score = _scorer(number, folder, self._facts, kind, self._crops, place)
        self._threshold = threshold_of(settings.threshold, self._score, Draws(self._crops, place.seed, "quantile"))
        self._chosen: Chosen | None = None
        how = "by lot" if settings.select == "random" else f"by the learner '{kind}'"
        place.tell(f"information gain: contexts are chosen {how}; threshold {self._threshold(1):.3g} at first")

    def steps(self, steps: Steps) -> Steps:
        """The rows of each step, chosen from as many planned ones as it takes."""
        settings = self._place.settings
        decoys = (
            CropPlan(self._crops, settings, self._place.seed, "decoys") if self._settings.select == "random" else None
        )
        self._chosen = Chosen(
            steps, self._score, self._threshold, settings.batch_size, settings.gradient_accumulation, decoys
        )
        return self._chosen

    def figures(self) -> Mapping[str, Tensor | float]:
        """Of the step: the share of the contexts that was taken, the mean predicted gain of those and of all that were
        looked at, in standard deviations of the gain, and the threshold."""
        if self._chosen is None or not self._chosen.last.looked_at:
            return {}
        last = self._chosen.last
        return {
            "accept_rate": last.taken / last.looked_at,
            "q": last.gained / last.taken,
            "q_offered": last.offered / last.looked_at,
            "threshold": self._threshold(self._chosen.step),
        }

    def state(self) -> Mapping[str, Any]:
        """Where in the series of candidates it is."""
        return {} if self._chosen is None else self._chosen.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        if self._chosen is not None and state:
            self._chosen.load_state(state)

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - the model stays as it is
        """How many contexts were looked at and taken, and their mean predicted gain."""
        if self._chosen is None or not self._chosen.seen.looked_at:
            return {}
        seen = self._chosen.seen
        return {
            "looked_at": seen.looked_at,
            "taken": seen.taken,
            "accept_rate": seen.taken / seen.looked_at,
            "q": seen.gained / seen.taken,
            "q_offered": seen.offered / seen.looked_at,
        }


class Schedule:
    """The threshold of each step, numbered from 1; those up to `switch` have the first one."""

    def __init__(self, first: float, switch: int = 0, then: float | None = None):
        """A threshold for all steps, or one for the first `switch` and another for the rest."""
        self._first = first
        self._switch = switch
        self._then = then

    def __call__(self, step: int) -> float:
        """The threshold of a step."""
        return self._first if self._then is None or step <= self._switch else self._then


def threshold_of(settings: AnyThreshold, score: Score, draws: Draws) -> Schedule:
    """The thresholds that a recipe asks for; a quantile is that of freshly drawn contexts."""
    if isinstance(settings, ConstantThreshold):
        return Schedule(settings.value)
    if isinstance(settings, PublishedThreshold):
        return Schedule(settings.first, settings.steps, settings.then)
    return Schedule(float(np.quantile(score(draws.rows(0, settings.contexts)), 1 - settings.keep)))


def _crops_of(number: int, place: Place) -> Crops:
    rows = place.train.rows if isinstance(place.train, CausalLM) else None
    if not isinstance(rows, Crops):
        raise ValueInRecipeError(
            f"method.{number}.kind",
            "contexts are chosen from those that are drawn; train with objective causal-lm and data.packing 'crops'",
        )
    return rows


def _facts_of(number: int, folder: Path, place: Place) -> Facts:
    """What is known of the learners; they must be for this tokenizer, and nothing measured on may be an objective."""
    key = f"method.{number}.from"
    facts = read_facts(folder)
    if facts is None:
        raise ValueInRecipeError(key, f"no stage of kind information-gain has left learners in {quoted(str(folder))}")
    assert place.tokenizer is not None
    if hash_of_tokenizer(place.tokenizer) != facts.tokenizer:
        raise ValueInRecipeError(key, "the learners were trained on tokens of another tokenizer than this stage's")
    for name, held_out in place.held_out.items():
        rows = held_out.rows if isinstance(held_out, CausalLM) else None
        if isinstance(rows, Crops) and (shared := set(rows.articles) & set(facts.objective)):
            raise ValueInRecipeError(
                f"data.{name}",
                f"{len(shared)} of its articles are among the objective's, on which the gain was measured: the model "
                "would be measured on what its contexts were chosen by; name other articles",
            )
    return facts


def _scorer(number: int, folder: Path, facts: Facts, kind: str, crops: Crops, place: Place) -> Score:
    if kind not in facts.shapes:
        there = ", ".join(facts.shapes)
        raise ValueInRecipeError(f"method.{number}.learner", f"there is no learner {quoted(kind)}; there is {there}")
    try:
        learner = load_learner(folder, facts, kind, place.device)
    except OSError as error:
        raise TrainingError(f"cannot read the learner {quoted(kind)} in {folder}: {error.strerror}") from None

    def score(rows: Sequence[int]) -> NDArray[np.float32]:
        contexts = torch.from_numpy(np.stack([crops.tokens(row) for row in rows])).long()
        return predict(learner, contexts.to(place.device))

    return score
