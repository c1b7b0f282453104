"""The daemon: everything of this room put together, from the first breath to the last.

    stand by -> replay -> list every provider -> take up the outbox -> turn, until told to stop

Start-up is recovery; there is no other path. The first part that fails ends the process, and the
next start recovers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from treasury.domain.budget import Mode
from treasury.domain.errors import ConfigError, StoreError
from treasury.domain.events import SetConduct
from treasury.domain.ids import LeaseId, ProviderName
from treasury.domain.plan import Approved
from treasury.domain.time import MINUTE, SECOND
from treasury.engine import Book, replay
from treasury.ports import Provider, Runner, Store
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import Host
from treasury.runtime.crew import Crew
from treasury.runtime.dispatch import RUNNER, Dispatcher
from treasury.runtime.feeds import Feed
from treasury.runtime.launches import Launches
from treasury.runtime.leadership import TTL, Leadership
from treasury.runtime.listing import CALM, Listing
from treasury.runtime.observer import Observer
from treasury.runtime.outbox import Outbox
from treasury.runtime.pacing import Gate
from treasury.runtime.planner import Planner
from treasury.runtime.reload import Reloader, Wanted, configure
from treasury.runtime.skew import SkewWatch, skew_of
from treasury.runtime.teaching import MEMORY, Teacher

# A runner's calls are our own broker's business.
_RUNNER_CALLS: Final = 60_000
_GRACE_LOOK: Final = SECOND // 5


class Part(Protocol):
    """Something that lives as long as the daemon: a bus, a web server."""

    async def run(self) -> None:
        """Until cancelled; what it raises ends the daemon."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a daemon behaves; durations in ns.

    plan_limit: the longest a strategy may think. quiet_after: a stream of quotes silent for longer
    is opened anew. lease_ttl: of the leader's lease. grace: how long calls under way may finish
    when it is told to stop. adopt: believe the first listing of each provider, whatever it says.
    conduct: how plans are treated, until somebody decides otherwise. memory: how far back a new
    strategy is asked again what was asked before, so that it knows what an earlier one knew.
    launches: machines that may be asked for an hour, restarts included; 0 for any number.
    """

    plan_limit: int = MINUTE
    quiet_after: int = 10 * MINUTE
    lease_ttl: int = TTL
    grace: int = 10 * SECOND
    adopt: bool = False
    conduct: Mode = Mode.ENFORCE
    memory: int = MEMORY
    launches: int = 0


def _nobody() -> str:
    return ""


class Daemon:
    """One process that leads, or stands by. Make it on the loop.

    make_runner: called once with the agent. lead: takes or renews the lease, blocking, None where
    there is nobody to share the database with. read, fingerprint: see `Reloader`. standby: lives
    while another one leads. parts: called once when the daemon leads and its book is whole. ready:
    set when everything runs. notify: told "READY=1", "STOPPING=1" and, every `watchdog` ns,
    "WATCHDOG=1".

    After `ready`: agent, dispatcher, planner, reloader, and listings and feeds by provider.
    """

    agent: Agent
    dispatcher: Dispatcher
    planner: Planner
    reloader: Reloader

    def __init__(
        self,
        host: Host,
        store: Store,
        wanted: Wanted,
        providers: Mapping[ProviderName, Provider],
        make_runner: Callable[[Agent], Runner],
        *,
        options: Options | None = None,
        observer: Observer | None = None,
        lead: Callable[[], bool] | None = None,
        leader: Callable[[], str] = _nobody,
        read: Callable[[], Wanted] | None = None,
        fingerprint: Callable[[], object] | None = None,
        standby: Part | None = None,
        parts: Callable[["Daemon"], Sequence[Part]] | None = None,
        notify: Callable[[str], None] | None = None,
        watchdog: int = 0,
    ) -> None:
        self.host, self.store, self.providers = host, store, providers
        self.options, self.observer = options or Options(), observer or Observer()
        self.listings: dict[ProviderName, Listing] = {}
        self.feeds: dict[ProviderName, Feed] = {}
        self.ready = asyncio.Event()
        self.leadership = Leadership(
            lead, leader, host.clock, host.storage, self.observer, self.options.lease_ttl
        )
        self._wanted, self._make_runner = wanted, make_runner
        self._standby, self._parts = standby, parts
        self._read, self._fingerprint = read, fingerprint
        self._notify, self._watchdog = notify, watchdog
        self.launches = Launches(self.options.launches)
        self.skew = SkewWatch(host.clock, self.observer)
        self._crew = Crew()
        self._told = asyncio.Event()
        self._gates: dict[ProviderName, Gate] = {}
        self._outbox = Outbox(store, host.clock, host.storage)

    # --- from outside ----------------------------------------------------------------------------

    async def run(self) -> None:
        """From standing by to the end: returns when told to stop, raises what ended it otherwise.
        Closes providers and store, and with it the lease."""
        crew = self._crew
        try:
            crew.start(self._live(), "daemon")
            await crew.until(self._told)
            self._tell("STOPPING=1")
            await self._finish()
        finally:
            await crew.stop()
            for provider in self.providers.values():
                try:
                    await provider.close()
                except Exception as error:  # noqa: BLE001 - the next one has to be closed, too
                    self.observer.broke(f"closing {provider.name}", error)
            await self.host.storage.run(self.store.close)

    def stop(self) -> None:
        """Ask for no more machines, let calls under way finish, end. Paid work goes on."""
        self._told.set()

    async def reload(self) -> tuple[str, ...]:
        """Take the configuration as it is now: see `Reloader.reload`."""
        return await self.reloader.reload()

    def expect_end(self, lease: LeaseId) -> None:
        """A machine has said that it is about to end by itself: its market is asked soon."""
        held = self.agent.book.leases.get(lease)
        if held is not None and held.provider in self.listings:
            self.listings[held.provider].expect_end(lease)

    def status(self) -> dict[str, object]:
        """How it is: for people, health checks and `treasury doctor`. Ages in seconds."""
        now = self.host.clock.now()

        def age(instant: int | None) -> float | None:
            return None if instant is None else round((now - instant) / SECOND, 3)

        halted = {str(name): item.halted for name, item in self.listings.items() if item.halted}
        ready = self.ready.is_set()
        why = self._why_not(halted)
        return {
            "ready": not why,
            "why": why,
            "leads": self.leadership.holds(),
            "stopping": self._told.is_set(),
            "store": self.agent.fault if ready else "",
            "halted": halted,
            "turn": self.agent.book.seq if ready else 0,
            # How far the wall clock is ahead of the one that is followed.
            "clock_ahead": round(skew_of(self.host.clock) / SECOND, 3),
            "strategy_late": age(self.planner.late) if ready else None,
            "strategy_learns": ready and self.planner.learning,
            "providers": {
                str(name): {
                    "listed": age(self.listings[name].looked_at),
                    **{feed: age(at) for feed, at in sorted(self.feeds[name].heard.items())},
                }
                for name in self.feeds
            },
        }

    def _why_not(self, halted: dict[str, str]) -> str:
        """Why it is not ready; "" when it is."""
        if not self.ready.is_set():
            return "it does not lead, or its markets are not listed yet"
        if self.agent.fault:
            return f"the database takes no turns: {self.agent.fault}"
        if halted:
            return "; ".join(f"{name} is halted: {why}" for name, why in sorted(halted.items()))
        if self.skew.degraded:
            ahead = skew_of(self.host.clock) / SECOND
            return f"the clock is off by {ahead:.1f} s: no machines are asked for"
        return ""

    # --- life ------------------------------------------------------------------------------------

    async def _live(self) -> None:
        crew, host = self._crew, self.host
        await self._lead()
        crew.start(self.leadership.keep(), "leadership")
        book, left = await host.storage.run(partial(_recall, self.store, self.launches))
        self._check_held(book)
        agent = self.agent = Agent(book, self.store, host.clock, host.storage, self.observer)
        self._build(agent)
        agent.follow(self.launches.see)
        agent.follow(self.dispatcher.see)
        agent.follow(self.planner.see)
        crew.start(agent.run(), "agent")
        crew.start(self._outbox.run(), "outbox")
        if not book.seq and self.options.conduct is not Mode.ENFORCE:
            agent.put(SetConduct(self.options.conduct, "configuration"))
        await configure(agent, self._wanted)
        # What providers hold comes before what the book believes.
        await asyncio.gather(*[listing.look() for listing in self.listings.values()])
        self.dispatcher.recover(left)
        for name, listing in self.listings.items():
            crew.start(listing.run(), f"listing of {name}")
        for feed in self.feeds.values():
            feed.start(crew)
        crew.start(self.planner.run(), "planner")
        crew.start(self.skew.run(), "clock")
        if self._fingerprint is not None:
            crew.start(self.reloader.run(), "reload")
        for part in self._parts(self) if self._parts is not None else ():
            crew.start(part.run(), type(part).__name__)
        self.ready.set()
        self._tell("READY=1")
        if self._watchdog:
            crew.start(self._pat(), "watchdog")

    async def _lead(self) -> None:
        """Wait until this process leads."""
        waiting: list[asyncio.Task[None]] = []

        def wait() -> None:
            if self._standby is not None:
                waiting.append(self._crew.start(self._standby.run(), "standby"))

        await self.leadership.stand_by(wait)
        for task in waiting:
            task.cancel()
            # Its address is needed by what comes.
            await asyncio.wait([task])

    def _build(self, agent: Agent) -> None:
        """The parts that need the agent."""
        host, options, observer = self.host, self.options, self.observer
        clock, dice = host.clock, host.dice
        leads = self.leadership.holds
        self._gates[RUNNER] = Gate(clock, leads, leads, _RUNNER_CALLS, serial=False)
        for name, provider in self.providers.items():
            able = provider.capabilities
            may_act, may_launch = partial(self._may_act, name), partial(self._may_launch, name)
            self._gates[name] = Gate(
                clock, may_act, may_launch, able.calls_per_minute, serial=not able.honours_tokens
            )
        self.dispatcher = Dispatcher(
            agent,
            self.providers,
            self._gates,
            self._make_runner(agent),
            self._outbox,
            clock,
            dice,
            self._crew,
            observer,
        )
        self.dispatcher.poke = lambda name: self.listings[name].poke()
        self.dispatcher.fits_at = self.launches.fits_at
        for name, provider in self.providers.items():
            self.listings[name] = Listing(
                name, provider, agent, self.dispatcher, clock, observer, adopt=options.adopt
            )
            self.feeds[name] = Feed(
                name,
                provider,
                self._gates[name],
                agent,
                options.quiet_after,
                clock,
                dice,
                observer,
            )
        strategy = self._wanted.make_strategy()
        teacher = Teacher(self.store, clock, host.storage, host.planning, observer, options.memory)
        self.planner = Planner(
            agent, strategy, teacher, options.plan_limit, clock, dice, host.planning, observer
        )
        self.reloader = Reloader(
            self._wanted,
            self._read or (lambda: self._wanted),
            self._fingerprint or (lambda: None),
            agent,
            self.planner,
            clock,
            host.offload,
            observer,
        )

    def _may_act(self, name: ProviderName) -> bool:
        return self.leadership.holds() and not self.listings[name].halted

    def _may_launch(self, name: ProviderName) -> bool:
        """Machines are asked for only where it is known what there is: not before the first
        listing, and not while listings fail. Nor while nobody can say what time it is."""
        looked_at = self.listings[name].looked_at
        if self.skew.degraded:
            return False
        return looked_at is not None and self.host.clock.now() - looked_at < 5 * CALM

    def _check_held(self, book: Book) -> None:
        """Raise ConfigError when machines are held where the configuration knows nobody."""
        held: dict[str, int] = {}
        for lease in book.leases.values():
            if lease.provider not in self.providers:
                held[lease.provider] = held.get(lease.provider, 0) + 1
        for name, count in held.items():
            raise ConfigError(
                self._wanted.file,
                f"provider.{name}",
                f"is missing, and the journal says that {count} machines are held there: put it"
                " back, drain it and wait until they are gone",
            )

    async def _finish(self) -> None:
        """Let calls under way have their outcome committed, for as long as `grace`."""
        if not self.ready.is_set():
            return
        clock = self.host.clock
        self.dispatcher.closing = True
        until = clock.now() + self.options.grace
        while self.dispatcher.busy and clock.now() < until:
            await clock.sleep_until(min(until, clock.now() + _GRACE_LOOK))
        try:
            await self._outbox.flush()
        except StoreError as error:
            self.observer.broke("marking commands as delivered", error)

    async def _pat(self) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await self.host.clock.sleep_until(self.host.clock.now() + self._watchdog)

    def _tell(self, state: str) -> None:
        if self._notify is not None:
            self._notify(state)


def _recall(store: Store, launches: Launches) -> tuple[Book, list[tuple[int, int, Approved]]]:
    """The book, and what an earlier process left in the outbox; launches are counted on the way."""
    book = replay(launches.read(store.entries()))
    left: list[tuple[int, int, Approved]] = []
    for seq, index, approved in store.undelivered():
        if isinstance(approved, Approved):
            left.append((seq, index, approved))
    return book, left
