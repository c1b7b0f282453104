"""Commands to the world, after their commit: who is called, how often, and what it means.

    committed -> called -> outcome committed -> marked delivered

A command is dropped when the book no longer wants it. Commands for one placement's work, and for
one machine, keep their order; everything else goes on at once. What a request for machines did is
either known (granted: the listing tells; declined: it did not happen) or not, and then it is never
repeated: the holds stay until a listing shows the machines or their absence.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from treasury.domain.commands import Acquire, ChangeBid, Command, Release, StartWork, StopWork
from treasury.domain.errors import (
    Declined,
    LeaseUnknown,
    NotPermitted,
    OutcomeUnknown,
    ProviderError,
    QuotaReached,
    Throttled,
    Unreachable,
)
from treasury.domain.events import AcquireDeclined, AcquireUnknown
from treasury.domain.ids import LeaseId, PlacementId, ProviderName
from treasury.domain.job import JobState
from treasury.domain.lease import LeaseState
from treasury.domain.plan import Approved
from treasury.domain.time import MINUTE, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.ports import Clock, Dice, Provider, Runner
from treasury.runtime.agent import Agent
from treasury.runtime.crew import Crew
from treasury.runtime.observer import Observer
from treasury.runtime.outbox import Outbox
from treasury.runtime.pacing import Backoff, Gate

# One call, whatever the network does.
CALL_LIMIT: Final = MINUTE
# How long a request that was not sent, or not taken, is tried again.
ACQUIRE_LIMIT: Final = 2 * MINUTE
# After a request without an answer: how long until a listing proves that it did nothing, beyond
# twice the listing's own lag.
FOG: Final = 15 * SECOND
# A request with a token is repeated after a restart while it is younger than this.
REPEAT_AGE: Final = MINUTE
# Other commands are tried this often; what is still wanted then is sent again by whoever wants it.
TRIES: Final = 20
# The gate of the runner, beside those of the providers.
RUNNER: Final = ProviderName("")
_FIRST, _MOST = SECOND, 30 * SECOND

Key = tuple[str, int]
Row = tuple[int, int]


class Dispatcher:
    """Carries out what the guard approved, and nothing else.

    providers and gates: by name; the runner's gate is called RUNNER. poke: called when a provider's
    machines should be listed soon. fits_at: when [ns] the limit of launches an hour has room for a
    placement's machines; later than now: they are declined. closing: set when the daemon ends: no
    machine is asked for any more, and what was not sent stays in the outbox.
    """

    def __init__(
        self,
        agent: Agent,
        providers: Mapping[ProviderName, Provider],
        gates: Mapping[ProviderName, Gate],
        runner: Runner,
        outbox: Outbox,
        clock: Clock,
        dice: Dice,
        crew: Crew,
        observer: Observer,
    ) -> None:
        self.closing = False
        self.poke: Callable[[ProviderName], None] = lambda _provider: None
        self.fits_at: Callable[[PlacementId, int], int] = lambda _placement, now: now
        self._agent, self._providers, self._gates = agent, providers, gates
        self._runner, self._outbox, self._clock, self._crew = runner, outbox, clock, crew
        self._dice = dice.stream("dispatch")
        self._observer = observer
        self._lanes: dict[Key, deque[tuple[Row | None, Command]]] = {}
        self._calls = 0

    # --- in --------------------------------------------------------------------------------------

    def see(self, entry: Entry, _book: Book) -> None:
        """Carry out the commands of a committed turn."""
        for index, approved in enumerate(entry.commands):
            self.send((entry.seq, index), approved)

    def send(self, row: Row | None, approved: Approved) -> None:
        """Carry out a command; `row` is its place in the outbox, None where it has none."""
        command = approved.command
        key = _key(command)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque([(row, command)])
            self._crew.start(self._work(key), f"dispatch {key[0]} {key[1]}")
        elif isinstance(command, Release) and self.releasing(command.lease, command.machine):
            self._mark(row)
        else:
            lane.append((row, command))

    def recover(self, rows: Iterable[tuple[int, int, Approved]]) -> None:
        """Take up what an earlier process left: what may be repeated is; of the rest the outcome is
        not known."""
        for seq, index, approved in rows:
            command = approved.command
            if isinstance(command, Acquire) and not self._repeatable(command):
                self._unknown(command, (seq, index))
            else:
                self.send((seq, index), approved)

    def _repeatable(self, command: Acquire) -> bool:
        book = self._agent.book
        placement, offer = book.placements.get(command.placement), book.offers.get(command.offer)
        if placement is None or offer is None:
            # Nobody wants it any more: it will be dropped.
            return True
        young = self._clock.now() - placement.requested_at < REPEAT_AGE
        return young and offer.offer.capabilities.honours_tokens

    def releasing(self, lease: LeaseId, machine: str) -> bool:
        """Whether a machine is being given back at this moment."""
        lane = self._lanes.get(("lease", lease), ())
        return any(
            isinstance(command, Release) and command.machine == machine for _, command in lane
        )

    @property
    def busy(self) -> bool:
        """Whether a call to the world is under way."""
        return self._calls > 0

    def asking(self, placement: PlacementId) -> bool:
        """Whether a request for machines is under way or waits."""
        lane = self._lanes.get(("placement", placement), ())
        return any(isinstance(command, Acquire) for _, command in lane)

    # --- lanes -----------------------------------------------------------------------------------

    async def _work(self, key: Key) -> None:
        lane = self._lanes[key]
        while lane:
            row, command = lane[0]
            if isinstance(command, Acquire):
                await self._acquire(command, row)
            else:
                await self._insist(command)
                self._mark(row)
            lane.popleft()
        del self._lanes[key]

    def _mark(self, row: Row | None) -> None:
        if row is not None:
            self._outbox.delivered(row)

    async def _acquire(self, command: Acquire, row: Row | None) -> None:
        """Ask for machines until there is an answer, or it is too late for one."""
        clock, backoff = self._clock, Backoff(self._dice, _FIRST, _MOST)
        deadline = clock.now() + ACQUIRE_LIMIT
        while not self.closing:
            wanted = self._wanted(command)
            if not wanted:
                if wanted is None:
                    self._mark(row)
                else:
                    # Never sent, and nobody wants it any more; the offer is not to blame.
                    self._decline(command, row, Unreachable(until=clock.now()))
                return
            room = self.fits_at(command.placement, clock.now())
            if room > clock.now():
                limit = QuotaReached("our own limit of launches an hour is used up", until=room)
                self._observer.failed(command.provider, "acquire", limit)
                self._decline(command, row, limit)
                return
            failure = await self._ask(command, deadline)
            if failure is None:
                self._mark(row)
                self.poke(command.provider)
                return
            self._observer.failed(command.provider, "acquire", failure)
            if isinstance(failure, Declined):
                self._decline(command, row, failure)
                return
            if not isinstance(failure, Unreachable | Throttled):
                self._unknown(command, row)
                return
            again = max(clock.now() + backoff.next(), failure.until or 0)
            if again >= deadline:
                self._decline(command, row, failure)
                return
            await clock.sleep_until(again)

    async def _ask(self, command: Acquire, deadline: int) -> ProviderError | None:
        """One call: None where it was taken, else what that means."""
        clock, loop = self._clock, asyncio.get_running_loop()
        provider, gate = self._providers.get(command.provider), self._gates.get(command.provider)
        if provider is None or gate is None:
            return NotPermitted(f"no provider is called {command.provider}")
        sent, began = False, clock.now()
        try:
            async with asyncio.timeout((deadline - began) / SECOND) as limit, gate.launch():
                if self.closing or not self._wanted(command):
                    return Unreachable()
                sent, began = True, clock.now()
                limit.reschedule(loop.time() + CALL_LIMIT / SECOND)
                with self._call():
                    await provider.acquire(command)
        except ProviderError as error:
            return error
        except Exception as error:  # noqa: BLE001 - an adapter's surprise may have had an effect
            return OutcomeUnknown(repr(error)) if sent else Unreachable(repr(error))
        self._observer.called(command.provider, "acquire", clock.now() - began)
        return None

    def _wanted(self, command: Acquire) -> bool | None:
        """Whether machines are to be asked for; None where the request is settled already."""
        book = self._agent.book
        placement = book.placements.get(command.placement)
        lease = book.leases.get(command.leases[0])
        if placement is None or lease is None or lease.state is not LeaseState.REQUESTED:
            return None
        return placement.open and command.provider not in book.drained

    def _decline(self, command: Acquire, row: Row | None, why: ProviderError) -> None:
        now = self._clock.now()
        event = AcquireDeclined(command.placement, type(why).__name__, now, why.until)
        self._agent.put(event, partial(self._mark, row))

    def _unknown(self, command: Acquire, row: Row | None) -> None:
        now, gate = self._clock.now(), self._gates.get(command.provider)
        offer = self._agent.book.offers.get(command.offer)
        lag = 0 if offer is None else offer.offer.capabilities.listing_lag_ns
        provider = self._providers.get(command.provider)
        # Where a token makes a second request harmless, others need not wait for this one's end.
        foggy = provider is None or not provider.capabilities.honours_tokens
        if gate is not None and foggy:
            gate.fog = max(gate.fog, now + 2 * lag + FOG)
        self._agent.put(AcquireUnknown(command.placement, now), partial(self._mark, row))
        self.poke(command.provider)

    # --- commands that may be repeated -----------------------------------------------------------

    async def _insist(self, command: Command) -> None:
        """Send a command that does no harm twice until it succeeds or is not wanted any more."""
        clock, backoff = self._clock, Backoff(self._dice, _FIRST, _MOST)
        what = type(command).__name__.lower()
        gate = self._gates[command.provider if _of_market(command) else RUNNER]
        known = isinstance(command, Release) and command.lease in self._agent.book.leases
        for attempt in count():
            # A machine that is paid for is given back however long it takes: were it left to the
            # next listing, one market's broken listings would keep it.
            if attempt >= TRIES and not known:
                break
            if attempt and not self._current(command, known=known):
                return
            began = clock.now()
            try:
                async with gate.call(), asyncio.timeout(CALL_LIMIT / SECOND):
                    with self._call():
                        await self._carry_out(command)
            except LeaseUnknown as error:
                if isinstance(command, Release):
                    break
                failure: Exception = error
            except Declined as error:
                failure = error
                if isinstance(command, ChangeBid):
                    self._observer.failed(command.provider, what, error)
                    return
            except Exception as error:  # noqa: BLE001 - whatever it was, doing it again is safe
                failure = error
            else:
                self._observer.called(command.provider, what, clock.now() - began)
                break
            self._observer.failed(command.provider, what, failure)
            until = getattr(failure, "until", None) or 0
            await clock.sleep_until(max(clock.now() + backoff.next(), until))
        if isinstance(command, Release):
            self.poke(command.provider)

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _carry_out(self, command: Command) -> None:
        if isinstance(command, StartWork):
            await self._runner.start(command)
        elif isinstance(command, StopWork):
            await self._runner.stop(command)
        elif isinstance(command, Release):
            await self._providers[command.provider].release(command)
        elif isinstance(command, ChangeBid):
            await self._providers[command.provider].rebid(command)

    def _current(self, command: Command, *, known: bool) -> bool:
        """Whether a command is still wanted. known: the machine to be given back was in the book
        when the command came."""
        book = self._agent.book
        if isinstance(command, Release):
            return not known or command.lease in book.leases
        if isinstance(command, ChangeBid):
            lease = book.leases.get(command.lease)
            return lease is not None and lease.state in (LeaseState.GRANTED, LeaseState.READY)
        if isinstance(command, StartWork | StopWork):
            job = book.jobs.get(command.job)
            state = JobState.STARTING if isinstance(command, StartWork) else JobState.STOPPING
            return job is not None and job.placement == command.placement and job.state is state
        return False


def _of_market(command: Command) -> bool:
    return isinstance(command, Release | ChangeBid)


def _key(command: Command) -> Key:
    """What a command has to wait its turn for."""
    if isinstance(command, Release | ChangeBid):
        return "lease", command.lease
    return "placement", command.placement
