"""How fast the daemon's loop is, and what it costs: real threads, real SQLite, a market in memory.

quotes    how many quotes a second the loop takes in, and how late a fact is while they pour in
decision  from a price tick to the committed decision, the strategy's own time aside
metering  10,000 running machines, each metered every minute: share of one core
memory    growth of the process over a day's worth of turns

    PYTHONPATH=. python tests/benchmarks/daemon.py [quotes decision metering memory]
"""

import asyncio
import gc
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from treasury.domain.budget import Budget
from treasury.domain.events import (
    AcquireGranted,
    CancelJob,
    Configure,
    LeaseSeen,
    ListOffers,
    MachineNoticed,
    MachineReady,
    PlanTaken,
    Propose,
    SeeQuotes,
    SubmitJob,
    Wake,
    WorkBegan,
)
from treasury.domain.hardware import Shape
from treasury.domain.job import JobSpec, JobState, Requirement
from treasury.domain.market import Capabilities, Offer, Quote, Tenure, offer_id
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Plan, Snapshot
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book, snapshot, step
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import system_host
from treasury.runtime.daemon import Daemon
from treasury.runtime.observer import Observer
from treasury.runtime.reload import Wanted
from treasury.store import SqlStore
from treasury.telemetry.metrics import Metrics

QUOTES, QUOTE_SECONDS = 100_000, 5.0
JOBS, OFFERS, TICKS = 1_000, 200, 300
MACHINES = 10_000
TURNS = 20_000


def offers(count: int) -> tuple[Offer, ...]:
    """Spot pools of one provider."""
    able = Capabilities(floating=True)
    made = []
    for number in range(count):
        zone = f"z{number:03}"
        name = offer_id("aws", "us", zone, "p5", Tenure.SPOT)
        made.append(Offer(name, "aws", "us", zone, Shape("H100", 8, 80, "p5"), Tenure.SPOT, able))
    return tuple(made)


def job(number: int, at: int) -> JobSpec:
    """A job that any pool takes."""
    return JobSpec(
        id=f"job-{number}",
        cost_centre="lab",
        requirement=Requirement({"H100": 1_000}),
        work=1_000 * HOUR,
        submitted_at=at,
    )


class Market:
    """Offers and quotes as fast as they are taken; machines are held by nobody."""

    name = "aws"
    capabilities = Capabilities()

    def __init__(self, sold: tuple[Offer, ...], per_second: int) -> None:
        self.sold, self.per_second, self.said = sold, per_second, 0

    async def offers(self) -> Sequence[Offer]:
        return self.sold

    async def quotes(self) -> AsyncIterator[Quote]:
        began = time.perf_counter()
        while True:
            due = int((time.perf_counter() - began) * self.per_second)
            now = time.time_ns()
            while self.said < due:
                offer = self.sold[self.said % len(self.sold)]
                self.said += 1
                yield Quote(offer.id, NANO + self.said % 1_000, 8, now, now)
            await asyncio.sleep(0.002)

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        await asyncio.Event().wait()
        yield MachineNoticed(0, 0, 0)

    async def leases(self) -> Sequence[LeaseSeen]:
        return ()

    async def close(self) -> None:
        pass


class Patient:
    """A strategy that leaves all jobs out."""

    name = "patient"

    def propose(self, view: Snapshot) -> Plan:
        return Plan(view.version, ())


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def quotes(folder: Path) -> None:
    """Pour quotes in for a while and send a fact through now and then."""
    market = Market(offers(2_000), QUOTES)
    settings = EngineSettings(tick=SECOND)
    budgets = (Budget(cost_centre="lab", amount=10**6 * MICRO),)
    wanted = Wanted("bench", settings, budgets, "patient", Patient)
    store = SqlStore.open(folder / "quotes.db")
    daemon = Daemon(
        system_host(), store, wanted, {"aws": market}, lambda _agent: None, observer=Metrics()
    )
    running = asyncio.create_task(daemon.run())
    await daemon.ready.wait()
    await asyncio.sleep(1)
    said, turns, cpu, began = market.said, daemon.agent.book.seq, time.process_time(), time.time()
    late = []
    while time.time() - began < QUOTE_SECONDS:
        await asyncio.sleep(0.05)
        asked = time.perf_counter()
        await daemon.agent.submit(Wake())
        late.append(time.perf_counter() - asked)
    seconds = time.time() - began
    rate, cores = (market.said - said) / seconds, (time.process_time() - cpu) / seconds
    print(f"quotes     {rate:>10,.0f} a second taken in, {len(market.sold):,} offers")
    print(f"           {(daemon.agent.book.seq - turns) / seconds:>10,.1f} turns a second")
    print(f"           {100 * cores:>10,.0f} % of a core, the making of the quotes included")
    print(f"           {1e3 * percentile(late, 0.5):>10,.1f} ms p50, a fact's way to its commit")
    print(f"           {1e3 * percentile(late, 0.99):>10,.1f} ms p99")
    daemon.stop()
    await running


async def decision(folder: Path) -> None:
    """Ticks that each ask for a plan: 1,000 jobs and 200 offers, the plan's own time left out."""
    host = system_host()
    store = SqlStore.open(folder / "decision.db")
    agent = Agent(Book(), store, host.clock, host.storage, Observer())
    sold = offers(OFFERS)
    settings = EngineSettings(tick=1)
    budgets = (Budget(cost_centre="lab", amount=10**9 * MICRO),)
    running = asyncio.create_task(agent.run())
    now = host.clock.now()
    await agent.submit(Configure(settings, budgets), ListOffers("aws", sold))
    await agent.submit(*[SubmitJob(job(number, now)) for number in range(JOBS)])
    decided: asyncio.Queue[Entry] = asyncio.Queue()
    agent.watch(lambda entry, _book: decided.put_nowait(entry))
    took, solver, jobs = [], [], iter(range(JOBS))
    for tick in range(TICKS):
        began = time.perf_counter()
        now = host.clock.now()
        for offer in sold[tick % 10 :: 10]:
            agent.quote(Quote(offer.id, NANO + tick, 8, now, now))
        while not agent.book.plan_pending:
            await decided.get()
        view = snapshot(agent.book, host.clock.now())
        thinking = time.perf_counter()
        place = Place(f"job-{next(jobs)}", sold[tick % 10].id, 2 * NANO)
        plan = Plan(view.version, (place,))
        thought = time.perf_counter() - thinking
        agent.put(Propose(plan))
        while True:
            entry = await decided.get()
            if any(isinstance(fact, PlanTaken) for fact in entry.facts):
                break
        took.append(time.perf_counter() - began - thought)
        solver.append(thought)
        await asyncio.sleep(0.25)
    print(f"decision   {1e3 * percentile(took, 0.5):>10,.1f} ms p50, tick to committed decision")
    print(
        f"           {1e3 * percentile(took, 0.99):>10,.1f} ms p99, {JOBS:,} jobs x {OFFERS} offers"
    )
    running.cancel()
    await asyncio.wait([running])
    store.close()


async def metering(folder: Path) -> None:
    """10,000 machines run; each minute all of them are metered, in one turn of SQLite."""
    host = system_host()
    store = SqlStore.open(folder / "metering.db")
    sold = offers(OFFERS)
    settings = EngineSettings(tick=HOUR, accrual=MINUTE, horizon=2 * MINUTE)
    budgets = (Budget(cost_centre="lab", amount=10**9 * MICRO),)
    book = Book()
    now = host.clock.now()

    def turn(*batch: object, at: int) -> Entry:
        made = step(book, batch, at)
        store.append(made.entry)
        return made.entry

    turn(Configure(settings, budgets), ListOffers("aws", sold), at=now)
    turn(SeeQuotes(tuple(Quote(o.id, NANO, 10_000, now, now) for o in sold)), at=now)
    per_turn = 1_000
    for first in range(0, MACHINES, per_turn):
        numbers = range(first, first + per_turn)
        turn(*[SubmitJob(job(number, now)) for number in numbers], at=now)
        while not book.plan_pending:
            now = max(now + SECOND, min(book.plan_at, now + HOUR))
            turn(Wake(), at=now)
        places = tuple(Place(f"job-{n}", sold[n % OFFERS].id, 2 * NANO) for n in numbers)
        acquired = turn(Propose(Plan(book.plan_version, places)), at=now)
        grants = []
        for approved in acquired.commands:
            request = approved.command
            machines = tuple(f"i-{lease}" for lease in request.leases)
            grants.append(AcquireGranted(request.token, request.placement, machines, now, NANO))
            grants += [MachineReady(lease, now) for lease in request.leases]
        turn(*grants, at=now)
        began = [
            WorkBegan(item.spec.id, item.placement, now)
            for item in book.jobs.values()
            if item.state is JobState.STARTING
        ]
        turn(*began, at=now)
    assert len(book.leases) == MACHINES
    cpu, wall = time.process_time(), time.perf_counter()
    minutes = 5
    for minute in range(1, minutes + 1):
        turn(Wake(), at=now + minute * MINUTE + SECOND)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"metering   {cpu / minutes:>10,.2f} s of a core a minute for {MACHINES:,} machines")
    print(
        f"           {100 * cpu / minutes / 60:>10,.1f} % of a core ({wall / minutes:.2f} s wall)"
    )
    store.close()


async def memory(folder: Path) -> None:
    """A day's worth of turns through the loop: prices move, jobs come and go by cancelling."""
    host = system_host()
    store = SqlStore.open(folder / "memory.db", durable=False)
    agent = Agent(Book(), store, host.clock, host.storage, Metrics())
    sold = offers(50)
    running = asyncio.create_task(agent.run())
    budgets = (Budget(cost_centre="lab", amount=10**9 * MICRO),)
    await agent.submit(Configure(EngineSettings(tick=HOUR), budgets), ListOffers("aws", sold))
    sizes = []
    for number in range(TURNS):
        now = host.clock.now()
        quoted = Quote(sold[number % 50].id, NANO + number, 8, now, now)
        await agent.submit(
            SeeQuotes((quoted,)),
            SubmitJob(job(number % 100 + number, now)),
            CancelJob(f"job-{number}"),
        )
        if number % (TURNS // 10) == 0:
            gc.collect()
            sizes.append(resident())
    print(f"memory     {sizes[1] / 2**20:>10,.1f} MiB after {TURNS // 10:,} turns")
    print(f"           {sizes[-1] / 2**20:>10,.1f} MiB after {TURNS * 9 // 10:,} turns")
    running.cancel()
    await asyncio.wait([running])
    store.close()


def resident() -> int:
    """Bytes of this process in memory."""
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * resource.getpagesize()


PARTS = {"quotes": quotes, "decision": decision, "metering": metering, "memory": memory}


def main() -> None:
    """Measure all, or what the command line names."""
    for name in sys.argv[1:] or list(PARTS):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(PARTS[name](Path(folder)))


if __name__ == "__main__":
    main()
