"""The stage that asks what bfloat16 costs in accuracy, and what it saves."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..home import Home
from ..influence import Profile, Side
from ..influence.half_precision import Agreement, agreement
from ..recipe.schema import HalfPrecisionStage
from ..recipe.schema.influence import Numbers, Strategy
from .asked import read_queries
from .context import StageContext
from .influencing import Asker
from .leaving import leave_picture, leave_table
from .studied import Studied, read_training

NAME = "half_precision"
"""Of the table and the picture."""
_MIB = 2**20


@dataclass(frozen=True)
class _Compared:
    """What a strategy came to in both types of numbers."""

    exact: NDArray[np.float32]
    rough: NDArray[np.float32]
    agreement: Agreement
    profiles: dict[Numbers, Profile]


def run(stage: HalfPrecisionStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Score all rows with both types of numbers; returns how they agree by strategy, what each took, and the files.

    What a stopped attempt has done counts in no time.

    Raises:
        ValueInRecipeError: the training, its rows or the queries do not allow it.
        Stopped: the user asked for it; whole parts are kept.
    """
    studied = read_training(stage.of, home, context.cache, context.tell)
    queries, _ = read_queries(stage, studied)
    context.begin(None, 0)
    found: dict[Strategy, _Compared] = {
        strategy: _compared(strategy, stage, studied, queries, context) for strategy in stage.strategies
    }
    for strategy, compared in found.items():
        _tell(context, strategy, compared)
    return {
        "queries": len(queries.rows),
        "training_rows": len(studied.material.train),
        **{name: _facts(found[name]) for name in reversed(found)},  # reports tell the last first
        "files": _leave(stage, context, found),
    }


def _compared(
    strategy: Strategy, stage: HalfPrecisionStage, studied: Studied, queries: Side, context: StageContext
) -> _Compared:
    profiles: dict[Numbers, Profile] = {}
    notes: list[str] = []
    apart = replace(context, cache=context.folder)  # both work out the curvature, whatever the cache holds

    def scores(numbers: Numbers) -> NDArray[np.float32]:
        asker = Asker(stage, studied, apart)
        asker.notes = notes
        settings = replace(asker.score_settings(), top=0, keep_all=True, tokens="none", aggregated=False)
        answer = asker.answer(queries, strategy, numbers, settings)
        profiles[numbers] = asker.profile
        return answer.all_scores()

    exact, rough = scores("float32"), scores("bfloat16")
    return _Compared(exact, rough, agreement(exact, rough), profiles)


def _facts(compared: _Compared) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, values in (("spearman", compared.agreement.spearman), ("pearson", compared.agreement.pearson)):
        told |= {name: float(values.mean()), f"lowest_{name}": float(values.min())}
    for numbers, profile in compared.profiles.items():
        told |= {f"seconds_{numbers}": profile.seconds, f"peak_bytes_{numbers}": _peak(profile)}
    return told


def _peak(profile: Profile) -> int:
    return max((phase.peak_bytes for phase in profile.phases), default=0)


def _leave(stage: HalfPrecisionStage, context: StageContext, found: dict[Strategy, _Compared]) -> list[str]:
    each = [
        {"strategy": name, "query": query, "pearson": float(pearson), "spearman": float(spearman)}
        for name, compared in found.items()
        for query, (pearson, spearman) in enumerate(
            zip(compared.agreement.pearson, compared.agreement.spearman, strict=True)
        )
    ]
    table = leave_table(context, f"{NAME}.csv", each)
    phases = [
        {"strategy": name, "numbers": numbers, **row}
        for name, compared in found.items()
        for numbers, profile in compared.profiles.items()
        for row in profile.rows()
    ]
    files = [table, leave_table(context, f"{NAME}_profile.csv", phases)] if phases else [table]

    def draw() -> Any:
        from ..figures import draw_half_precision

        return draw_half_precision(
            {name: (each.exact, each.rough, each.agreement.typical) for name, each in found.items()}
        )

    return [*files, *leave_picture(context, NAME, stage.figures, draw)]


def _tell(context: StageContext, strategy: Strategy, compared: _Compared) -> None:
    told = _facts(compared)
    context.tell(
        f"{strategy}: bfloat16 ranks rows as float32 does with a correlation of {told['spearman']:.5f} in the mean of "
        f"the queries, {told['lowest_spearman']:.5f} at least (of the scores themselves {told['pearson']:.5f}, "
        f"{told['lowest_pearson']:.5f})",
        kind="half-precision",
    )
    parts = [
        f"{numbers} {profile.seconds:.1f} s, {_peak(profile) / _MIB:,.0f} MiB at most"
        for numbers, profile in compared.profiles.items()
    ]
    context.tell(f"{strategy}: {'; '.join(parts)}", kind="half-precision")
