"""Who hears of long work: what is told, how far it is, and where its time goes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..training.distribution import ALONE, Team
from .profile import Profile


def _silent(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """What influence's long work reports to.

    Attributes:
        tell: takes sentences about what was done, found or left out.
        look: told the phase, rows done and rows in all after each batch; may raise to end the work, which goes on from
            the last part that was finished when it is called again.
        profile: adds up the time of the phases.
        team: the processes that share the work.
    """

    tell: Callable[[str], None] = _silent
    look: Callable[[str, int, int], None] = _silent
    profile: Profile = field(default_factory=Profile)
    team: Team = ALONE
