"""The fast replay and the daemon's own turn loop write the same journal."""

from pathlib import Path

import pytest

from tests.support.chaos import chaos
from treasury.registry import load_strategy
from treasury.store import MemoryStore
from treasury.store.sql import SqlStore
from treasury_simulations.simulate import simulate
from treasury_simulations.storm.quiet import QuietShell


@pytest.mark.parametrize("strategy", ["greedy", "on_demand", "uniform_progress"])
@pytest.mark.parametrize("seed", range(6))
def test_both_ways_to_drive_time_write_the_same_journal(tmp_path: Path, strategy: str, seed: int):
    """On the same random market, the hash of the fast replay's journal is that of the agent's, on
    the virtual loop, in a real database; up to where the shorter one ends."""
    scenario = chaos(seed)
    fast = MemoryStore()
    simulate(scenario, load_strategy(strategy, {}), store=fast)
    slow = SqlStore.open(tmp_path / "quiet.db", durable=False)
    QuietShell(scenario, load_strategy(strategy, {}), slow).run()
    # At the very end the fast one cancels what still runs.
    until = (entry for entry in slow.entries() if entry.at < scenario.trace.end)
    turns = list(zip(until, fast.entries(), strict=False))
    assert len(turns) > 2
    for careful, quick in turns:
        assert careful == quick
    slow.close()
