"""The stage that asks which training rows made a model say what it says."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import MachineError
from ..files import replacing
from ..home import Home
from ..influence import SIGN, Answer, ScoreSettings, Side
from ..influence_report import FILE, Found, Report, write_report
from ..recipe.schema import InfluenceStage
from ..training.distribution import ALONE
from .asked import Spans, read_queries
from .context import StageContext
from .influence_reporting import Findings, make_report
from .influencing import Asker
from .studied import Studied, read_given, read_training

_TOLD = 5
"""Rows that a line of the log names."""


def run(stage: InfluenceStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Score all training rows for the queries, by each strategy; returns where the scores are and what is on top.

    Raises:
        ValueInRecipeError: there is no such training, it cannot be asked this, or its data have changed.
        MachineError: the disk does not take the scores.
        Stopped: the user asked for it; parts that are whole are kept.
    """
    asking = _begin(stage, context, home)
    context.begin(None, 0)
    answers, own = _ask(asking)
    losses = asking.asker.losses(asking.queries, stage.checkpoints)
    kept = {strategy: _keep(context, strategy, answer, own.get(strategy)) for strategy, answer in answers.items()}
    notes, profile = asking.asker.notes, asking.asker.profile
    found = Findings(asking.queries, asking.spans, losses, answers, own, notes, profile)
    report = make_report(asking.studied, found, stage.scores.top)
    file = write_report(report, context.folder)
    told = _told(report)
    for name, line in told.items():
        context.tell(f"{name}: {line}", kind="influence")
    for line in profile.table().splitlines():
        context.tell(line, kind="profile")
    context.tell(f"what was found is in {file}; `lmwb inspect {context.run_folder.name}` shows it", kind="finished")
    return {
        "of": report.of,
        "sign": SIGN,
        "queries": len(report.queries),
        "training_rows": report.training_rows,
        "told": told,
        "strategies": kept,
        "report": f"{context.folder.name}/{FILE}",
        "profile": {each.name: {"calls": each.calls, "seconds": each.seconds} for each in profile.phases},
        "notes": list(report.notes),
    }


def follow(stage: InfluenceStage, context: StageContext, home: Home) -> None:
    """Do the share of a process beside the first, which tells and writes what was found.

    Raises:
        LmwbError: what `run` raises too.
    """
    _ask(_begin(stage, context, home))


@dataclass(frozen=True)
class _Asking:
    """A stage with all that it asks with."""

    stage: InfluenceStage
    studied: Studied
    queries: Side
    spans: Spans
    asker: Asker
    settings: ScoreSettings


def _begin(stage: InfluenceStage, context: StageContext, home: Home) -> _Asking:
    team = context.team or ALONE
    with team.first_first():
        studied = _read(stage, context, home)
    team.meet()
    team.agree("training rows", studied.material.train.fingerprint)
    queries, spans = read_queries(stage, studied)
    asker = Asker(stage, studied, context)
    if team.size > 1:
        asker.note(f"{team.size} processes share the work; the profile is that of the first")
    return _Asking(stage, studied, queries, spans, asker, asker.settings(stage.numbers, stage.checkpoints))


def _read(stage: InfluenceStage, context: StageContext, home: Home) -> Studied:
    if stage.training is not None:
        return read_given(stage.training, context.seed, context.cache, context.tell)
    assert stage.of is not None
    return read_training(stage.of, home, context.cache, context.tell)


def _ask(asking: _Asking) -> tuple[dict[str, Answer], dict[str, NDArray[np.float64]]]:
    """The answers by strategy, and the scores of rows with themselves, if they are asked for."""
    stage, asker = asking.stage, asking.asker
    answers: dict[str, Answer] = {}
    own: dict[str, NDArray[np.float64]] = {}
    for strategy in stage.strategies:
        answers[strategy] = asker.answer(asking.queries, strategy, stage.numbers, asking.settings, stage.checkpoints)
        if stage.self_scores:
            own[strategy] = asker.self_scores(strategy, stage.numbers, stage.checkpoints)
    return answers, own


# -- what is left behind ------------------------------------------------------------------------------


def _keep(context: StageContext, strategy: str, answer: Answer, own: NDArray[np.float64] | None) -> dict[str, Any]:
    """Put a strategy's files where they are easily found; their names, relative to the run's folder."""
    folder = context.folder / strategy
    wanted = ("scores.safetensors", "top.parquet", "tokens.parquet")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            _place(answer.folder / name, folder / name)
        if own is not None:
            with replacing(folder / "self.parquet") as unfinished:
                pq.write_table(pa.table({"row": np.arange(len(own)), "score": own}), unfinished)
    except OSError as error:
        raise MachineError(f"cannot write the scores to {folder}: {error.strerror or error}") from None
    there = {Path(name).stem: name for name in (*wanted, "self.parquet") if (folder / name).is_file()}
    parts = [str(file.relative_to(context.run_folder)) for files in answer.parts for file in files]
    return {
        **{stem: f"{context.folder.name}/{strategy}/{name}" for stem, name in there.items()},
        **({"token_scores": parts} if parts else {}),
        "approximation": answer.plan.sentence(),
    }


def _place(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk knows no links."""
    target.unlink(missing_ok=True)
    if not source.is_file():
        return
    try:
        os.link(source, target)
    except OSError:
        with replacing(target) as unfinished:
            shutil.copyfile(source, unfinished)


def _told(report: Report) -> Mapping[str, str]:
    """By query, its best and worst rows in a line."""
    told: dict[str, str] = {}
    several = len(report.answers) > 1
    for strategy, all_ in report.answers.items():
        for number, each in enumerate(all_, 1):
            name = f"query {number}" if len(all_) == len(report.queries) else "all queries"
            worst = f"; worst {_rows(each.worst)}" if each.worst else ""
            told[f"{name} {strategy}" if several else name] = f"best rows {_rows(each.best)}{worst}"
    for strategy, rows in report.self_scores.items():
        told[f"themselves {strategy}" if several else "themselves"] = f"rows that explain themselves {_rows(rows)}"
    return told


def _rows(rows: tuple[Found, ...]) -> str:
    return ", ".join(f"{each.row} ({each.score:+.3g})" for each in rows[:_TOLD]) or "none"
