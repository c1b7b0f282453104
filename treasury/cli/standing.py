"""The fleet as a journal left it: what a strategy would be shown at an instant.

Read from a database that is only looked at, up to the last turn before a plan was taken at the
instant asked for, so that the plan itself is still open.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from treasury.cli.results import find_database
from treasury.domain import events as ev
from treasury.domain.errors import BadValue
from treasury.domain.ids import LeaseId, OfferId, PlacementId
from treasury.domain.plan import Snapshot
from treasury.domain.time import HOUR, format_instant
from treasury.domain.turn import Entry

if TYPE_CHECKING:
    from treasury.optimizer.flow.engine import FlowPlan, Settings
    from treasury.optimizer.flow.picture import Picture
    from treasury.optimizer.flow.words import Words

# What an offer is taken to have shown before it was ever held: one machine in 25 lost an hour.
_PRIOR_HOURS: Final = 25
_PRIOR_LOST: Final = 1
_MILLION: Final = 1_000_000
# A person is waiting: the optimizer stops where it is after this [s].
_PATIENCE: Final = 20.0


class Standing(msgspec.Struct, frozen=True):
    """A snapshot, and what beside it explains a plan. hold: for how long money is held [ns].
    hazards: interruptions per million machine-hours of the offers that were ever held."""

    source: str
    snapshot: Snapshot
    hold: int
    hazards: dict[OfferId, int]

    def picture(self) -> "Picture":
        """The optimizer's instance of it."""
        from treasury.optimizer.flow.picture import Lens, picture

        return picture(self.snapshot, Lens(hold=self.hold), self.hazards)


def read_standing(place: str, at: int | None) -> Standing:
    """The fleet of a database (a file or a URL), or of the first in a folder of `simulate`.

    at: an instant [ns], None for the newest. Raises NotFound, StoreError, BadValue.
    """
    from treasury.engine import replay, snapshot
    from treasury.store import SqlStore

    path = place if "://" in place else str(find_database(Path(place)))
    store = SqlStore.open(path, read_only=True)
    try:
        wear = _Wear()
        book = replay(wear.watch(until(store.entries(), at)))
        first = next((entry.at for entry in store.entries()), None)
    finally:
        store.close()
    if at is not None and first is not None and at < first:
        right = f"{format_instant(first)} or later, where the journal begins"
        raise BadValue("--at", format_instant(at), right)
    now = book.now if at is None else max(at, book.now)
    return Standing(path, snapshot(book, now), book.settings.horizon, wear.hazards(now))


def until(entries: Iterable[Entry], at: int | None) -> Iterator[Entry]:
    """The turns before an instant, and those at it before a plan was taken; all for None."""
    for entry in entries:
        if at is not None:
            planned = any(isinstance(fact, ev.PlanTaken) for fact in entry.facts)
            if entry.at > at or (entry.at == at and planned):
                return
        yield entry


class _Wear:
    """How often machines of each offer were lost, and how long they were held."""

    def __init__(self) -> None:
        self._offer: dict[PlacementId, OfferId] = {}
        self._leases: dict[PlacementId, tuple[LeaseId, ...]] = {}
        self._held: dict[LeaseId, tuple[OfferId, int]] = {}
        self._hours: dict[OfferId, int] = {}
        self._lost: dict[OfferId, int] = {}

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass turns on and keep count."""
        for entry in entries:
            for fact in entry.facts:
                if isinstance(fact, ev.PlacementOpened):
                    self._offer[fact.placement] = fact.offer
                    self._leases[fact.placement] = fact.leases
                elif isinstance(fact, ev.LeasesGranted):
                    offer = self._offer[fact.placement]
                    held = (offer, fact.at)
                    self._held.update(dict.fromkeys(self._leases[fact.placement], held))
                elif isinstance(fact, ev.LeaseEnded):
                    self._end(fact.lease, fact.at, lost=fact.lost)
            yield entry

    def _end(self, lease: LeaseId, at: int, *, lost: bool) -> None:
        held = self._held.pop(lease, None)
        if held is not None:
            offer, since = held
            self._hours[offer] = self._hours.get(offer, 0) + at - since
            self._lost[offer] = self._lost.get(offer, 0) + lost

    def hazards(self, now: int) -> dict[OfferId, int]:
        """Interruptions per million machine-hours of every offer that was held."""
        for lease in list(self._held):
            self._end(lease, now, lost=False)
        return {
            offer: (self._lost[offer] + _PRIOR_LOST) * _MILLION * HOUR
            // (hours + _PRIOR_HOURS * HOUR)
            for offer, hours in self._hours.items()
        }  # fmt: skip


def explained(picture: "Picture", plan: "FlowPlan | None" = None) -> "Words":
    """The optimizer's plan of a picture (solved unless given) with its exact prices, in words."""
    from treasury.optimizer.flow import FlowEngine
    from treasury.optimizer.flow.explain import sharpened
    from treasury.optimizer.flow.words import Words

    if plan is None:
        plan = FlowEngine(settings()).plan(picture.instance)
    return Words(picture, sharpened(plan))


def settings() -> "Settings":
    """How much work a plan on the command line is worth."""
    import time

    from treasury.optimizer.flow import Settings

    return Settings(seconds=_PATIENCE, clock=time.monotonic_ns, core_work=20_000)
