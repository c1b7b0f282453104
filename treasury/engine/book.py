"""The book: everything the agent knows, rebuilt bit for bit from its journal.

Records are mutable, but only `reduce` (facts) and the ledger (transfers) touch them. Jobs and
leases that are over leave the book: the journal remembers them, memory stays flat.
"""

import hashlib
from bisect import bisect_left, insort
from heapq import heappush
from typing import Any

import msgspec

from treasury.budget.levels import Level
from treasury.domain.budget import Budget, Mode
from treasury.domain.ids import (
    CostCentre,
    JobId,
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
    Token,
)
from treasury.domain.job import JobSpec, JobState
from treasury.domain.lease import LeaseState
from treasury.domain.market import Offer
from treasury.domain.plan import JobView, OfferView, PlacementView, Why
from treasury.domain.settings import EngineSettings
from treasury.domain.time import NEVER
from treasury.ledger.chart import limit, used, wallet
from treasury.ledger.ledger import Ledger


class OfferRecord(msgspec.Struct):
    """An offer with its last good quote (rate -1 before the first)."""

    offer: Offer
    rate: int = -1
    depth: int = -1
    observed_at: int = 0
    quarantined_until: int = 0
    in_use: int = 0


class LeaseRecord(msgspec.Struct):
    """A machine. accrued is the exact sum of rate x time [nano-USD/h x ns] up to `rated_until`;
    charge what has been posted [micro-USD]; holds the open hold of each level. missing_since: when
    the provider's listing first left it out, 0 while it is listed. unsure_from: until when it was
    paid ahead before a time in which nobody metered it, 0 once a listing shows it after that.
    ahead: how far the market's clock was ahead of ours at the grant [ns]: its instants less this
    are ours, so that no machine counts as granted in the future and runs unpaid until then."""

    id: LeaseId
    placement: PlacementId
    job: JobId
    offer: OfferId
    provider: ProviderName
    state: LeaseState
    bid: int
    machine: str = ""
    granted_at: int = 0
    rate: int = 0
    accrued: int = 0
    rated_until: int = 0
    charge: int = 0
    meter_at: int = NEVER
    holds: tuple[int, ...] = ()
    cause: str = ""
    missing_since: int = 0
    unsure_from: int = 0
    ahead: int = 0

    @property
    def held_from(self) -> int:
        """When it was granted [ns], by our own clock."""
        return self.granted_at - self.ahead


class PlacementRecord(msgspec.Struct):
    """A job bound to machines of one offer. `open` until the job no longer wants it; the record
    stays until its last machine is gone."""

    id: PlacementId
    job: JobId
    offer: OfferId
    cost_centre: CostCentre
    leases: tuple[LeaseId, ...]
    bid: int
    token: Token
    requested_at: int
    speed: int
    alive: int
    ready: int = 0
    useful_from: int | None = None
    open: bool = True


class JobRecord(msgspec.Struct):
    """An active job. placement: where it is or starts; successor: machines being acquired for a
    migration; previous: machines it came from, kept until its first useful step elsewhere. stop_by:
    when a job that is being stopped loses its machines."""

    spec: JobSpec
    state: JobState
    work_done: int = 0
    queued_at: int = 0
    cost: int = 0
    interruptions: int = 0
    missed: bool = False
    placement: PlacementId | None = None
    successor: PlacementId | None = None
    previous: PlacementId | None = None
    stop_cause: str = ""
    stop_by: int = NEVER
    switch: tuple[OfferId, int] | None = None
    waits: Why | None = None
    refusal: tuple[Why, CostCentre | None] | None = None
    tolerated: tuple[Why, ...] = ()
    approved: bool = False
    recommended: tuple[str, OfferId | None] | None = None
    failures: int = 0


class BudgetRecord(msgspec.Struct):
    """A budget in its present period. base: credits its account had posted when the period began,
    less what was moved out since. chain: its cost centre and all above, innermost first.
    children: those directly below. steps: what each step of a rolling window spent, oldest first.
    debts: lender to what is still owed to it [micro-USD]. account: the one whose counters say what
    this level spent, all below it included."""

    budget: Budget
    chain: tuple[CostCentre, ...]
    children: tuple[CostCentre, ...]
    account: str
    start: int = 0
    end: int = 0
    base: int = 0
    burn: int = 0
    day_end: int = 0
    day_base: int = 0
    granted: int = 0
    frozen: bool = False
    noticed: bool = False
    steps: tuple[int, ...] = ()
    debts: dict[CostCentre, int] = {}

    @property
    def parent(self) -> bool:
        """Whether other centres are below it, whose spending its limit counts."""
        return bool(self.children)


# (priority falling, submission, id): the queue's total order.
QueueKey = tuple[int, int, str]


def queue_key(spec: JobSpec) -> QueueKey:
    """Where a job stands in the queue."""
    return (-spec.priority, spec.submitted_at, spec.id)


class Book:
    """The agent's state. `digest()` names it; two books with the same journal have the same
    digest."""

    def __init__(self) -> None:
        self.seq = 0
        self.now = 0
        self.settings = EngineSettings()
        self.ledger = Ledger()
        self.budgets: dict[CostCentre, BudgetRecord] = {}
        self.lending = False
        self.offers: dict[OfferId, OfferRecord] = {}
        self.jobs: dict[JobId, JobRecord] = {}
        self.ended: dict[JobId, str] = {}
        self.placements: dict[PlacementId, PlacementRecord] = {}
        self.leases: dict[LeaseId, LeaseRecord] = {}
        self.last_placement = 0
        self.last_lease = 0
        self.bills = 0
        self.plan_version = 0
        self.plan_pending = False
        self.plan_at = NEVER
        self.conduct = Mode.ENFORCE
        self.drained: dict[ProviderName, None] = {}
        # Derived from the above, for speed; not part of the digest.
        self.order: list[QueueKey] = []
        self.routes_of: dict[CostCentre, list[tuple[str, str | None]]] = {}
        self.queued = 0
        self.by_offer: dict[OfferId, dict[LeaseId, None]] = {}
        self.timers: list[tuple[int, str, Any]] = []
        self.plan_timers: list[int] = []
        self.calendar: list[tuple[int, str, CostCentre]] = []
        self.job_views: dict[JobId, JobView] = {}
        self.offer_views: dict[OfferId, OfferView] = {}

    def digest(self) -> str:
        """Hexadecimal BLAKE2b of the state in canonical form."""
        ledger = self.ledger
        state = {
            "at": (self.seq, self.now, self.last_placement, self.last_lease, self.bills),
            "plan": (self.plan_version, self.plan_pending, self.plan_at),
            "orders": (self.conduct, sorted(self.drained)),
            "settings": self.settings,
            "accounts": ledger.accounts,
            "holds": sorted(ledger.holds.items()),
            "last_transfer": (ledger.last_id, sorted(ledger.undone.items())),
            "budgets": self.budgets,
            "offers": self.offers,
            "jobs": self.jobs,
            "ended": self.ended,
            "placements": sorted(self.placements.items()),
            "leases": sorted(self.leases.items()),
        }
        canonical = msgspec.json.encode(state, order="deterministic")
        return hashlib.blake2b(canonical, digest_size=32).hexdigest()

    # --- indexes ---------------------------------------------------------------------------------

    def enqueue(self, spec: JobSpec) -> None:
        """Put an active job into the total order."""
        insort(self.order, queue_key(spec))

    def dequeue(self, spec: JobSpec) -> None:
        """Take a job that is over out of the total order."""
        key = queue_key(spec)
        index = bisect_left(self.order, key)
        del self.order[index]

    def timer(self, at: int, kind: str, key: Any) -> None:
        """Remember to look at something at an instant; a timer that came to nothing is harmless."""
        if at < NEVER:
            heappush(self.timers, (at, kind, key))

    def grid(self, instant: int) -> int:
        """The first plan instant at or after one."""
        tick, origin = self.settings.tick, self.settings.origin
        return origin + -(-(instant - origin) // tick) * tick

    # --- budgets ---------------------------------------------------------------------------------

    def routes(self, cost_centre: CostCentre) -> list[tuple[str, str | None]]:
        """Accounts a payment of a cost centre is drawn from: its wallet (debit None: the expense
        of the provider at hand), then the limit of each level that has centres below it."""
        routes = self.routes_of.get(cost_centre)
        if routes is None:
            chain = self.budgets[cost_centre].chain
            routes = [(wallet(cost_centre), None)]
            routes.extend((limit(c), used(c)) for c in chain if self.budgets[c].parent)
            self.routes_of[cost_centre] = routes
        return routes

    def levels(self, cost_centre: CostCentre) -> list[Level]:
        """The budgets that must all agree, innermost first."""
        return [self.level(centre) for centre in self.budgets[cost_centre].chain]

    def level(self, cost_centre: CostCentre) -> Level:
        """One budget as it stands now."""
        record = self.budgets[cost_centre]
        account = self.ledger.account(record.account)
        budget = record.budget
        return Level(
            budget=budget,
            start=record.start,
            end=record.end,
            limit=budget.amount + record.granted,
            available=account.available,
            held=account.credit_pending,
            spent=sum(record.steps) + account.credit_posted - record.base,
            burn=record.burn,
            spent_today=account.credit_posted - record.day_base if budget.day_cap else 0,
            lendable=self.lendable(cost_centre) if self.lending else 0,
            frozen=record.frozen,
        )

    def lendable(self, cost_centre: CostCentre) -> int:
        """What a cost centre may still borrow from its siblings [micro-USD]: at most its `borrow`
        less its debts, and no more than they have beyond their reserves."""
        record = self.budgets[cost_centre]
        if record.children:
            return 0
        siblings = self.siblings(cost_centre)
        room = record.budget.borrow - sum(record.debts.values())
        lent = sum(self.owed(cost_centre, s) for s in siblings if self.budgets[s].debts)
        return lent if room <= 0 else lent + min(room, sum(map(self.spare, siblings)))

    def owed(self, lender: CostCentre, borrower: CostCentre) -> int:
        """What a lender could have back from a borrower now [micro-USD]."""
        debt = self.budgets[borrower].debts.get(lender, 0)
        return min(debt, self.ledger.available(wallet(borrower))) if debt else 0

    def siblings(self, cost_centre: CostCentre) -> list[CostCentre]:
        """The other centres under the same parent, in configuration order."""
        parent = self.budgets[cost_centre].budget.parent
        if parent is None:
            return []
        return [centre for centre in self.budgets[parent].children if centre != cost_centre]

    def spare(self, cost_centre: CostCentre) -> int:
        """What a cost centre could lend [micro-USD]: nothing while it is frozen or in debt."""
        record = self.budgets[cost_centre]
        if record.frozen or record.debts or record.children:
            return 0
        return max(0, self.ledger.available(wallet(cost_centre)) - record.budget.reserve)

    def held_for(self, job: JobRecord) -> int:
        """What is held for a job's machines at its own cost centre [micro-USD]."""
        holds = self.ledger.holds
        total = 0
        for placement_id in (job.placement, job.successor, job.previous):
            if placement_id is None:
                continue
            for lease_id in self.placements[placement_id].leases:
                lease = self.leases.get(lease_id)
                if lease is not None and lease.holds:
                    total += holds[lease.holds[0]].amount
        return total

    def funded_until(self, lease: LeaseRecord) -> int:
        """Until when [ns] the holds of a granted machine pay for it, a release's time kept back:
        whatever stops the machine by itself must do so by then."""
        return lease.rated_until + self.settings.horizon

    # --- views -----------------------------------------------------------------------------------

    def job_view(self, job: JobId) -> JobView:
        """A job as strategies see it; built once per change."""
        view = self.job_views.get(job)
        if view is None:
            record = self.jobs[job]
            placement = None
            if record.placement is not None:
                held = self.placements[record.placement]
                placement = PlacementView(
                    held.offer, held.bid, held.requested_at, held.useful_from, held.speed
                )
            view = self.job_views[job] = JobView(
                spec=record.spec,
                state=record.state,
                work_done=record.work_done,
                queued_at=record.queued_at,
                placement=placement,
                migrating=record.successor is not None or record.previous is not None,
                interruptions=record.interruptions,
            )
        return view

    def offer_view(self, offer: OfferId) -> OfferView:
        """An offer as strategies see it; built once per change."""
        view = self.offer_views.get(offer)
        if view is None:
            record = self.offers[offer]
            view = self.offer_views[offer] = OfferView(
                record.offer,
                record.rate,
                record.depth,
                record.in_use,
                record.observed_at,
                NEVER if record.offer.provider in self.drained else record.quarantined_until,
            )
        return view
