"""The list of runs as people read it: newest first, members under the run that they belong to. Pure functions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.history.queries import OPEN_STATES, Run


@dataclass(frozen=True)
class Entry:
    """One run in the list.

    Attributes:
        run: the run.
        members: its members, the first launched first.
        member: it stands under the run that it belongs to.
        unfolded: its members are in the list too.
        suffix: the end of its id, where another run has the same name; else empty.
    """

    run: Run
    members: tuple[Run, ...] = ()
    member: bool = False
    unfolded: bool = False
    suffix: str = ""

    @property
    def over(self) -> int:
        """How many members have finished."""
        return sum(run.state == "finished" for run in self.members)

    @property
    def going(self) -> int:
        """How many members are at work."""
        return sum(run.state in OPEN_STATES for run in self.members)


def members_of(runs: Sequence[Run]) -> dict[int, list[Run]]:
    """The members of each run that has some, the first launched first.

    Args:
        runs: newest first.
    """
    known = {run.id for run in runs}
    found: dict[int, list[Run]] = {}
    for run in reversed(runs):
        if run.parent_id in known:
            assert run.parent_id is not None
            found.setdefault(run.parent_id, []).append(run)
    return found


def arranged(runs: Sequence[Run], wanted: Sequence[str], unfolded: Mapping[int, bool]) -> list[Entry]:
    """The rows of the list.

    Args:
        runs: newest first.
        wanted: words, casefolded, that must all occur in a run. A run is also shown when one of its members is
            wanted; a member also when its run is.
        unfolded: whether the members of a run are shown, by its row id; not if it isn't there.
    """
    members = members_of(runs)
    tops = [run for run in runs if run.parent_id is None or run.parent_id not in members]
    names = Counter(run.name for run in tops)
    entries: list[Entry] = []
    for run in tops:
        own = tuple(members.get(run.id, ()))
        itself = matches(run, wanted)
        chosen = own if itself else tuple(member for member in own if matches(member, wanted, run.name))
        if not itself and not chosen:
            continue
        open_ = bool(own) and (unfolded.get(run.id, False) or not itself)
        suffix = run.uid.rpartition("-")[2] if names[run.name] > 1 else ""
        entries.append(Entry(run, own, unfolded=open_, suffix=suffix))
        entries += [Entry(member, member=True) for member in chosen if open_]
    return entries


def matches(run: Run, wanted: Sequence[str], inherited: str = "") -> bool:
    """All words occur in the run's name, label, id, state or stage."""
    text = f"{run.name} {run.member or ''} {run.uid} {run.state} {run.stage} {inherited}".casefold()
    return all(word in text for word in wanted)


def label(run: Run) -> str:
    """What a run is called beside its siblings, or by itself; foreign text."""
    return run.member or run.name


def only_seeds(members: Sequence[Run]) -> bool:
    """The members differ in nothing but their seeds, so that means over them make sense."""
    return bool(members) and all((run.member or "").startswith("seed ") and "·" not in label(run) for run in members)


def titles(chosen: Sequence[Run], runs: Sequence[Run]) -> dict[int, str]:
    """What runs are called where they stand side by side, by row id; foreign text.

    Args:
        chosen: the runs.
        runs: all there are; where another has the same name, the end of the id follows.
    """
    names = Counter(run.name for run in runs if run.parent_id is None)
    names.update({run.name for run in chosen if run.parent_id is not None and run.name not in names})
    found: dict[int, str] = {}
    for run in chosen:
        uid = run.uid if run.member is None else run.uid.rpartition("-")[0]
        suffix = f" {uid.rpartition('-')[2]}" if names[run.name] > 1 else ""
        found[run.id] = f"{run.name}{suffix}" + (f" · {run.member}" if run.member else "")
    return found
