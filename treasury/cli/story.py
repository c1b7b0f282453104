"""One job's story, told from a journal's facts alone: what happened, where it ran, what it cost."""

from collections.abc import Iterable
from functools import singledispatchmethod

import msgspec

from treasury.domain import events as ev
from treasury.domain.budget import Budget
from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId
from treasury.domain.job import JobSpec
from treasury.domain.market import Offer, Quote
from treasury.domain.money import format_rate
from treasury.domain.time import format_duration, format_instant
from treasury.domain.turn import Entry


class Step(msgspec.Struct, frozen=True):
    """Something that happened to the job at an instant [ns]."""

    at: int
    what: str
    detail: str


class Stay(msgspec.Struct):
    """Machines that were asked for. Instants in ns, cost in micro-USD."""

    offer: OfferId
    machines: int
    asked_at: int
    granted_at: int | None = None
    ended_at: int | None = None
    outcome: str = ""
    charges: dict[LeaseId, int] = {}

    @property
    def cost(self) -> int:
        """What the machines cost so far."""
        return sum(self.charges.values())


class Market(msgspec.Struct):
    """What the journal knows of the market and the budgets at its end."""

    offers: dict[OfferId, Offer] = {}
    quotes: dict[OfferId, Quote] = {}
    quarantined: dict[OfferId, int] = {}
    budgets: tuple[Budget, ...] = ()


class Story:
    """A job's story as far as facts were told. `last` is the instant [ns] of the newest turn."""

    def __init__(self, job: JobId) -> None:
        self.job = job
        self.spec: JobSpec | None = None
        self.rejected = ""
        self.steps: list[Step] = []
        self.stays: dict[PlacementId, Stay] = {}
        self.market = Market()
        self.state = "queued"
        self.ended_at: int | None = None
        self.refusal: ev.ActionRefused | None = None
        self.lost = 0
        self.interruptions = 0
        self.migrations = 0
        self.last = 0
        self.known: set[str] = set()
        self._leases: dict[LeaseId, PlacementId] = {}

    @property
    def cost(self) -> int:
        """Micro-USD over all machines it ever had."""
        return sum(stay.cost for stay in self.stays.values())

    def read(self, entries: Iterable[Entry]) -> "Story":
        """Take turns in order."""
        for entry in entries:
            self.last = entry.at
            for fact in entry.facts:
                self._tell(fact)
        return self

    def _step(self, what: str, detail: str = "", at: int | None = None) -> None:
        step = Step(at=self.last if at is None else at, what=what, detail=detail)
        if not self.steps or (self.steps[-1].what, self.steps[-1].detail) != (what, detail):
            self.steps.append(step)

    @singledispatchmethod
    def _tell(self, fact: object) -> None:
        """Facts about other things are passed over."""

    @_tell.register
    def _(self, fact: ev.Configured) -> None:
        self.market.budgets = fact.budgets

    @_tell.register
    def _(self, fact: ev.OffersListed) -> None:
        self.market.offers.update({offer.id: offer for offer in fact.offers})

    @_tell.register
    def _(self, fact: ev.Quoted) -> None:
        self.market.quotes.update({quote.offer: quote for quote in fact.quotes})

    @_tell.register
    def _(self, fact: ev.OfferQuarantined) -> None:
        self.market.quarantined[fact.offer] = fact.until

    @_tell.register
    def _(self, fact: ev.JobQueued) -> None:
        self.known.add(fact.spec.id)
        if fact.spec.id == self.job:
            self.spec = fact.spec
            self._step("queued", f"{format_duration(fact.spec.work)} of work")

    @_tell.register
    def _(self, fact: ev.JobRejected) -> None:
        if fact.job == self.job:
            self.rejected = fact.why

    @_tell.register
    def _(self, fact: ev.JobWaits) -> None:
        if fact.job == self.job:
            self._step(f"waits ({fact.why.value})", fact.detail)

    @_tell.register
    def _(self, fact: ev.ActionRefused) -> None:
        if fact.job == self.job:
            self.refusal = fact
            self._step(f"refused ({fact.why.value})", fact.message)

    @_tell.register
    def _(self, fact: ev.RefusalTolerated) -> None:
        if fact.job == self.job:
            self._step(f"let through ({fact.why.value})", fact.message)

    @_tell.register
    def _(self, fact: ev.JobApproved) -> None:
        if fact.job == self.job:
            self._step("approved", f"by {fact.by}")

    @_tell.register
    def _(self, fact: ev.PlacementOpened) -> None:
        if fact.job != self.job:
            return
        stay = Stay(offer=fact.offer, machines=len(fact.leases), asked_at=fact.at)
        self.stays[fact.placement] = stay
        self._leases.update(dict.fromkeys(fact.leases, fact.placement))
        if not fact.migration:
            self.state, self.refusal = "acquiring", None
        verb = "moves to" if fact.migration else "asks for"
        bid = format_rate(fact.bid)
        self._step(verb, f"{stay.machines} x {fact.offer}, at most {bid} each", fact.at)

    @_tell.register
    def _(self, fact: ev.LeasesGranted) -> None:
        stay = self.stays.get(fact.placement)
        if stay is not None:
            stay.granted_at = fact.at
            self._step("granted", f"{stay.offer} at {format_rate(fact.rate)} each", fact.at)

    @_tell.register
    def _(self, fact: ev.LeasesDeclined) -> None:
        stay = self.stays.get(fact.placement)
        if stay is not None:
            stay.outcome, stay.ended_at = fact.error, fact.at
            self._step("declined", f"{stay.offer}: {fact.error}", fact.at)

    @_tell.register
    def _(self, fact: ev.LeasesUnresolved) -> None:
        if fact.placement in self.stays:
            self._step("unresolved", "whether the machines were granted is not known", fact.at)

    @_tell.register
    def _(self, fact: ev.LeaseNoticed) -> None:
        if fact.lease in self._leases:
            text = f"the market takes a machine at {format_instant(fact.ends_at)}"
            self._step("notice", text, fact.at)

    @_tell.register
    def _(self, fact: ev.LeaseEnded) -> None:
        stay = self._stay_of(fact.lease)
        if stay is None:
            return
        stay.ended_at = fact.at
        if fact.lost:
            stay.outcome = fact.cause
            self._step("machine lost", f"{stay.offer}: {fact.cause}", fact.at)

    @_tell.register
    def _(self, fact: ev.LeaseMetered) -> None:
        stay = self._stay_of(fact.lease)
        if stay is not None:
            stay.charges[fact.lease] = fact.charge

    @_tell.register
    def _(self, fact: ev.WorkStarting) -> None:
        if fact.job == self.job:
            self.state = "starting"
            text = f"useful from {format_instant(fact.useful_from)}"
            self._step("starts", text, fact.at)

    @_tell.register
    def _(self, fact: ev.WorkRunning) -> None:
        if fact.job == self.job:
            self.state = "running"
            self._step("runs", f"on {self.stays[fact.placement].offer}", fact.at)

    @_tell.register
    def _(self, fact: ev.WorkStopping) -> None:
        if fact.job == self.job:
            self.state = "stopping"
            self._step("stops", fact.cause)

    @_tell.register
    def _(self, fact: ev.PlacementClosed) -> None:
        stay = self.stays.get(fact.placement)
        if stay is not None:
            stay.outcome = stay.outcome or fact.cause

    @_tell.register
    def _(self, fact: ev.MigrationFinished) -> None:
        if fact.job == self.job:
            self.migrations += 1
            self._step("migrated", f"to {self.stays[fact.placement].offer}", fact.at)

    @_tell.register
    def _(self, fact: ev.JobRequeued) -> None:
        if fact.job != self.job:
            return
        self.state = "queued"
        self.lost += fact.lost
        if fact.cause == "interrupted":
            self.interruptions += 1
        done, lost = format_duration(fact.work_done), format_duration(fact.lost)
        self._step("queued again", f"{fact.cause}: {done} done, {lost} lost", fact.at)

    @_tell.register
    def _(self, fact: ev.DeadlineMissed) -> None:
        if fact.job == self.job:
            self._step("deadline missed", at=fact.at)

    @_tell.register
    def _(self, fact: ev.JobEnded) -> None:
        if fact.job == self.job:
            self.state, self.ended_at = fact.state, fact.at
            self._step(fact.state, fact.detail, fact.at)

    def _stay_of(self, lease: LeaseId) -> Stay | None:
        placement = self._leases.get(lease)
        return None if placement is None else self.stays[placement]
