"""Runs that were asked where a text comes from, made by hand: the training, and the answer in each state."""

import json
from collections.abc import Sequence

import numpy as np
from lmwb.core.history.ledger import (
    StagePlan,
    begin_attempt,
    begin_stage,
    create_run,
    end_attempt,
    end_stage,
    name_worker,
)
from lmwb.core.history.liveness import take_lock, this_machine
from lmwb.core.history.recorder import Recorder
from lmwb.core.influence_report import Answers, Found, Report, ReportedText, write_report
from make_history import HistoryMaker

SIGN = "a positive score says that training on the row lowers the query's loss; a negative one, that it raises it"
WORDS = (
    "The with statement is used to wrap the execution of a block with methods defined by a context manager .",
    "A generator is a function which returns an iterator ; each value is made when it is asked for .",
    "def fibonacci ( n ) : return n if n < 2 else fibonacci ( n - 1 ) + fibonacci ( n - 2 )",
    "Names in a class block are bound in the class , and looked up there first by the methods .",
    "An expression is evaluated from left to right , and assigned to the name on its left .",
)
ROWS = 311


def make_report(of: str, hostile: str = "", queries: int = 2, strategies: Sequence[str] = ("ekfac", "identity"),
                top: int = 8, tokens: bool = True) -> Report:  # fmt: skip
    """A report about a training of 800 steps; with `hostile`, every text has it."""
    vocabulary: dict[str, int] = {}

    def text(number: int) -> list[int]:
        said = WORDS[number % len(WORDS)].split() * (1 + number % 3) + ([hostile] if hostile else [])
        return [vocabulary.setdefault(f" {word}", len(vocabulary)) for word in said]

    def found(rank: int, chance: np.random.Generator, sign: int) -> Found:
        row = int(chance.integers(0, ROWS))
        score = sign * 3.4 / (1 + rank) ** 0.7
        shares = chance.dirichlet(np.full(len(text(row)) - 1, 0.2)) * 1.4 - 0.4 / (len(text(row)) - 1)
        asked = chance.dirichlet(np.full(11, 0.3))
        if not tokens:
            return Found(row, score)
        return Found(row, score, tuple(score * shares / shares.sum()), tuple(score * asked))

    answers = {
        strategy: tuple(
            Answers(*(tuple(found(rank, np.random.default_rng([s, q, sign + 1, rank]), sign) for rank in range(top))
                      for sign in (1, -1)))
            for q in range(queries)
        )
        for s, strategy in enumerate(strategies)
    }  # fmt: skip
    told = {each.row for all_ in answers.values() for one in all_ for each in (*one.best, *one.worst)}
    batches: dict[int, tuple[int, ...]] = {}
    rows: dict[int, ReportedText] = {}
    for number, row in enumerate(sorted(told)):
        first, place = 7 + 3 * number, row % 16
        others = [int(each) for each in np.random.default_rng(first).permutation(ROWS)[:16]]
        batches[first] = (*others[:place], row, *others[place + 1 :])
        seen = tuple((first + 190 * epoch, place) for epoch in range(1 + row % 4))
        rows[row] = _row(text(row), seen, row, hostile)
    for other in {each for batch in batches.values() for each in batch}:
        rows.setdefault(other, _row(text(other), (), other, hostile))
    asked = tuple(
        ReportedText(tuple(text(q)[:12]), " ".join(WORDS[q].split()[:12]), 5, 8, loss=4.2 + q) for q in range(queries)
    )
    return Report(
        of, SIGN, asked, answers, rows, batches, ROWS,
        {number: word.encode("utf-8", "surrogateescape") for word, number in vocabulary.items()},
        profile=[
            {"phase": "covariance", "calls": 24, "mean": 0.031, "total": 0.74, "share": 0.21, "peak_bytes": 412e6},
            {"phase": "eigenvalues", "calls": 24, "mean": 0.072, "total": 1.73, "share": 0.49, "peak_bytes": 430e6},
            {"phase": "scores", "calls": 12, "mean": 0.088, "total": 1.06, "share": 0.30, "peak_bytes": 455e6},
        ],
        notes=("the table of embeddings and the last layer are left out",),
    )  # fmt: skip


def _row(ids: list[int], seen: tuple[tuple[int, int], ...], number: int, hostile: str) -> ReportedText:
    words = hostile.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return ReportedText(tuple(ids), f"{words} {WORDS[number % len(WORDS)]}".strip(), seen=seen)


def add_answer(
    maker: HistoryMaker,
    report: Report | None,
    name: str = "where from · used to wrap",
    outcome: str | None = "finished",
    progress: tuple[int, int, str] = (3, 12, "ekfac: covariance"),
    message: str | None = None,
) -> str:
    """A run with a stage of influence; returns its uid.

    Args:
        maker: whose home it is put into.
        report: what it has found; None for nothing.
        name: what it is called.
        outcome: how it ended; None leaves it at work.
        progress: steps, of how many, and the phase.
        message: why it ended.
    """
    uid = f"asked-{maker._t_us // 60_000_000 % 100000:05d}"
    folder = maker.home.run_folder(uid)
    (folder / "influence").mkdir(parents=True)
    if report is not None:
        write_report(report, folder / "influence")
    (folder / "log.txt").write_text("reading the training …\n", encoding="utf-8")
    recipe = f"name = {json.dumps(name)}\n"
    run_id = create_run(maker.connection, uid, name, recipe, [StagePlan("influence", "influence")], "recipe.toml")
    attempt = begin_attempt(maker.connection, run_id, this_machine())
    stage = maker._one("SELECT id FROM stage WHERE run_id = ?", run_id)
    name_worker(maker.connection, attempt, 99_999_999, 1)
    done, total, phase = progress
    begin_stage(maker.connection, stage, total, attempt, 0)
    recorder = Recorder(maker.home, run_id, attempt, lambda text: None)
    recorder.progress(stage, done, total, phase)
    recorder.close()
    if outcome == "finished":
        end_stage(maker.connection, stage, {})
    if outcome:
        end_attempt(maker.connection, attempt, outcome, 1 if outcome == "failed" else 0, None, message)  # type: ignore[arg-type]
    else:
        lock = take_lock(folder)
        assert lock is not None
        maker.lock_of[uid] = lock
    at = maker._t_us
    maker._t_us += 7 * 60_000_000
    maker.connection.execute("UPDATE run SET created_us = ? WHERE id = ?", (at, run_id))
    maker.connection.execute("UPDATE attempt SET started_us = ? WHERE run_id = ?", (at, run_id))
    return uid
