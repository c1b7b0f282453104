"""The record of a replay: what it says of jobs, machines, money, budgets and prices."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hand import plain
from tests.support.plans import Scripted, cheapest
from tests.support.worlds import MemoryTrace, job, pool, scenario, steady
from treasury.domain.budget import Budget, Period
from treasury.domain.market import Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Migrate, Place, Plan, Preempt, Snapshot
from treasury.domain.time import DAY, HOUR, MINUTE
from treasury_simulations.checkers import all_checks
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import MarketModel
from treasury_simulations.series import Series
from treasury_simulations.simulate import simulate

A, B, OD = pool("a"), pool("b"), pool("a", Tenure.ON_DEMAND)


def run(trace: Any, *jobs: Any, answer: Any = cheapest, **how: Any) -> RunRecord:
    """A checked replay."""
    return simulate(scenario(trace, *jobs, **how), Scripted(answer), checks=all_checks())


def test_a_quiet_job_costs_its_time_and_wastes_nothing() -> None:
    """Ten hours at the only price: all useful, the lease is the job's, nothing is late."""
    record = run(MemoryTrace((A,), ((0, 0, NANO, 1),)), job(deadline=10 * HOUR))
    (outcome,), (lease,) = record.jobs, record.leases
    assert (outcome.cost, outcome.late, outcome.waited, outcome.starts) == (10_000_000, False, 0, 1)
    assert (lease.job, lease.offer, lease.useful, lease.end_cause) == (
        "j", A.id, 10 * HOUR, "finished",
    )  # fmt: skip
    assert record.waste.useful == record.waste.paid == 10_000_000


def test_every_cause_of_waste_has_its_own_amount() -> None:
    """Boot, overhead, an interruption two hours after a checkpoint, the wait, and a dearer pool."""
    model = MarketModel(capabilities=plain(boot_ns=30 * MINUTE))
    rows = ((0, 0, NANO, 1), (0, 1, 3 * NANO, 4), (12 * HOUR, 0, NANO, 0), (20 * HOUR, 0, NANO, 1))
    record = run(
        MemoryTrace((A, OD), rows),
        job(work=20 * HOUR, start_overhead=30 * MINUTE, checkpoint_interval=3 * HOUR),
        model=model,
    )
    waste, outcome = record.waste, record.jobs[0]
    # Spot: boot 0.5 h, overhead 0.5 h, 9 h kept, 2 h lost. On demand: boot, overhead, 11 h useful,
    # of which 4 h pass before spot is open again at a third of the price.
    assert waste.idle == (1 + 3) * MICRO // 2
    assert waste.restart == (1 + 3) * MICRO // 2
    assert waste.lost_work == 2 * MICRO
    assert waste.premium == 2 * 4 * MICRO
    assert waste.useful == (9 + 33 - 8) * MICRO
    assert waste.unallocated == 0
    assert (outcome.interruptions, outcome.lost_work, outcome.starts) == (1, 2 * HOUR, 2)
    assert outcome.cost == waste.paid == 48 * MICRO


def test_what_rounding_bills_is_idle() -> None:
    """Ten minutes of work on a machine billed by the hour: fifty minutes serve nobody."""
    model = MarketModel(capabilities=plain(billing_step_ns=HOUR))
    record = run(MemoryTrace((A,), ((0, 0, 6 * NANO, 1),)), job(work=10 * MINUTE), model=model)
    assert (record.waste.useful, record.waste.idle) == (1 * MICRO, 5 * MICRO)
    assert record.leases[0].idle == 0


def test_waiting_is_time_without_machines() -> None:
    """From submission to the grant, and again from an interruption to the next grant."""
    rows = ((0, 0, NANO, 0), (HOUR, 0, NANO, 1), (3 * HOUR, 0, NANO, 0), (7 * HOUR, 0, NANO, 1))
    record = run(MemoryTrace((A,), rows), job(work=4 * HOUR, deadline=9 * HOUR - 1))
    (outcome,) = record.jobs
    assert (outcome.waited, outcome.first_start, outcome.ended_at) == (5 * HOUR, HOUR, 9 * HOUR)
    assert outcome.late


def scripted_moves(snapshot: Snapshot) -> Plan:
    """Place on A; after an hour migrate to B; after two switch back; after three preempt."""
    hour, view = snapshot.now // HOUR, snapshot.jobs[0]
    actions: tuple[Any, ...] = ()
    if view.state.value == "queued" and hour in {0, 4}:
        actions = (Place("j", A.id, 9 * NANO),)
    elif view.state.value == "running":
        actions = {
            1: (Migrate("j", B.id, 9 * NANO),),
            2: (Preempt("j", "dear"), Place("j", A.id, 9 * NANO)),
            3: (Preempt("j", "unloved"),),
        }.get(hour, ())
    return Plan(snapshot.version, actions, (), (hour + 1) * HOUR)


def test_a_move_is_a_migration_and_a_stop_is_a_preemption() -> None:
    """Make before break and stop-then-start both move a job; a stop that leaves it waiting does
    not."""
    rows = ((0, 0, NANO, 1), (0, 1, NANO, 1))
    record = run(MemoryTrace((A, B), rows), job(work=6 * HOUR), answer=scripted_moves)
    (outcome,) = record.jobs
    assert (outcome.migrations, outcome.preemptions, outcome.starts) == (2, 1, 4)
    assert [lease.end_cause for lease in record.leases] == [
        "migrated", "preempted", "preempted", "finished",
    ]  # fmt: skip
    assert outcome.waited == HOUR


def test_a_rejected_job_is_in_the_record_with_the_reason() -> None:
    """Nobody pays for it: its state says so and why."""
    record = run(steady(days=1), job(cost_centre="nobody"))
    (outcome,) = record.jobs
    assert outcome.state == "rejected" and "nobody" in outcome.last_reason
    assert outcome.ended_at == 0


def test_refusals_are_counted_by_their_word() -> None:
    """What the guard refuses and what the market refuses stand side by side."""
    model = MarketModel(capabilities=plain(), refusal_per_mille=1_000)
    budgets = (
        Budget(cost_centre="team", amount=1_000 * MICRO),
        Budget(cost_centre="poor", amount=0),
    )
    record = run(
        steady(days=1), job(), job("k", cost_centre="poor"), model=model, budgets=budgets,
        quarantine=20 * HOUR,
    )  # fmt: skip
    assert record.refusals["budget"] == 1
    assert record.refusals["NoCapacity"] == 4


def test_budgets_are_followed_with_their_holds() -> None:
    """A hold shows as held, a charge as spent, and the parent counts what its children do."""
    budgets = (
        Budget(cost_centre="org", amount=100 * MICRO),
        Budget(cost_centre="team", parent="org", amount=50 * MICRO),
    )
    record = run(
        MemoryTrace((A,), ((0, 0, NANO, 1),)),
        job(work=4 * HOUR),
        budgets=budgets,
        accrual=HOUR,
        horizon=2 * HOUR,
    )
    org, team = record.budgets
    assert (org.cost_centre, org.limit, team.limit) == ("org", 100 * MICRO, 50 * MICRO)
    for series, limit in ((org, 100 * MICRO), (team, 50 * MICRO)):
        levels = zip(series.available, series.held, series.spent, strict=True)
        assert all(sum(level) == limit for level in levels)
        assert max(series.held) >= 2 * 2 * MICRO
        assert (series.spent[-1], series.held[-1]) == (4 * MICRO, 0)
        assert series.at == sorted(series.at)


def test_a_new_period_starts_with_nothing_spent() -> None:
    """Each day's spending is told from zero."""
    budgets = (Budget(cost_centre="team", amount=100 * MICRO, period=Period.DAY),)
    trace = MemoryTrace((A,), ((0, 0, NANO, 1),))
    record = run(trace, job(work=40 * HOUR), budgets=budgets)
    (team,) = record.budgets
    before = max(spent for at, spent in zip(team.at, team.spent, strict=True) if at < DAY)
    assert 22 * MICRO <= before <= 24 * MICRO
    assert 15 * MICRO <= team.spent[-1] <= 17 * MICRO


def test_prices_are_those_that_were_believed() -> None:
    """One series an offer; -1 where nothing is sold, and no point for a price that is absurd."""
    rows = ((0, 0, NANO, 2), (HOUR, 0, 500 * NANO, 2), (2 * HOUR, 0, 2 * NANO, 0))
    record = run(MemoryTrace((A,), rows, end=DAY), job(work=90 * MINUTE, at=10))
    (series,) = record.prices
    assert (series.offer, series.gpus) == (A.id, 1)
    assert (series.at, series.rate, series.depth) == ([0], [NANO], [2])
    record = run(MemoryTrace((A,), rows, end=DAY), job(work=3 * HOUR, at=10), quote_jump=0)
    (series,) = record.prices
    assert series.at == [0, HOUR, 2 * HOUR]
    assert (series.rate, series.depth) == ([NANO, 500 * NANO, -1], [2, 2, 0])


def test_a_job_whose_deadline_is_beyond_the_end_is_not_late() -> None:
    """Unfinished at the end of the trace is late only when its deadline was before that."""
    long = {"work": 100 * HOUR}
    record = run(
        steady(days=2), job("a", deadline=50 * HOUR, **long), job("b", deadline=47 * HOUR, **long)
    )
    assert [outcome.late for outcome in record.jobs] == [False, True]


@given(st.lists(st.integers(1, 10**12), max_size=300), st.integers(1, 30))
def test_a_series_stays_small_and_ends_with_the_present(gaps: list[int], repeat: int) -> None:
    """However many points come, fewer than 2,000 stay, in order, the newest among them."""
    series, at = Series(), 0
    for gap in gaps * repeat:
        at += gap
        series.add((at, gap))
    instants, values = series.columns(2)
    assert len(instants) < 2_000
    assert instants == sorted(set(instants))
    if gaps:
        assert (instants[-1], values[-1]) == (at, gaps[-1])


@pytest.mark.parametrize("points", [1_999, 2_000, 50_000])
def test_a_thinned_series_still_spans_its_time(points: int) -> None:
    """Evenly spaced points stay evenly spread after thinning, and none is made up."""
    series = Series()
    for number in range(points):
        series.add((number * 10, number))
    instants, values = series.columns(2)
    assert 900 <= len(instants) < 2_000
    assert all(at == 10 * value for at, value in zip(instants, values, strict=True))
    gaps = {after - before for before, after in pairwise(instants)}
    assert max(gaps) <= 4 * points * 10 // len(instants)
