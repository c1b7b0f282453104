"""Two processes, one database: one leads, the other stands by, and a deposed one cannot write."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.books import turns
from tests.support.postgres import TestDatabase
from treasury.domain.errors import Deposed, StoreError
from treasury.domain.time import SECOND
from treasury.store import SqlStore
from treasury.store.database import open_database
from treasury.store.lease import JOURNAL_ROLE, TTL, Leadership
from treasury.store.verify import verify

# Leads, then writes a turn for each line it is given, and says what came of it.
CHILD = """
import sys, time
from tests.support.books import turns
from treasury.domain.errors import StoreError
from treasury.store import SqlStore
store = SqlStore.open(sys.argv[1], durable=False)
while not store.lead(sys.argv[2], ttl=int(sys.argv[3])):
    time.sleep(0.02)
print("leads", store.last()[0], flush=True)
seq = store.last()[0]
for _ in sys.stdin:
    try:
        store.append(list(turns(seq + 1))[-1])
        seq += 1
        print("wrote", flush=True)
    except StoreError as error:
        print(type(error).__name__, flush=True)
"""


class Agent:
    """A process that wants to lead."""

    def __init__(self, url: str, name: str, ttl: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, name, str(ttl)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def write(self) -> str:
        """Let it write a turn; what it says to that."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.said()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    """Those that a test started, ended with it."""
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.close()


def test_the_second_takes_over_and_the_first_cannot_write(
    database: TestDatabase, agents: list[Agent]
) -> None:
    """A leader that is stopped is succeeded when its lease ends; woken up, it is refused and the
    journal is the successor's."""
    first = Agent(database.url, "first", SECOND)
    agents.append(first)
    assert first.said() == "leads 0"
    assert [first.write() for _ in range(3)] == ["wrote"] * 3
    second = Agent(database.url, "second", SECOND)
    agents.append(second)
    first.process.send_signal(signal.SIGSTOP)
    assert second.said() == "leads 3"
    assert second.write() == "wrote"
    first.process.send_signal(signal.SIGCONT)
    assert first.write() == "Deposed"
    assert [second.write(), first.write()] == ["wrote", "Deposed"]
    store = SqlStore.open(database.url, read_only=True)
    assert list(store.entries()) == list(turns(5))
    assert verify(store).findings == ()
    store.close()


def test_a_killed_leader_is_succeeded(database: TestDatabase, agents: list[Agent]) -> None:
    """After kill -9 the one that stood by leads, with every turn that was written."""
    agents.append(Agent(database.url, "first", SECOND))
    assert agents[0].said() == "leads 0"
    assert agents[0].write() == "wrote"
    agents.append(Agent(database.url, "second", SECOND))
    agents[0].process.kill()
    assert agents[1].said() == "leads 1"
    assert agents[1].write() == "wrote"


def test_a_lease_is_renewed_and_given_back(database: TestDatabase) -> None:
    """Renewing keeps the epoch; the same name from another process does not share it; closing
    frees it at once."""
    first, second = (SqlStore.open(database.url, durable=False) for _ in range(2))
    assert [first.lead("agent"), first.lead("agent")] == [True, True]
    assert not second.lead("agent")
    assert second.leader == "agent"
    assert database.run("SELECT epoch FROM lease") == [(1,)]
    with pytest.raises(Deposed, match="does not lead the journal any more"):
        second.append(next(turns(1)))
    first.append(next(turns(1)))
    first.close()
    assert second.lead("agent")
    assert database.run("SELECT epoch FROM lease") == [(2,)]
    assert second.last()[0] == 1
    second.append(list(turns(2))[-1])
    second.close()


def test_nobody_writes_beside_a_leader(database: TestDatabase) -> None:
    """A store that never asked for the lease is refused while somebody leads."""
    store = SqlStore.open(database.url, durable=False)
    leader = SqlStore.open(database.url, durable=False)
    leader.lead("agent")
    with pytest.raises(StoreError, match="is in use: 'agent' leads its journal"):
        store.append(next(turns(1)))
    leader.close()
    store.append(next(turns(1)))
    store.close()


def test_a_clock_set_back_a_day_costs_one_lease(database: TestDatabase) -> None:
    """A dead leader's lease that seems to end a day from now is taken over once it has not changed
    for its own length, by a clock that only goes forward; a living one's is not."""
    store = SqlStore.open(database.url, durable=False)
    store.close()
    opened = open_database(database.url, durable=False, read_only=False)
    tick = 0
    dead = Leadership(opened.dialect, JOURNAL_ROLE, "dead", tick=lambda: tick)
    living = Leadership(opened.dialect, JOURNAL_ROLE, "living", tick=lambda: tick)
    assert opened.write(dead.seek)
    day = 86_400 * SECOND
    # As it would look after the clock went back: everything that was written is in the future.
    database.run(f"UPDATE lease SET expires_at = expires_at + {day}")
    assert not opened.write(living.seek)
    tick += TTL // 2
    # The leader lives after all: its renewal is seen, and the waiting begins anew.
    assert opened.write(dead.seek)
    database.run(f"UPDATE lease SET expires_at = expires_at + {day}")
    assert not opened.write(living.seek)
    tick += TTL // 2 + 1
    assert not opened.write(living.seek)
    tick += TTL // 2
    assert opened.write(living.seek)
    assert living.epoch == 2
    with pytest.raises(Deposed):
        opened.write(dead.fence)
    opened.close()


def test_leading_costs_no_turn(database: TestDatabase) -> None:
    """A leader's journal has the hashes of one that nobody led."""
    led = SqlStore.open(database.url, durable=False)
    assert led.lead("agent", ttl=SECOND)
    hashes = [led.append(turn) for turn in turns(3)]
    led.close()
    read = SqlStore.open(database.url, read_only=True)
    assert read.last() == (3, hashes[-1])
    read.close()
