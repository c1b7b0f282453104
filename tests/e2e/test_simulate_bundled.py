"""The bundled market through the whole product: store, checkers, processes, the same hash."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from treasury.bootstrap import make_strategy
from treasury.config import load_config
from treasury.engine import replay
from treasury.store import SqlStore
from treasury_simulations.checkers import all_checks
from treasury_simulations.scenario import Scenario, build_scenario
from treasury_simulations.simulate import simulate

STRATEGIES = ("greedy", "on_demand", "uniform_progress")
# Enough jobs for every budget, and few enough for seconds.
JOBS = 60


def bundled(jobs: int = JOBS) -> Scenario:
    """The default configuration's scenario with its first jobs alone."""
    config = load_config(None)
    scenario = build_scenario(config)
    return msgspec.structs.replace(scenario, jobs=scenario.jobs[:jobs])


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_bundled_market_keeps_every_law(name: str) -> None:
    """Weeks of a real market with every checker looking on: all jobs end, all money adds up."""
    record = simulate(
        bundled(), make_strategy(load_config(None), name), checks=all_checks(every=50)
    )
    assert len(record.jobs) == JOBS
    assert all(job.state in {"finished", "cancelled"} for job in record.jobs)
    waste = record.waste
    assert waste.paid == sum(lease.billed for lease in record.leases) > 0
    assert waste.paid == (
        waste.useful + waste.premium + waste.restart + waste.lost_work + waste.idle
        + waste.unallocated
    )  # fmt: skip
    assert {budget.cost_centre for budget in record.budgets} >= {"lab", "research", "product"}


def test_the_journal_in_a_database_is_the_journal_of_the_run(tmp_path: Path) -> None:
    """With SQLite behind it the run has the same hash as without, and its journal rebuilds a book
    in which nothing is left open."""
    strategy = make_strategy(load_config(None), "greedy")
    in_memory = simulate(bundled(20), strategy)
    store = SqlStore.open(f"sqlite:///{tmp_path / 'run.db'}", durable=False)
    try:
        kept = simulate(bundled(20), make_strategy(load_config(None), "greedy"), store=store)
        assert kept.journal_hash == in_memory.journal_hash == store.last()[1].hex()
        assert list(store.undelivered()) == []
        book = replay(store.entries())
        assert not book.leases and not book.jobs and not book.ledger.holds
    finally:
        store.close()


SCRIPT = """
from tests.e2e.test_simulate_bundled import bundled
from treasury.bootstrap import make_strategy
from treasury.config import load_config
from treasury_simulations.simulate import simulate
for name in ("greedy", "uniform_progress"):
    print(simulate(bundled(40), make_strategy(load_config(None), name)).journal_hash)
"""


def test_another_process_with_another_hash_seed_writes_the_same_journal() -> None:
    """Nothing observable depends on the order of a set, the process or the machine's clock."""
    outputs = []
    for seed in ("1", "4242"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        outputs.append(answer.stdout.split())
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0])) == 2
