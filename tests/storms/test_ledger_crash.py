"""Crash drill: the writer and the database are killed with -9 in the middle of traffic.

Each cycle starts a writer with a hundred callers, kills it or its database at a random moment, and
looks: every transfer that was acknowledged is there, once, and the books verify. `make soak` sets
TREASURY_SOAK_KILLS and does it hundreds of times.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest

from tests.storms import ledger_child
from tests.support.postgres import Server, execute
from treasury.store.database import open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_verify import verify_ledger

# Kills for each of the three drills.
KILLS = int(os.environ.get("TREASURY_SOAK_KILLS", "4"))
# Verifying reads everything, so a long drill does it now and then and at its end.
VERIFY_EVERY = 1 if KILLS < 20 else 10


class Child:
    """A writer in a process of its own; `acknowledged` grows while it lives."""

    def __init__(self, url: str, cycle: int, again: list[str]) -> None:
        self.acknowledged: list[str] = []
        self.ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", ledger_child.__name__, url, str(cycle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(again))
        self._process.stdin.close()
        # Read all the time: a child that waits for its pipe would always die in the same place.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A line that the kill has cut is no acknowledgement.
            if line == "ready\n":
                self.ready.set()
            elif line.endswith("\n"):
                self.acknowledged.append(line.strip())
        self.ready.set()

    def wait_for(self, count: int) -> None:
        """Until so many are acknowledged, or it ends."""
        while len(self.acknowledged) < count and self._process.poll() is None:
            time.sleep(0.005)  # noqa: TID251 - a real process works in real time

    def kill(self) -> int:
        """SIGKILL, and what it had said until then."""
        self._process.kill()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self._process.wait() == -9, "the child ended by itself"
        return len(self.acknowledged)


class Drill:
    """Cycles on one database."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.dice = Random(seed)
        self.acknowledged = 0
        self._again: list[str] = []
        self._cycle = 0

    def start(self) -> Child:
        """A writer that first asks again for holds that were acknowledged before."""
        self._cycle += 1
        child = Child(self.url, self._cycle, self._again)
        child.ready.wait()
        return child

    def pause(self, child: Child) -> None:
        """Until a random moment in its traffic."""
        child.wait_for(len(child.acknowledged) + self.dice.randrange(100, 1_500))

    def check(self, child: Child, rows: set[str], *, last: bool) -> None:
        """Nothing acknowledged is missing. rows: the ids of this cycle in the database."""
        lost = set(child.acknowledged) - rows
        assert not lost, (
            f"cycle {self._cycle}: {len(lost)} acknowledged and lost: {sorted(lost)[:3]}"
        )
        assert len(set(child.acknowledged)) == len(child.acknowledged)
        self.acknowledged += len(child.acknowledged)
        holds = [name for name in child.acknowledged if name[0].isdigit()]
        self._again = self.dice.sample(holds, min(50, len(holds)))
        if last or self._cycle % VERIFY_EVERY == 0:
            database = open_database(self.url, durable=True, read_only=True)
            try:
                found = verify_ledger(LedgerReader(database))
            finally:
                database.close()
            assert found.findings == ()
            assert found.transfers >= self.acknowledged

    def ids(self, pattern: str) -> str:
        """The statement that reads the ids of this cycle."""
        return f"SELECT id FROM ledger_transfers WHERE {pattern}"

    @property
    def of_cycle(self) -> str:
        """Which ids are of this cycle."""
        cycle = self._cycle
        return f"id LIKE '{cycle}-%' OR id LIKE 'e{cycle}-%' OR id LIKE 'n{cycle}-%'"


def test_sqlite_writer_killed(tmp_path: Path) -> None:
    """The process that writes to a file dies: what it acknowledged is in the file."""
    import sqlite3

    drill = Drill(str(tmp_path / "t.db"), seed=1)
    for number in range(1, KILLS + 1):
        child = drill.start()
        drill.pause(child)
        child.kill()
        connection = sqlite3.connect(drill.url)
        rows = {row[0] for row in connection.execute(drill.ids(drill.of_cycle))}
        connection.close()
        drill.check(child, rows, last=number == KILLS)
    assert drill.acknowledged >= 100 * KILLS


@pytest.mark.sockets
def test_postgres_writer_killed(own_server: Server) -> None:
    """The process that writes to a server dies: what it acknowledged is there, and nothing of a
    transaction that was under way."""
    drill = Drill(own_server.create(), seed=2)
    for number in range(1, KILLS + 1):
        child = drill.start()
        drill.pause(child)
        child.kill()
        rows = {row[0] for row in execute(drill.url, drill.ids(drill.of_cycle))}
        drill.check(child, rows, last=number == KILLS)
    assert drill.acknowledged >= 100 * KILLS


@pytest.mark.sockets
def test_postgres_server_killed(own_server: Server) -> None:
    """The server and all its processes die under a writer, which waits, finds out what became of
    its commit, and goes on: nobody who asked it is told anything that is not so."""
    drill = Drill(own_server.create(), seed=3)
    for number in range(1, KILLS + 1):
        child = drill.start()
        drill.pause(child)
        own_server.kill()
        own_server.start()
        before = len(child.acknowledged)
        child.wait_for(before + 200)
        assert len(child.acknowledged) > before, "the writer did not go on"
        child.kill()
        rows = {row[0] for row in execute(drill.url, drill.ids(drill.of_cycle))}
        drill.check(child, rows, last=number == KILLS)
    assert drill.acknowledged >= 300 * KILLS
