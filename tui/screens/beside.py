"""Which runs are drawn beside the selected one, what they are called there, and in which colours. Pure functions."""

from collections.abc import Mapping, Sequence

from ...core.history.queries import Run
from ..family import label, members_of, only_seeds, titles
from ..widgets.curves import Others


def wanted_beside(runs: Sequence[Run], selected: Run | None, marked: Mapping[int, int]) -> tuple[int, ...]:
    """The row ids of the marked runs, or else of the selected one's members.

    Args:
        runs: all of them, newest first.
        selected: the run in whose company they are drawn.
        marked: the colours of the marked runs, by row id.
    """
    if marked:
        return tuple(run_id for run_id in marked if selected is None or run_id != selected.id)
    return tuple(member.id for member in members_of(runs).get(selected.id, ())) if selected else ()


def company(runs: Sequence[Run], selected: Run | None, marked: Mapping[int, int]) -> Others:
    """Names and colours. Members that differ in their seeds only are drawn with their mean."""
    if selected is None:
        return Others({}, {})
    if marked:
        free = set(range(len(marked) + 1)).difference(marked.values())
        colours = {selected.id: min(free), **marked}
        names = titles([run for run in runs if run.id in colours], runs)
        return Others({run_id: names[run_id] for run_id in sorted(colours, key=colours.__getitem__)}, colours)
    members = members_of(runs).get(selected.id, [])
    mean = f"mean of {len(members)}" if only_seeds(members) and len(members) > 1 else ""
    colours = {member.id: place for place, member in enumerate(members)}
    return Others({member.id: label(member) for member in members}, colours, mean)
