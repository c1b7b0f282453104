"""Machines that are gone, kept for a while so that listings tell when their billing ended."""

from collections.abc import Iterable
from typing import Final

import msgspec

from treasury.domain.events import LeaseSeen
from treasury.domain.time import HOUR, MINUTE

# As long as any listing may still be late, and some restarts of the agent.
KEPT: Final = HOUR
# As long as a listing may go on showing what is gone, ours being the better word.
LATE: Final = 5 * MINUTE
# A listing tells of a machine that ended this long ago, then it is left to the book.
TOLD: Final = 30 * MINUTE


class Departed:
    """What ended, by the machine's name; the first word about an end stands."""

    def __init__(self) -> None:
        self._gone: dict[str, LeaseSeen] = {}

    def __contains__(self, machine: str) -> bool:
        return machine in self._gone

    def hides(self, machine: str, now: int) -> bool:
        """Whether a listing at `now` [ns] that shows a machine is only late. Not for ever: what
        stays listed runs, whatever was once heard of it."""
        item = self._gone.get(machine)
        return item is not None and (item.ended_at or 0) > now - LATE

    def add(self, item: LeaseSeen, ended_at: int, cause: str) -> None:
        """A machine's billing ended at an instant [ns]. Where its beginning is not known (0) it is
        told as if it had cost nothing: better than half a century."""
        granted_at = item.granted_at or ended_at
        ended = msgspec.structs.replace(
            item,
            granted_at=granted_at,
            ended_at=max(ended_at, granted_at),
            cause=cause,
            ready=False,
        )
        self._gone.setdefault(item.machine, ended)

    def listed(self, alive: Iterable[str], now: int) -> list[LeaseSeen]:
        """What a listing at `now` [ns] adds to the machines that are `alive`."""
        names = frozenset(alive)
        for machine in [m for m, item in self._gone.items() if (item.ended_at or 0) < now - KEPT]:
            del self._gone[machine]
        return [
            item
            for machine, item in self._gone.items()
            if machine not in names and (item.ended_at or 0) >= now - TOLD
        ]
