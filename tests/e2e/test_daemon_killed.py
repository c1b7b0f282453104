"""kill -9 of the daemon, the database, and the node agents, with real jobs running.

After each storm: no orphan, no doubled job, no overspend, no acknowledged write lost, and the
ledger is the market's own meter. TREASURY_SOAK_KILLS sets how often each one kills.
"""

import os
import random
import threading
from pathlib import Path

import pytest

from tests.support.farm import Farm, farm, kill_process, pause, until
from tests.support.postgres import Server

KILLS = int(os.environ.get("TREASURY_SOAK_KILLS", "2"))
pytestmark = pytest.mark.slow


def storm(here: Farm, seed: int) -> None:
    """Start, submit, and be killed at a random instant, again and again; then be left alone."""
    dice = random.Random(seed)
    here.start()
    for _ in range(KILLS):
        here.submit(dice.uniform(2, 8), count=dice.randrange(1, 3))
        pause(dice.uniform(0, 4))
        here.daemon.kill()
        pause(dice.uniform(0, 1))
        here.daemon.start()
        if dice.random() < 0.3:
            # Killed while it starts, or stands by for the lease of the last one.
            pause(dice.uniform(0, 6))
            here.daemon.kill()
            here.daemon.start()
        here.daemon.wait_ready(120)
    here.submit(2.0)
    here.settle()
    here.check()


def test_the_daemon_is_killed_at_random_instants(tmp_path: Path):
    """On SQLite with the embedded broker, which dies with it; machines are taken meanwhile."""
    with farm(tmp_path, life="25s") as here:
        storm(here, seed=1)
        assert len(here.acknowledged) > KILLS


def test_the_daemon_is_killed_on_postgresql(tmp_path: Path, postgres):
    """The same on PostgreSQL."""
    with farm(tmp_path, db=postgres()) as here:
        storm(here, seed=2)


def test_postgresql_is_killed_under_the_daemon(tmp_path: Path, own_server: Server):
    """Turns wait for the database to come back; machines and jobs go on meanwhile."""
    dice = random.Random(3)
    with farm(tmp_path, db=own_server.create()) as here:
        here.start()
        for _ in range(KILLS):
            here.submit(dice.uniform(2, 6), count=2)
            pause(dice.uniform(0, 2))
            own_server.kill()
            # Nobody answers while there is no database to write it to; or it is in the journal.
            asked = threading.Thread(target=here.submit, args=(2.0,))
            asked.start()
            pause(dice.uniform(0, 2))
            own_server.start()
            asked.join()
        here.settle()
        here.check()


def test_node_agents_are_killed(tmp_path: Path):
    """An agent that is killed is started again and finds its program; nothing is done twice."""
    dice = random.Random(4)
    with farm(tmp_path) as here:
        here.start()
        here.submit(6.0, count=3)
        until(lambda: here.running() == 3, "three jobs run")
        for _ in range(KILLS):
            for pid in here.agents():
                kill_process(pid)
            pause(dice.uniform(0.5, 2))
        here.settle()
        results = here.check()[0]
        assert "in 3 starts; 0 steps done again" in results.found
