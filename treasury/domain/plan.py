"""Deciding: what a strategy sees, what it proposes, and the guard's verdict as a type."""

from enum import Enum

import msgspec

from treasury.domain.commands import Command
from treasury.domain.ids import CostCentre, JobId, OfferId
from treasury.domain.job import REFERENCE_THROUGHPUT, JobSpec, JobState
from treasury.domain.market import Offer


class PlacementView(msgspec.Struct, frozen=True, gc=False):
    """A job bound to machines of one offer.

    bid: most we pay per machine [nano-USD/h]. requested_at, useful_from: instants [ns];
    `useful_from` is when useful work (re)started or will, None before the machines are ready.
    speed: thousandths of the reference throughput.
    """

    offer: OfferId
    bid: int
    requested_at: int
    useful_from: int | None
    speed: int


class JobView(msgspec.Struct, frozen=True):
    """A job as a strategy sees it. `work_done` [reference ns] counts up to the placement's
    `useful_from`; progress since then is `work_left`'s business."""

    spec: JobSpec
    state: JobState
    work_done: int
    queued_at: int
    placement: PlacementView | None = None
    migrating: bool = False
    interruptions: int = 0

    def work_left(self, now: int) -> int:
        """Reference ns of work left at an instant, by our own reckoning."""
        left = self.spec.work - self.work_done
        placement = self.placement
        if (
            placement is not None
            and placement.useful_from is not None
            and now > placement.useful_from
        ):
            left -= (now - placement.useful_from) * placement.speed // REFERENCE_THROUGHPUT
        return max(0, left)

    def overhead_left(self, now: int) -> int:
        """Start overhead [ns] still to be paid before work counts; 0 when running or unplaced."""
        placement = self.placement
        if placement is None:
            return 0
        if placement.useful_from is None:
            return self.spec.start_overhead
        return max(0, placement.useful_from - now)


class OfferView(msgspec.Struct, frozen=True, gc=False):
    """An offer as a strategy sees it.

    rate: last good quote [nano-USD/h per machine], -1 before the first. depth: machines we
    could hold there, those we hold included; -1 where the market does not say. in_use: machines
    we hold or asked for. quarantined_until: an instant [ns] before which we do not ask again.
    """

    offer: Offer
    rate: int
    depth: int
    in_use: int
    observed_at: int
    quarantined_until: int

    def free(self, now: int) -> int:
        """Machines that could be had now by what we know; a large number where nobody says."""
        if self.rate < 0 or now < self.quarantined_until:
            return 0
        return 1_000_000 if self.depth < 0 else max(0, self.depth - self.in_use)


class BudgetView(msgspec.Struct, frozen=True, gc=False):
    """A budget as a strategy sees it, in micro-USD; `available` is the least of all levels above.

    ceiling: most per GPU-hour [nano-USD], 0 for none. parent: the cost centre above, if any.
    """

    cost_centre: CostCentre
    limit: int
    available: int
    held: int
    spent: int
    ceiling: int = 0
    parent: CostCentre | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a strategy may look at: the present, never the future.

    jobs: active ones in queue order (priority falling, then submission, then id). offers: in id
    order. tick: the grid [ns] on which plans are made, counted from the Unix epoch or from
    `origin`.
    """

    version: int
    now: int
    jobs: tuple[JobView, ...]
    offers: tuple[OfferView, ...]
    budgets: dict[CostCentre, BudgetView]
    tick: int
    origin: int


class Place(msgspec.Struct, frozen=True, tag="place"):
    """Bind a queued job to machines of an offer; `bid` [nano-USD/h per machine] is the most we
    pay."""

    job: JobId
    offer: OfferId
    bid: int


class Migrate(msgspec.Struct, frozen=True, tag="migrate"):
    """Move a running job: acquire first, release after; any failure leaves it where it is."""

    job: JobId
    offer: OfferId
    bid: int


class Preempt(msgspec.Struct, frozen=True, tag="preempt"):
    """Stop a job at a checkpoint and put it back into the queue. A `Place` for the same job later
    in the plan makes it a switch: release first, acquire after."""

    job: JobId
    cause: str


class Rebid(msgspec.Struct, frozen=True, tag="rebid"):
    """Change the bid [nano-USD/h per machine] of a placed job where the market takes bids."""

    job: JobId
    bid: int


Action = Place | Migrate | Preempt | Rebid


class Why(Enum):
    """Why a job is not placed, or an action refused. The words of `treasury explain`."""

    NO_FIT = "no_fit"
    NO_CAPACITY = "no_capacity"
    TOO_DEAR = "too_dear"
    WAITS = "waits"
    OUTRANKED = "outranked"
    QUARANTINED = "quarantined"
    BUDGET = "budget"
    PACING = "pacing"
    RESERVE = "reserve"
    CEILING = "ceiling"
    WINDOW = "window"
    NOT_ALLOWED = "not_allowed"
    STALE = "stale"
    NOT_PAYING = "not_paying"
    SOLVER = "solver"
    FROZEN = "frozen"
    APPROVAL = "approval"


class LeftOut(msgspec.Struct, frozen=True):
    """A job a strategy did not place, why, and the offer that came nearest, if any."""

    job: JobId
    why: Why
    detail: str
    offer: OfferId | None = None


class Plan(msgspec.Struct, frozen=True):
    """A strategy's proposal for one snapshot version. Advice: the guard judges each action again.

    review_at: an instant [ns] at which to ask again even if nothing happens, None for never.
    """

    version: int
    actions: tuple[Action, ...]
    left_out: tuple[LeftOut, ...] = ()
    review_at: int | None = None


def is_plan(plan: object, version: int) -> bool:
    """Whether a strategy's answer has the types of a plan for a version, so that it can be judged
    and journalled. A hostile one may raise here."""
    if type(plan) is not Plan or plan.version != version:
        return False
    for action in plan.actions:
        if type(action) not in (Place, Migrate, Preempt, Rebid) or type(action.job) is not str:
            return False
        if isinstance(action, Place | Migrate) and type(action.offer) is not str:
            return False
        if not isinstance(action, Preempt) and type(action.bid) is not int:
            return False
    for item in plan.left_out:
        if type(item) is not LeftOut or type(item.job) is not str or type(item.why) is not Why:
            return False
        if type(item.detail) is not str or not isinstance(item.offer, str | None):
            return False
    return plan.review_at is None or type(plan.review_at) is int


class Approved(msgspec.Struct, frozen=True):
    """A command the guard let through. Only the guard makes these; a dispatcher takes nothing
    else."""

    command: Command


class Refused(msgspec.Struct, frozen=True):
    """The guard's refusal: which budget, at which level, and when it would fit.

    Money in micro-USD (`limit`, `held`, `spent`, `asked`); fits_at: an instant [ns] or None.
    """

    job: JobId
    why: Why
    message: str
    cost_centre: CostCentre | None = None
    limit: int = 0
    held: int = 0
    spent: int = 0
    asked: int = 0
    fits_at: int | None = None
