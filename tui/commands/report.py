"""Everything about one run, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ...core.history.queries import History, Run, SampleEntry, Stage
from ...core.runs import log_file
from ...core.text import printable, shorten
from .. import words
from .output import iso, run_facts
from .results import result_line, result_rows


def report_facts(run: Run, history: History) -> dict[str, Any]:
    """The run for JSON."""
    return {
        **run_facts(run),
        "stages": [_stage_facts(run, stage, history) for stage in history.stages(run.id)],
        "members": [
            {**run_facts(member), "results": {stage.name: stage.summary for stage in history.stages(member.id)}}
            for member in history.members(run.id)
        ],
        "log": str(log_file(run)),
        "recipe": history.recipe(run.id),
        "environment": history.environment(run.id),
    }


def _stage_facts(run: Run, stage: Stage, history: History) -> dict[str, Any]:
    checkpoints = [
        {**asdict(each), "path": str(each.path), "created": iso(each.created_us)}
        for each in history.checkpoints(run, stage.id)
    ]
    for each in checkpoints:
        del each["created_us"]
    sample = last_sample(history, stage)
    return {
        "name": stage.name,
        "kind": stage.kind,
        "total": stage.total,
        "outcome": stage.outcome,
        "results": stage.summary,
        "metrics": {name: asdict(latest) for name, latest in history.metrics(stage.id).items()},
        "checkpoints": checkpoints,
        "last_sample": {"step": sample.step, "prompt": sample.prompt, "text": _text(history, sample)}
        if sample
        else None,
    }


def report_lines(run: Run, history: History) -> Iterator[str]:
    """The run for people; printable."""
    for line in _lines(run, history):
        yield printable(line)


def last_sample(history: History, stage: Stage) -> SampleEntry | None:
    """The newest sample of the first prompt."""
    samples = [sample for sample in history.samples(stage.id) if sample.prompt_index == 0]
    return samples[-1] if samples else None


def _lines(run: Run, history: History) -> Iterator[str]:
    yield f"{run.uid}  {run.name}" + (f"  {run.member}" if run.member else "")
    told = {"running": f"{run.phase}  {run.step}/{run.total}", "elsewhere": f"on {run.host}"}.get(run.state, "")
    yield _row("state", f"{run.state}  {told}")
    if run.state in ("failed", "died"):
        yield _row("why", words.cause(run))
    yield _row("created", words.moment(run.created_us))
    if run.started_us is not None and run.ended_us is not None:
        yield _row("took", words.duration((run.ended_us - run.started_us) / 1e6))
    if run.attempts > 1:
        yield _row("attempts", str(run.attempts))
    yield _row("folder", str(run.folder))
    yield _row("log", str(log_file(run)))
    if path := history.recipe_path(run.id):
        yield _row("recipe", str(path))
    if environment := history.environment(run.id):
        yield _row(
            "ran on", "  ".join(f"{name} {_fact(name, value)}" for name, value in environment.items() if _short(value))
        )
    if members := history.members(run.id):
        yield ""
        yield "members"
        for member in members:
            yield _row(member.member or member.uid, _member(member, history))
    for stage in history.stages(run.id):
        yield ""
        yield from _stage_lines(run, stage, history)


def _stage_lines(run: Run, stage: Stage, history: History) -> Iterator[str]:
    yield f"stage {stage.name}  ({stage.kind})  {stage.outcome or 'not finished'}"
    if stage.kind == "compare":
        yield from _comparison_lines(run, stage)
    elif stage.summary:
        for name, told in result_rows(stage.summary):
            yield _row(name, told)
    if "model" in stage.summary:
        yield _row("model", str(run.folder / str(stage.summary["model"])))
    for name, latest in history.metrics(stage.id).items():
        extremes = f"lowest {words.number(latest.minimum)} at step {latest.minimum_step}"
        yield _row(name, f"{words.number(latest.value)} at step {latest.step}, {extremes}")
    for each in history.checkpoints(run, stage.id):
        best = "  best" if each.best else ""
        yield _row("checkpoint", f"step {each.step}{best}  {words.size(each.size)}  {each.path}")
    if sample := last_sample(history, stage):
        yield _row("sample", f"step {sample.step}: {shorten(_text(history, sample) or 'the record is damaged', 400)}")


def _comparison_lines(run: Run, stage: Stage) -> Iterator[str]:
    """A line for each row of the comparison, and where it is written."""
    if not stage.summary:
        return
    for row in stage.summary["rows"]:
        deviation = "" if row["deviation"] is None else f" ± {words.number(row['deviation'])}"
        seeds = "one seed" if row["n"] == 1 else f"n = {row['n']}"
        yield _row(str(row["label"]), f"{stage.summary['metric']} {words.number(row['mean'])}{deviation}  ({seeds})")
    yield _row("written", f"{run.folder / stage.name}: {', '.join(stage.summary['files'])}")


def _member(member: Run, history: History) -> str:
    """A member's state, and its last results or what it does or why it has none."""
    if member.state in ("starting", "running"):
        told = f"{member.stage}  {member.step}/{member.total}" if member.total else member.stage
    elif member.state in ("failed", "died"):
        told = words.cause(member)
    else:
        done = [stage for stage in history.stages(member.id) if stage.summary]
        told = result_line(done[-1].summary) if done else ""
    return f"{member.state:<8} {member.uid}  {told}".rstrip()


def _text(history: History, sample: SampleEntry) -> str | None:
    """The prompt and what the model made of it; None if the record is damaged."""
    try:
        return history.sample(sample.id).text()
    except ValueError:
        return None


def _row(name: str, value: str) -> str:
    return f"  {name:<26} {value}".rstrip()


def _fact(name: str, value: object) -> str:
    return words.size(value) if name.endswith("_bytes") and isinstance(value, int) else str(value)


def _short(value: object) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= 60
