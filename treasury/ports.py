"""Every seam of the house on one page.

Clock     what time it is                     (runtime: the machine's; simulations: a heap's)
Dice      named random streams                (one stream a purpose, seeded)
Offload   run a slow function elsewhere       (runtime: a thread; simulations: at once)
Boot      what a fresh machine runs           (bus: the node agent's start)
Site      what an adapter is made with        (bootstrap)
Provider  a market that rents capacity        (treasury_providers, found by entry point)
Runner    starts and stops work on machines   (treasury_providers, found by entry point)
Strategy  what to do about a market           (treasury_strategies, found by entry point)
Store     durable journal, ledger and outbox  (treasury.store)
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar, runtime_checkable

from treasury.domain.commands import Acquire, ChangeBid, Release, StartWork, StopWork
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.ids import ProviderName
from treasury.domain.market import Capabilities, Offer, Quote
from treasury.domain.plan import Plan, Snapshot
from treasury.domain.turn import Entry

T = TypeVar("T")


class Clock(Protocol):
    """Time as integer nanoseconds UTC."""

    def now(self) -> int:
        """The present instant [ns]."""
        ...

    async def sleep_until(self, instant: int) -> None:
        """Return at `instant` [ns] or at once when it has passed."""
        ...


class Dice(Protocol):
    """Randomness by purpose: adding a purpose does not disturb the others."""

    def stream(self, purpose: str) -> Random:
        """The generator of one purpose, the same object each time."""
        ...


class Offload(Protocol):
    """Run a blocking function without blocking the loop."""

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or its exception."""
        ...


class Boot(Protocol):
    """What a fresh machine is to run: made by the shell, handed over by the adapter."""

    def __call__(self, request: Acquire, index: int, /) -> str:
        """A cloud-init user-data script for machine `index` of a request. It starts the node agent;
        nothing of it comes from a job. Under 8 KiB."""
        ...


class Site(Protocol):
    """What an adapter is made with besides its settings: `Adapter(settings, site)`."""

    name: ProviderName  # of its `[provider.NAME]`: two accounts of one market are two providers
    installation: str  # the owner tag's value: what carries another one is not ours
    clock: Clock
    dice: Dice
    offload: Offload
    boot: Boot
    state: Path  # a directory of its own on this host, for what must survive a restart


class Provider(Protocol):
    """A market. Raises only `ProviderError`s. Nothing raises NotImplementedError: what a market
    cannot do is a number in its capabilities.

    An entry point of `treasury.providers` names a class that is made with `(settings, site)`; its
    attribute `Settings` is the msgspec Struct of its configuration, and `Capabilities` may depend
    on them. Nothing is sent while it is made.
    """

    name: str
    capabilities: Capabilities

    async def offers(self) -> Sequence[Offer]:
        """The slow catalogue: everything sellable, even what is out of stock now."""
        ...

    def quotes(self) -> AsyncIterator[Quote]:
        """A stream of quotes; it may end or raise, and reconnecting is the shell's job."""
        ...

    def notices(self) -> AsyncIterator[MachineNoticed]:
        """A stream of interruption notices; it may be silent for ever."""
        ...

    async def acquire(self, request: Acquire) -> None:
        """Ask for machines, all or nothing. The token makes it idempotent where the capabilities
        say so; what was granted is seen in `leases()`. Raises Declined: it did not happen;
        Unreachable, Throttled: not sent; OutcomeUnknown: anything else, a time-out included."""
        ...

    async def release(self, request: Release) -> None:
        """Give a machine back. Already gone is success."""
        ...

    async def leases(self) -> Sequence[LeaseSeen]:
        """The provider's truth about everything that carries our tag: complete, or it raises."""
        ...

    async def rebid(self, request: ChangeBid) -> None:
        """Change a bid, where the market takes them."""
        ...

    async def close(self) -> None:
        """Release connections and threads; machines go on."""
        ...


class Runner(Protocol):
    """Starts and stops work on machines."""

    async def start(self, request: StartWork) -> None:
        """Start a job from its last checkpoint. Idempotent by placement."""
        ...

    async def stop(self, request: StopWork) -> None:
        """Checkpoint, then stop. Already stopped is success."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """What to do about a market. A pure function of the snapshot and of what it saw before;
    it may be wrong, slow or hostile: the guard judges each action again."""

    name: str

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan with a reason for every queued job it leaves out."""
        ...


class Store(Protocol):
    """Durable truth. One transaction a turn: journal, transfers, outbox together or not at all."""

    def append(self, entry: Entry) -> bytes:
        """Commit one turn; returns the journal's hash after it. Raises StoreError, writing
        nothing."""
        ...

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Committed turns with seq > `after`, in order, each checked against the hash chain."""
        ...

    def last(self) -> tuple[int, bytes]:
        """Sequence number and hash of the newest turn; (0, genesis) for an empty journal."""
        ...

    def undelivered(self) -> Iterator[tuple[int, int, object]]:
        """Outbox rows not yet marked delivered: (seq, index in the turn, Approved command)."""
        ...

    def delivered(self, seq: int, index: int) -> None:
        """Mark an outbox row as sent."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


__all__ = [
    "Boot",
    "Clock",
    "Dice",
    "Offload",
    "Provider",
    "Runner",
    "Site",
    "Store",
    "Strategy",
]
