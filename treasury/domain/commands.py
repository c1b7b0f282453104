"""Commands: requests to the world. They leave only after the turn that wrote them is committed."""

import msgspec

from treasury.domain.ids import JobId, LeaseId, OfferId, PlacementId, ProviderName, Token
from treasury.domain.task import Task


class Acquire(msgspec.Struct, frozen=True, tag="acquire"):
    """Ask a provider for `len(leases)` machines of an offer, all or nothing.

    bid: most we pay per machine [nano-USD/h]; markets without bids ignore it.
    """

    provider: ProviderName
    offer: OfferId
    placement: PlacementId
    leases: tuple[LeaseId, ...]
    bid: int
    token: Token


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Give a machine back. Idempotent: already gone is success.

    machine: the provider's name for it, so that a listing that lags cannot hide it; empty where
    the book does not know one.
    """

    provider: ProviderName
    lease: LeaseId
    machine: str = ""


class ChangeBid(msgspec.Struct, frozen=True, tag="change_bid"):
    """Change the most we pay [nano-USD/h] for a machine, where the market takes bids."""

    provider: ProviderName
    lease: LeaseId
    bid: int
    machine: str = ""


class StartWork(msgspec.Struct, frozen=True, tag="start_work"):
    """Start a job on ready machines, from a checkpoint at `work_done` [reference ns].

    task: what to run; None where the machines belong to a pretend world.
    """

    provider: ProviderName
    job: JobId
    placement: PlacementId
    leases: tuple[LeaseId, ...]
    work_done: int
    task: Task | None = None


class StopWork(msgspec.Struct, frozen=True, tag="stop_work"):
    """Checkpoint a job and stop it on its machines."""

    provider: ProviderName
    job: JobId
    placement: PlacementId
    leases: tuple[LeaseId, ...] = ()


Command = Acquire | Release | ChangeBid | StartWork | StopWork
