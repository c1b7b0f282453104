"""Whatever the market, jobs, budgets and strategy: every checker holds after every turn.

Scenarios are drawn whole from one number, so that a failure is named by it.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.chaos import Hostile, chaos
from treasury.domain.plan import Plan, Snapshot
from treasury.registry import load_strategy
from treasury_simulations.checkers import all_checks
from treasury_simulations.record import RunRecord
from treasury_simulations.simulate import simulate

SEEDS = st.integers(0, 2**32)
SHIPPED = ("deadline", "greedy", "on_demand", "optimal", "uniform_progress")


def sums(record: RunRecord) -> None:
    """What a record must add up to."""
    waste = record.waste
    parts = (waste.useful, waste.premium, waste.restart, waste.lost_work, waste.idle)
    assert sum(parts) + waste.unallocated == waste.paid
    assert min(*parts, waste.unallocated) >= 0
    assert waste.paid == sum(lease.billed for lease in record.leases)
    assert waste.paid == sum(job.cost for job in record.jobs)
    assert waste.unallocated == 0
    for lease in record.leases:
        filled = lease.useful + lease.restart + lease.lost + lease.idle
        assert filled == lease.ended_at - lease.granted_at
        assert 0 <= lease.premium <= lease.billed


@pytest.mark.parametrize("strategy", SHIPPED)
@settings(max_examples=40)
@given(seed=SEEDS)
def test_shipped_strategies_keep_every_law(strategy: str, seed: int) -> None:
    """All checkers pass and the record adds up, whatever market a strategy is put on."""
    sums(simulate(chaos(seed), load_strategy(strategy, {}), checks=all_checks()))


@settings(max_examples=120)
@given(seed=SEEDS)
def test_a_hostile_strategy_breaks_nothing(seed: int) -> None:
    """Random, wrong, late and nonsensical plans cost at most time: the laws hold all the same."""
    sums(simulate(chaos(seed), Hostile(seed), checks=all_checks()))


@settings(max_examples=25)
@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_journal(seed: int) -> None:
    """Trace, configuration, strategy and seed decide every byte of the journal and the record."""

    def run() -> tuple[str, list[object], object]:
        record = simulate(chaos(seed), Hostile(seed))
        return record.journal_hash, [*record.jobs, *record.leases], record.waste

    assert run() == run()


@settings(max_examples=25)
@given(seed=SEEDS)
def test_looking_on_changes_nothing(seed: int) -> None:
    """Checks and progress reports leave the journal as it would be without them."""
    watched = simulate(
        chaos(seed), Hostile(seed), checks=all_checks(), progress=lambda done, total: None
    )
    assert watched.journal_hash == simulate(chaos(seed), Hostile(seed)).journal_hash


class Nothing:
    """Never proposes anything."""

    name = "nothing"

    def propose(self, snapshot: Snapshot) -> Plan:
        return Plan(snapshot.version, ())


@settings(max_examples=25)
@given(seed=SEEDS)
def test_without_a_plan_nothing_is_spent(seed: int) -> None:
    """The engine takes no machine on its own account."""
    record = simulate(chaos(seed), Nothing(), checks=all_checks())
    assert (record.waste.paid, record.leases) == (0, [])
