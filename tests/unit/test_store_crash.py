"""A process that is killed while it writes: nothing acknowledged is lost, nothing is half there."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.support.books import turns
from treasury.store import SqlStore
from treasury.store.verify import verify

ROUNDS = 3
CHILD = """
import sys
from tests.support.books import turns
from treasury.store import SqlStore
store = SqlStore.open(sys.argv[1], durable=True)
done = store.last()[0]
for turn in turns(100_000):
    if turn.seq > done:
        store.append(turn)
        print(turn.seq, flush=True)
"""


@pytest.mark.slow
def test_killed_in_the_middle_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Several times kill -9 at a random turn: every acknowledged turn is there, the chain and all
    tables verify, and the next process goes on."""
    path = tmp_path / "t.db"
    dice = Random(20_26)
    last = 0
    for _ in range(ROUNDS):
        target = last + dice.randrange(5, 30)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            acknowledged = last
            # The child writes on while this reads: the kill falls anywhere in a later turn.
            for line in child.stdout:
                acknowledged = int(line)
                if acknowledged >= target:
                    break
            child.kill()
            rest = child.stdout.read().split()
            assert child.wait() == -9
        # A line cut by the kill is no acknowledgement.
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
        store = SqlStore.open(path)
        last = store.last()[0]
        assert last >= acknowledged >= target
        result = verify(store)
        assert (result.turns, result.findings) == (last, ())
        store.close()
    store = SqlStore.open(path)
    assert list(store.entries()) == list(turns(last))
    store.close()
