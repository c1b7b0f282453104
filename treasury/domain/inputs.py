"""Inputs: what somebody claims has happened. `engine.step` checks them and emits facts.

Instants and durations are ns, money micro-USD, rates nano-USD/h.
"""

import msgspec

from treasury.domain.bill import BillPart
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
from treasury.domain.job import JobSpec
from treasury.domain.market import Offer, Quote
from treasury.domain.plan import Plan
from treasury.domain.settings import EngineSettings


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


class MachineSilent(msgspec.Struct, frozen=True, tag="machine_silent"):
    """A machine has not been heard of for too long: it may live, but nothing can be asked of it."""

    lease: LeaseId
    at: int


class MachineReleased(msgspec.Struct, frozen=True, tag="machine_released"):
    """A machine was given back; billing ended at `at`. machine: the provider's name for it, where
    it is known: a lease's second machine may go without the first."""

    lease: LeaseId
    at: int
    machine: str = ""


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
    """A provider's word about a machine that carries our tag.

    rate: what it costs now [nano-USD/h], 0 where the listing does not say. ready: it has booted,
    where the provider knows (elsewhere the machine itself reports). ended_at: billing ended then
    [ns], where gone machines stay listed for a while; cause: why it ended, in our words.
    """

    lease: LeaseId
    placement: PlacementId
    machine: str
    granted_at: int
    rate: int
    token: Token
    ready: bool = False
    ended_at: int | None = None
    cause: str = ""


class SeeLeases(msgspec.Struct, frozen=True, tag="see_leases"):
    """A provider's complete listing of what carries our tag, as of `at`."""

    provider: ProviderName
    leases: tuple[LeaseSeen, ...]
    at: int


class ChangeBudget(msgspec.Struct, frozen=True, tag="change_budget"):
    """Somebody gives a cost centre `amount` [micro-USD] more for this period: out of nothing, or,
    with `source`, out of what another centre has left. A negative amount without source takes
    back."""

    cost_centre: CostCentre
    amount: int
    by: str
    source: CostCentre | None = None


class FreezeBudget(msgspec.Struct, frozen=True, tag="freeze_budget"):
    """Somebody stops a cost centre from taking machines, or lets it again."""

    cost_centre: CostCentre
    frozen: bool
    by: str


class ApproveJob(msgspec.Struct, frozen=True, tag="approve_job"):
    """Somebody says yes to a job that is expected to cost much."""

    job: JobId
    by: str


class PreemptJob(msgspec.Struct, frozen=True, tag="preempt_job"):
    """Somebody wants a job stopped at a checkpoint and back in the queue."""

    job: JobId
    by: str


class MoveJob(msgspec.Struct, frozen=True, tag="move_job"):
    """Somebody wants a job on an offer: a queued one is placed there, a running one migrated.
    bid: the most we pay per machine [nano-USD/h]."""

    job: JobId
    offer: OfferId
    bid: int
    by: str


class DrainProvider(msgspec.Struct, frozen=True, tag="drain_provider"):
    """Somebody wants a provider left: nothing new is taken there and jobs leave at a checkpoint;
    or has it back."""

    provider: ProviderName
    drained: bool
    by: str


class RaiseCounters(msgspec.Struct, frozen=True, tag="raise_counters"):
    """Numbers up to these were given out by a journal that is lost: they are not given out again,
    since machines and request tokens carry them."""

    placement: PlacementId
    lease: LeaseId
    by: str


class SetConduct(msgspec.Struct, frozen=True, tag="set_conduct"):
    """Somebody decides how plans are treated: carried out (ENFORCE), only written down
    (RECOMMEND), or not made at all (OBSERVE). Running work goes on, and is metered, in each."""

    conduct: Mode
    by: str


class BookBill(msgspec.Struct, frozen=True, tag="book_bill"):
    """Somebody holds a provider's bill against the books. number: parts booked so far plus one; a
    part with another number was worked out against other books and is not taken."""

    number: int
    part: BillPart
    by: str


class Propose(msgspec.Struct, frozen=True, tag="propose"):
    """A strategy's plan came back."""

    plan: Plan


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Nothing happened, but the instant a turn asked for has come."""
