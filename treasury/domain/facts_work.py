"""Facts about jobs, placements, leases and work: see `events`.

Instants and durations are ns, money micro-USD, rates nano-USD/h.
"""

import msgspec

from treasury.domain.budget import Mode
from treasury.domain.ids import (
    JobId,
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
    Token,
)
from treasury.domain.job import JobSpec
from treasury.domain.plan import Why


class JobApproved(msgspec.Struct, frozen=True, tag="job_approved"):
    """A person said yes to a job."""

    job: JobId
    by: str


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


class LeaseMissing(msgspec.Struct, frozen=True, tag="lease_missing"):
    """A machine we hold is not listed since an instant [ns]; 0: it is listed again."""

    lease: LeaseId
    since: int


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


class ProviderDrained(msgspec.Struct, frozen=True, tag="provider_drained"):
    """Nothing new is taken at a provider any more, or it is again."""

    provider: ProviderName
    drained: bool
    by: str


class CountersRaised(msgspec.Struct, frozen=True, tag="counters_raised"):
    """The next placement and the next lease come after these."""

    placement: PlacementId
    lease: LeaseId
    by: str


class ConductChanged(msgspec.Struct, frozen=True, tag="conduct_changed"):
    """How plans are treated from now on."""

    conduct: Mode
    by: str


class ActionRecommended(msgspec.Struct, frozen=True, tag="action_recommended"):
    """What would have been done, had plans been carried out: the action in words."""

    job: JobId
    action: str
    offer: OfferId | None = None
    bid: int = 0


class DeadlineMissed(msgspec.Struct, frozen=True, tag="deadline_missed"):
    """A job's deadline passed while it was not finished. It goes on."""

    job: JobId
    at: int
