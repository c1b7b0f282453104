"""Events: inputs from the world, and facts, which are the only things that change the book.

Inputs say what somebody claims; `engine.step` checks them and emits facts. Facts hold everything
`engine.reduce` needs, so that the journal alone rebuilds the book. Instants and durations are ns.
"""

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.ids import (
    CostCentre,
    JobId,
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
    Token,
)
from treasury.domain.job import JobSpec
from treasury.domain.market import Offer, Quote
from treasury.domain.plan import Plan, Why
from treasury.domain.settings import EngineSettings

# --- inputs -------------------------------------------------------------------------------------


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Settings and budgets as read from the configuration."""

    settings: EngineSettings
    budgets: tuple[Budget, ...]


class ListOffers(msgspec.Struct, frozen=True, tag="list_offers"):
    """A provider's catalogue: everything it sells, even what is out of stock."""

    provider: ProviderName
    offers: tuple[Offer, ...]


class SeeQuotes(msgspec.Struct, frozen=True, tag="see_quotes"):
    """Quotes of one batch, at most one an offer."""

    quotes: tuple[Quote, ...]


class SubmitJob(msgspec.Struct, frozen=True, tag="submit_job"):
    """Somebody wants a job run."""

    spec: JobSpec


class CancelJob(msgspec.Struct, frozen=True, tag="cancel_job"):
    """Somebody does not want it any more."""

    job: JobId


class AcquireGranted(msgspec.Struct, frozen=True, tag="acquire_granted"):
    """The provider granted all machines of a request. machines: its names for them, in lease
    order."""

    token: Token
    placement: PlacementId
    machines: tuple[str, ...]
    at: int
    rate: int


class AcquireDeclined(msgspec.Struct, frozen=True, tag="acquire_declined"):
    """It did not happen. error: the class name in `errors`; until: asking before is useless."""

    placement: PlacementId
    error: str
    at: int
    until: int | None = None


class AcquireUnknown(msgspec.Struct, frozen=True, tag="acquire_unknown"):
    """It may have happened: the holds stay until reconciliation knows."""

    placement: PlacementId
    at: int


class MachineReady(msgspec.Struct, frozen=True, tag="machine_ready"):
    """A granted machine has booted."""

    lease: LeaseId
    at: int


class MachineNoticed(msgspec.Struct, frozen=True, tag="machine_noticed"):
    """The market warns that it takes the machine at `ends_at`."""

    lease: LeaseId
    at: int
    ends_at: int


class MachineLost(msgspec.Struct, frozen=True, tag="machine_lost"):
    """The provider granted all machines of a request; their names are in lease order."""

    lease: LeaseId
    at: int
    cause: str
    work_done: int | None = None


class MachineReleased(msgspec.Struct, frozen=True, tag="machine_released"):
    """A machine was given back; billing ended at `at`."""

    lease: LeaseId
    at: int


class WorkBegan(msgspec.Struct, frozen=True, tag="work_began"):
    """First useful step of a placement (the first heartbeat after its start overhead)."""

    job: JobId
    placement: PlacementId
    at: int


class WorkSaved(msgspec.Struct, frozen=True, tag="work_saved"):
    """A checkpoint was written without stopping. work_done in reference ns."""

    job: JobId
    placement: PlacementId
    at: int
    work_done: int


class WorkStopped(msgspec.Struct, frozen=True, tag="work_stopped"):
    """The job stopped at a checkpoint, as we asked. work_done in reference ns."""

    job: JobId
    placement: PlacementId
    at: int
    work_done: int


class WorkEnded(msgspec.Struct, frozen=True, tag="work_ended"):
    """The job came to its own end: finished, or failed with `error`."""

    job: JobId
    placement: PlacementId
    at: int
    error: str = ""


class LeaseSeen(msgspec.Struct, frozen=True):
    """A provider's word about a machine that carries our tag."""

    lease: LeaseId
    placement: PlacementId
    machine: str
    granted_at: int
    rate: int
    token: Token


class SeeLeases(msgspec.Struct, frozen=True, tag="see_leases"):
    """A provider's complete listing of what carries our tag, as of `at`."""

    provider: ProviderName
    leases: tuple[LeaseSeen, ...]
    at: int


class Propose(msgspec.Struct, frozen=True, tag="propose"):
    """A strategy's plan came back."""

    plan: Plan


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Nothing happened, but the instant a turn asked for has come."""


Input = (
    Configure
    | ListOffers
    | SeeQuotes
    | SubmitJob
    | CancelJob
    | AcquireGranted
    | AcquireDeclined
    | AcquireUnknown
    | MachineReady
    | MachineNoticed
    | MachineLost
    | MachineReleased
    | WorkBegan
    | WorkSaved
    | WorkStopped
    | WorkEnded
    | SeeLeases
    | Propose
    | Wake
)

# --- facts --------------------------------------------------------------------------------------


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """The engine's settings and budgets from here on."""

    settings: EngineSettings
    budgets: tuple[Budget, ...]


class PeriodOpened(msgspec.Struct, frozen=True, tag="period_opened"):
    """A budget's period [start, end) began; the turn's transfers fund it.

    base: credits its account had posted by then [micro-USD]; what comes on top is this period's
    spending.
    """

    cost_centre: CostCentre
    start: int
    end: int
    base: int


class OffersListed(msgspec.Struct, frozen=True, tag="offers_listed"):
    """A provider's catalogue was taken into the book."""

    provider: ProviderName
    offers: tuple[Offer, ...]


class Quoted(msgspec.Struct, frozen=True, tag="quoted"):
    """Quotes were believed."""

    quotes: tuple[Quote, ...]


class QuoteRejected(msgspec.Struct, frozen=True, tag="quote_rejected"):
    """A quote was not believed, and why."""

    offer: OfferId
    rate: int
    why: str


class OfferQuarantined(msgspec.Struct, frozen=True, tag="offer_quarantined"):
    """An offer is left alone until an instant."""

    offer: OfferId
    until: int
    error: str


class JobQueued(msgspec.Struct, frozen=True, tag="job_queued"):
    """A job was taken into the queue."""

    spec: JobSpec


class JobRejected(msgspec.Struct, frozen=True, tag="job_rejected"):
    """A submission was not taken, and why; the job is not in the book."""

    job: JobId
    why: str


class JobWaits(msgspec.Struct, frozen=True, tag="job_waits"):
    """Why a queued job is not placed (written when the reason changes)."""

    job: JobId
    why: Why
    detail: str
    offer: OfferId | None = None


class PlanRequested(msgspec.Struct, frozen=True, tag="plan_requested"):
    """A strategy is to be asked about snapshot `version`."""

    version: int


class PlanTaken(msgspec.Struct, frozen=True, tag="plan_taken"):
    """A plan came back: how many of its actions were let through and how many refused."""

    version: int
    approved: int
    refused: int
    review_at: int | None


class PlacementOpened(msgspec.Struct, frozen=True, tag="placement_opened"):
    """Machines are being acquired for a job; `migration` when it runs elsewhere meanwhile.

    holds: for each lease the open hold of each level, in the order of the levels.
    """

    placement: PlacementId
    job: JobId
    offer: OfferId
    leases: tuple[LeaseId, ...]
    bid: int
    token: Token
    at: int
    migration: bool
    holds: tuple[tuple[int, ...], ...]


class LeasesGranted(msgspec.Struct, frozen=True, tag="leases_granted"):
    """All machines of a placement were granted; billing began at `at` with `rate`."""

    placement: PlacementId
    machines: tuple[str, ...]
    at: int
    rate: int


class LeasesDeclined(msgspec.Struct, frozen=True, tag="leases_declined"):
    """No machine of a placement was granted."""

    placement: PlacementId
    error: str
    at: int


class LeasesUnresolved(msgspec.Struct, frozen=True, tag="leases_unresolved"):
    """Whether the machines were granted is not known."""

    placement: PlacementId
    at: int


class LeaseReady(msgspec.Struct, frozen=True, tag="lease_ready"):
    """A machine can be used."""

    lease: LeaseId
    at: int


class LeaseNoticed(msgspec.Struct, frozen=True, tag="lease_noticed"):
    """A machine will be taken at `ends_at`."""

    lease: LeaseId
    at: int
    ends_at: int


class LeaseReleasing(msgspec.Struct, frozen=True, tag="lease_releasing"):
    """We are giving a machine back, and why."""

    lease: LeaseId
    cause: str


class LeaseEnded(msgspec.Struct, frozen=True, tag="lease_ended"):
    """A machine is gone: `released` by us or `lost` to them; cause in a word."""

    lease: LeaseId
    at: int
    lost: bool
    cause: str


class LeaseMetered(msgspec.Struct, frozen=True, tag="lease_metered"):
    """The charge so far [micro-USD] recomputed from the grant up to `until`; the turn's transfers
    post the difference. accrued: the exact sum of rate x time [nano-USD/h x ns] behind it."""

    lease: LeaseId
    until: int
    accrued: int
    charge: int
    rate: int
    holds: tuple[int, ...]


class BidChanged(msgspec.Struct, frozen=True, tag="bid_changed"):
    """The most we pay per machine of a placement changed."""

    placement: PlacementId
    bid: int


class WorkStarting(msgspec.Struct, frozen=True, tag="work_starting"):
    """A job is being started on its machines; useful work is expected from `useful_from`."""

    job: JobId
    placement: PlacementId
    at: int
    useful_from: int


class WorkRunning(msgspec.Struct, frozen=True, tag="work_running"):
    """A job does useful work."""

    job: JobId
    placement: PlacementId
    at: int


class WorkCheckpointed(msgspec.Struct, frozen=True, tag="work_checkpointed"):
    """A durable point at `work_done` [reference ns]."""

    job: JobId
    at: int
    work_done: int


class WorkStopping(msgspec.Struct, frozen=True, tag="work_stopping"):
    """A job is being stopped at a checkpoint, and why."""

    job: JobId
    placement: PlacementId
    cause: str


class SwitchPlanned(msgspec.Struct, frozen=True, tag="switch_planned"):
    """A job that is being stopped is to be placed elsewhere at once."""

    job: JobId
    offer: OfferId
    bid: int


class PlacementClosed(msgspec.Struct, frozen=True, tag="placement_closed"):
    """A job is no longer bound to a placement's machines, and why."""

    placement: PlacementId
    job: JobId
    at: int
    cause: str


class MigrationFinished(msgspec.Struct, frozen=True, tag="migration_finished"):
    """A job now runs on its new placement; the old one is released after this."""

    job: JobId
    placement: PlacementId
    at: int
    work_done: int


class JobRequeued(msgspec.Struct, frozen=True, tag="job_requeued"):
    """A job is back in the queue with `work_done` [reference ns]; `lost` was done and is gone."""

    job: JobId
    at: int
    work_done: int
    lost: int
    cause: str


class JobEnded(msgspec.Struct, frozen=True, tag="job_ended"):
    """A job is over: state is `finished`, `failed` or `cancelled`."""

    job: JobId
    at: int
    state: str
    detail: str = ""


class DeadlineMissed(msgspec.Struct, frozen=True, tag="deadline_missed"):
    """A job's deadline passed while it was not finished. It goes on."""

    job: JobId
    at: int


class ActionRefused(msgspec.Struct, frozen=True, tag="action_refused"):
    """The guard refused an action: budget, level and amounts in micro-USD."""

    job: JobId
    why: Why
    message: str
    cost_centre: CostCentre | None
    limit: int
    held: int
    spent: int
    asked: int
    fits_at: int | None


class Discrepancy(msgspec.Struct, frozen=True, tag="discrepancy"):
    """The world and the book disagree about something; the text says what was done about it."""

    what: str


Fact = (
    Configured
    | PeriodOpened
    | OffersListed
    | Quoted
    | QuoteRejected
    | OfferQuarantined
    | JobQueued
    | JobRejected
    | JobWaits
    | PlanRequested
    | PlanTaken
    | PlacementOpened
    | LeasesGranted
    | LeasesDeclined
    | LeasesUnresolved
    | LeaseReady
    | LeaseNoticed
    | LeaseReleasing
    | LeaseEnded
    | LeaseMetered
    | BidChanged
    | WorkStarting
    | WorkRunning
    | WorkCheckpointed
    | WorkStopping
    | SwitchPlanned
    | PlacementClosed
    | MigrationFinished
    | JobRequeued
    | JobEnded
    | DeadlineMissed
    | ActionRefused
    | Discrepancy
)
