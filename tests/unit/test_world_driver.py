"""The replay driver: order, commit before effect, quiet instants, and an end that settles all."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.plans import Scripted, cheapest
from tests.support.worlds import MemoryTrace, job, pool, scenario, steady
from treasury.domain import events as e
from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.market import Capabilities
from treasury.domain.money import NANO
from treasury.domain.plan import LeftOut, Migrate, Place, Plan, Preempt, Snapshot, Why
from treasury.domain.time import DAY, HOUR, MINUTE
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.store import MemoryStore
from treasury_simulations import driver
from treasury_simulations.checkers import all_checks
from treasury_simulations.scenario import MarketModel
from treasury_simulations.simulate import simulate
from treasury_simulations.world import World

A = pool("a")


def facts(store: MemoryStore, kind: type) -> list[tuple[int, Any]]:
    """(instant, fact) of every fact of a kind in a journal."""
    return [(t.at, fact) for t in store.entries() for fact in t.facts if isinstance(fact, kind)]


def test_one_job_from_submission_to_release() -> None:
    """Configuration and catalogue come first; the job is placed at its submission and ends when its
    work is done; the record and the journal agree."""
    store = MemoryStore()
    given = scenario(steady(), job(at=HOUR, work=5 * HOUR))
    record = simulate(given, Scripted(cheapest), store=store, checks=all_checks())
    first = next(store.entries())
    assert [type(fact).__name__ for fact in first.facts][::2] == ["Configured", "OffersListed"]
    assert (record.started_at, record.ended_at) == (0, 6 * HOUR)
    assert record.jobs[0].state == "finished" and record.jobs[0].cost == 5_000_000
    assert (record.turns, record.journal_hash) == (store.last()[0], store.last()[1].hex())


def test_nothing_reaches_the_world_before_its_turn_is_committed() -> None:
    """A commit that fails stops the replay, and the command of that turn never left."""

    class Failing(MemoryStore):
        def append(self, entry: Entry) -> bytes:
            if entry.commands:
                raise StoreError("the disk is full")
            return super().append(entry)

    given = scenario(steady(), job())
    world = World(steady(), given.markets, given.jobs)
    world.log = log = []
    run = driver.Driver(world, Scripted(cheapest), Failing(), lambda entry: None)
    with pytest.raises(StoreError, match="full"):
        run.run(given.settings, given.budgets, given.jobs, 0, DAY)
    assert log == [] and not world.busy


def test_every_command_is_marked_delivered() -> None:
    """The outbox is empty at the end."""
    store = MemoryStore()
    simulate(scenario(steady(), job()), Scripted(cheapest), store=store)
    assert any(entry.commands for entry in store.entries())
    assert list(store.undelivered()) == []


def test_the_end_of_the_trace_cancels_and_settles_what_runs() -> None:
    """A job longer than the trace is cancelled at its end; its machines are returned and paid."""
    given = scenario(steady(days=1), job(work=100 * HOUR), job("later", at=9 * DAY))
    record = simulate(given, Scripted(cheapest), checks=all_checks())
    assert record.ended_at == DAY
    assert [outcome.state for outcome in record.jobs] == ["cancelled", "unsubmitted"]
    assert record.waste.paid == 24_000_000
    assert record.leases[0].end_cause == "cancelled"


def test_a_request_under_way_at_the_end_is_waited_for() -> None:
    """A grant that comes after the trace's end is given back at once, and its minimum is paid."""
    model = MarketModel(capabilities=Capabilities(grant_delay_ns=HOUR, billing_minimum_ns=MINUTE))
    given = scenario(steady(days=1), job(at=DAY - MINUTE), model=model, tick=MINUTE)
    record = simulate(given, Scripted(cheapest), checks=all_checks())
    assert record.ended_at == DAY + HOUR - MINUTE
    assert (record.leases[0].end_cause, record.waste.paid) == ("unwanted", 16_667)


def test_a_market_without_an_end_ends_with_the_work() -> None:
    """The last row may be long past; with no job left the replay is over, and so it is when the
    jobs that are left can never be placed."""
    trace = MemoryTrace((A,), ((0, 0, NANO, 1),))
    record = simulate(scenario(trace, job(work=3 * HOUR)), Scripted(cheapest))
    assert record.ended_at == 3 * HOUR
    idle = Scripted(lambda seen: Plan(seen.version, ()))
    record = simulate(scenario(trace, job(work=3 * HOUR)), idle, checks=all_checks())
    assert record.jobs[0].state == "cancelled"


def test_without_jobs_there_is_nothing_to_do() -> None:
    """The catalogue, the prices, and no money."""
    record = simulate(scenario(steady()), Scripted(cheapest), checks=all_checks())
    assert (record.turns, record.waste.paid, record.jobs) == (2, 0, [])


def failing(snapshot: Snapshot) -> Plan:
    """No plan at all."""
    raise ZeroDivisionError


def wrong(change: Any) -> Any:
    """A strategy whose plan is spoilt by `change`."""
    return lambda seen: change(seen.version)


@pytest.mark.parametrize(
    "answer",
    [
        failing,
        wrong(lambda version: None),
        wrong(lambda version: Plan(version + 1, ())),
        wrong(lambda version: Plan(version, None)),
        wrong(lambda version: Plan(version, (None,))),
        wrong(lambda version: Plan(version, (Place("j", None, NANO),))),
        wrong(lambda version: Plan(version, (Place("j", A.id, 1.5),))),
        wrong(lambda version: Plan(version, (Migrate("j", A.id, "much"),))),
        wrong(lambda version: Plan(version, (Preempt(7, "cause"),))),
        wrong(lambda version: Plan(version, (), ("j",))),
        wrong(lambda version: Plan(version, (), (LeftOut("j", "waits", ""),))),
        wrong(lambda version: Plan(version, (), (LeftOut("j", Why.WAITS, None),))),
        wrong(lambda version: Plan(version, (), (), "tomorrow")),
    ],
)
def test_a_strategy_without_a_plan_is_counted_and_the_replay_goes_on(answer: Any) -> None:
    """Whatever a strategy raises or returns, the turn has an empty plan and the record says so."""
    given = scenario(steady(days=1), job(), job("k", at=5 * HOUR))
    record = simulate(given, Scripted(answer), checks=all_checks())
    assert record.refusals == {"strategy_error": 2}
    assert {outcome.state for outcome in record.jobs} == {"cancelled"}


def test_the_strategy_is_asked_after_the_commit_and_answers_in_the_next_turn() -> None:
    """The turn that asks is in the journal before the strategy is called; the plan is the next."""
    store, seen = MemoryStore(), []

    def note(snapshot: Snapshot) -> Plan:
        seen.append((store.last()[0], snapshot.now))
        return cheapest(snapshot)

    simulate(scenario(steady(), job(at=HOUR)), Scripted(note), store=store)
    asked = [t.seq for t in store.entries() if t.propose is not None]
    taken = [t.seq for t in store.entries() if any(isinstance(f, e.PlanTaken) for f in t.facts)]
    assert [seq for seq, _ in seen] == asked == [seq - 1 for seq in taken]
    assert seen[0][1] == HOUR


def test_an_instant_that_never_becomes_quiet_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of turns at one instant, then an error that names the instant."""
    monkeypatch.setattr(driver, "TURNS_AT_ONE_INSTANT", 50)
    real = driver.step

    def restless(book: Book, batch: tuple[e.Input, ...], now: int) -> Any:
        return type(turn := real(book, batch, now))(turn.entry, now)

    monkeypatch.setattr(driver, "step", restless)
    with pytest.raises(InvariantBroken, match="50 turns at 0 and no end"):
        simulate(scenario(steady(), job()), Scripted(cheapest))


def test_machines_that_nothing_would_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that forgets to give machines back is found out at the end."""
    monkeypatch.setattr(World, "_release", lambda self, command, now: None)
    with pytest.raises(InvariantBroken, match="machines are held at the end"):
        simulate(scenario(MemoryTrace((A,), ((0, 0, NANO, 1),)), job()), Scripted(cheapest))


def test_progress_rises_to_its_total_in_about_a_thousand_steps() -> None:
    """(done, total) never falls and ends at the whole, however many instants there are."""
    rows = [(minute * MINUTE, 0, NANO + minute, 1) for minute in range(5_000)]
    trace = MemoryTrace((A,), rows, end=5_000 * MINUTE)
    calls: list[tuple[int, int]] = []
    given = scenario(trace, job(work=4_000 * MINUTE))
    simulate(given, Scripted(cheapest), progress=lambda done, total: calls.append((done, total)))
    shares = [done / total for done, total in calls]
    assert shares == sorted(shares) and shares[-1] == 1
    assert 500 < len(calls) <= 1_001


def test_jobs_are_submitted_in_order_whatever_order_they_come_in() -> None:
    """By instant, then name; those from before the start at the start."""
    given = scenario(steady(), job("b", at=HOUR), job("a", at=HOUR), job("c", at=0))
    store = MemoryStore()
    simulate(given, Scripted(cheapest), store=store)
    queued = [(at, fact.spec.id) for at, fact in facts(store, e.JobQueued)]
    assert queued == [(0, "c"), (HOUR, "a"), (HOUR, "b")]


def test_a_streamed_market_is_read_row_by_row() -> None:
    """Rows are taken when they are due: a replay that ends early leaves the rest unread."""
    taken = []

    class Streamed(MemoryTrace):
        def market(self) -> Iterator[tuple[int, int, int, int]]:
            for hour in range(1_000):
                taken.append(hour)
                yield hour * HOUR, 0, NANO + hour, 1

    simulate(scenario(Streamed((A,), ()), job(work=3 * HOUR)), Scripted(cheapest))
    assert len(taken) < 10
