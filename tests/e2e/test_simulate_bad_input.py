"""Markets and jobs that make no sense: a replay says so in its record and goes on."""

from typing import Any

import pytest

from tests.support.hand import plain
from tests.support.worlds import MemoryTrace, job, pool, scenario, steady
from treasury.domain.budget import Budget
from treasury.domain.errors import StoreError, TraceError
from treasury.domain.job import Requirement
from treasury.domain.market import Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.time import DAY, HOUR
from treasury.domain.turn import Entry
from treasury.registry import load_strategy
from treasury.store import MemoryStore
from treasury_simulations.checkers import all_checks
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import MarketModel
from treasury_simulations.simulate import simulate

STRATEGIES = ("greedy", "on_demand", "uniform_progress")


def run(name: str, trace: Any, *jobs: Any, **how: Any) -> RunRecord:
    """A checked replay with a shipped strategy."""
    return simulate(scenario(trace, *jobs, **how), load_strategy(name, {}), checks=all_checks())


@pytest.mark.parametrize("rate", [0, 10**6 * NANO + 1])
def test_a_price_that_cannot_be_is_not_traded_on(rate: int) -> None:
    """Nothing, or a million dollars an hour: the quote is rejected, the job waits for another."""
    rows = ((0, 0, rate, 4), (5 * HOUR, 0, NANO, 4))
    record = run("greedy", MemoryTrace((pool(),), rows, end=DAY), job(work=HOUR))
    (outcome,) = record.jobs
    assert (outcome.state, outcome.first_start, outcome.cost) == ("finished", 5 * HOUR, MICRO)


def test_a_price_that_jumps_beyond_belief_does_not_break_the_books() -> None:
    """A floating machine whose price is multiplied by a thousand for an hour: the engine does not
    believe it, the world bills it, and every other law holds."""
    rows = ((0, 0, NANO, 4), (2 * HOUR, 0, 1_000 * NANO, 4), (3 * HOUR, 0, NANO, 4))
    model = MarketModel(capabilities=plain(floating=True))
    record = run("greedy", MemoryTrace((pool(),), rows), job(work=5 * HOUR), model=model)
    assert record.jobs[0].state == "finished"
    assert record.waste.paid == (4 + 1_000) * MICRO
    assert record.budgets[0].spent[-1] == 5 * MICRO


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_job_nobody_can_place_waits_with_a_reason(name: str) -> None:
    """No machine of the market has that accelerator: nothing is spent, and the record says why."""
    record = run(name, steady(days=1), job(requirement=Requirement({"H100": 1_000})))
    (outcome,) = record.jobs
    assert (outcome.state, record.waste.paid) == ("cancelled", 0)
    assert outcome.last_reason


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_budget_of_zero_spends_nothing(name: str) -> None:
    """Whatever a strategy wants, an empty wallet places no job."""
    budgets = (Budget(cost_centre="team", amount=0),)
    record = run(name, steady(days=1), job(), budgets=budgets)
    assert (record.jobs[0].state, record.waste.paid) == ("cancelled", 0)


def test_a_deadline_in_the_past_is_rejected_at_submission() -> None:
    """The job is not taken; the others are."""
    record = run("greedy", steady(), job("late", at=HOUR, deadline=HOUR), job("fine", work=HOUR))
    assert [outcome.state for outcome in record.jobs] == ["finished", "rejected"]
    assert record.jobs[1].last_reason == "the deadline is in the past"


def test_rows_out_of_order_stop_the_replay_with_the_place() -> None:
    """A trace that goes back in time is no market."""
    rows = ((HOUR, 0, NANO, 4), (0, 0, NANO, 4))
    with pytest.raises(TraceError, match="follows"):
        run("greedy", MemoryTrace((pool(),), rows), job())


def test_a_market_that_never_sells_ends_with_its_trace() -> None:
    """Pools without a price: the jobs are cancelled, nothing is billed."""
    trace = MemoryTrace((pool(), pool(tenure=Tenure.ON_DEMAND)), ((0, 0, -1, -1),), end=DAY)
    record = run("on_demand", trace, job())
    assert (record.ended_at, record.jobs[0].state, record.leases) == (DAY, "cancelled", [])


def test_a_full_disk_stops_the_replay_and_says_so() -> None:
    """The store's error reaches the caller as it is; what was committed before stays."""

    class Full(MemoryStore):
        def append(self, entry: Entry) -> bytes:
            if entry.seq == 4:
                raise StoreError("the disk is full: turn 4 was not written")
            return super().append(entry)

    store = Full()
    with pytest.raises(StoreError, match="turn 4 was not written"):
        simulate(scenario(steady(), job()), load_strategy("greedy", {}), store=store)
    assert [entry.seq for entry in store.entries()] == [1, 2, 3]
