"""The `Store` port as both stores keep it: the journal, its hash chain, the outbox."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.books import AWS, entry, transfer, turns
from tests.support.postgres import TestDatabase
from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.events import JobQueued
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.turn import Entry
from treasury.ledger.ledger import Ledger
from treasury.ports import Store
from treasury.store import MemoryStore, SqlStore
from treasury.store.chain import GENESIS, decode, encode

KINDS = ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.sockets)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    kind = request.param
    if kind == "memory":
        made: Store = MemoryStore()
    elif kind == "sqlite":
        made = SqlStore.open(tmp_path / "t.db", durable=False)
    else:
        made = SqlStore.open(request.getfixturevalue("postgres")(), durable=False)
    yield made
    made.close()


def test_a_turn_comes_back_as_it_was(store: Store) -> None:
    """Facts, transfers and commands survive storage, and `last` follows the hashes."""
    written = list(turns(9))
    hashes = [store.append(turn) for turn in written]
    assert list(store.entries()) == written
    assert list(store.entries(after=7)) == written[7:]
    assert list(store.entries(after=9)) == list(store.entries(after=99)) == []
    assert store.last() == (9, hashes[-1])
    assert len(set(hashes)) == 9


def test_the_hash_is_blake2b_over_hash_and_body(store: Store) -> None:
    """The chain is what the documents say, so that anybody can recompute it."""
    assert store.last() == (0, bytes(32))
    expected = GENESIS
    for turn in turns(3):
        body = msgspec.json.encode(turn)
        expected = hashlib.blake2b(expected + body, digest_size=32).digest()
        assert store.append(turn) == expected


def test_a_gap_is_refused(store: Store) -> None:
    """A turn that skips or repeats a number is our own mistake, and nothing is written."""
    first, second, third = turns(3)
    store.append(first)
    for wrong in (first, third):
        with pytest.raises(InvariantBroken, match=f"turn {wrong.seq} cannot follow turn 1"):
            store.append(wrong)
    store.append(second)
    assert list(store.entries()) == [first, second]


def test_commands_wait_in_the_outbox_until_they_are_delivered(store: Store) -> None:
    """Undelivered commands come in order, and a delivered one does not come again."""
    written = list(turns(5))
    for turn in written:
        store.append(turn)
    waiting = [(turn.seq, 0, turn.commands[0]) for turn in written if turn.commands]
    assert list(store.undelivered()) == waiting
    store.delivered(3, 0)
    store.delivered(3, 0)
    assert list(store.undelivered()) == [waiting[0], *waiting[2:]]
    with pytest.raises(InvariantBroken, match="turn 3 has no command 1"):
        store.delivered(3, 1)


def test_all_stores_chain_alike(database: TestDatabase) -> None:
    """A database, a kept and an unkept journal in memory reach the same hash."""
    kept = SqlStore.open(database.url, durable=False)
    stores: list[Store] = [kept, MemoryStore(), MemoryStore(keep=False)]
    for turn in turns(6):
        assert len({store.append(turn) for store in stores}) == 1
    assert len({store.last() for store in stores}) == 1
    kept.close()


def test_an_unkept_journal_says_so() -> None:
    """A store that keeps the hash alone refuses to pretend that nothing happened."""
    store = MemoryStore(keep=False)
    for turn in turns(4):
        store.append(turn)
    with pytest.raises(StoreError, match="the journal's hash alone"):
        next(store.entries())
    assert list(store.undelivered()) == []
    store.delivered(2, 0)
    assert store.last()[0] == 4


def test_the_wire_form_keeps_the_order_of_dicts() -> None:
    """A replay iterates over a job's throughputs as the run did, and hashes the same bytes."""
    requirement = Requirement(throughput={"V100": 1_000, "A100-80GB": 3_000, "K80": 100})
    spec = JobSpec(JobId("j"), CostCentre("red"), requirement, work=1, submitted_at=0)
    turn = Entry(1, 0, (JobQueued(spec),), (), ())
    again = decode(encode(turn))
    assert again == turn
    fact = again.facts[0]
    assert isinstance(fact, JobQueued)
    assert list(fact.spec.requirement.throughput) == ["V100", "A100-80GB", "K80"]
    assert encode(again) == encode(turn)


def test_a_database_goes_on_where_it_ended(database: TestDatabase) -> None:
    """After closing and opening, holds made before are resolved and the chain continues."""
    written = list(turns(12))
    for turn in written:
        store = SqlStore.open(database.url, durable=False)
        store.append(turn)
        store.close()
    store = SqlStore.open(database.url, durable=False)
    assert list(store.entries()) == written
    assert len(list(store.undelivered())) == 11
    store.close()
    if database.path:
        assert [item.name for item in database.path.parent.iterdir()] == ["t.db"]


def test_the_accounts_table_equals_the_ledger(database: TestDatabase) -> None:
    """The counters kept beside the journal are those of the ledger that made the turns."""
    books = Ledger()
    store = SqlStore.open(database.url, durable=False)
    for turn in turns(40, ledger=books):
        store.append(turn)
    assert store.accounts() == books.accounts
    store.close()


def test_a_journal_longer_than_a_page_is_read_whole(database: TestDatabase) -> None:
    """Reading goes page by page without losing or repeating a turn."""
    store = SqlStore.open(database.url, durable=False)
    for seq in range(1, 1_201):
        store.append(entry(seq, transfer(seq), at=seq))
    assert [turn.seq for turn in store.entries()] == list(range(1, 1_201))
    assert [row.id for row in store.transfer_rows()] == list(range(1, 1_201))
    store.close()


def test_a_reader_sees_what_a_writer_commits(database: TestDatabase) -> None:
    """Another process can read while turns are written, and never blocks them."""
    writer = SqlStore.open(database.url, durable=False)
    first, second, third = turns(3)
    writer.append(first)
    reader = SqlStore.open(database.url, read_only=True)
    assert reader.last()[0] == 1
    reading = reader.entries()
    assert next(reading) == first
    writer.append(second)
    writer.append(third)
    assert reader.last() == writer.last()
    assert [turn.seq for turn in reader.entries()] == [1, 2, 3]
    reader.close()
    writer.close()


def test_memory_needs_no_database_library() -> None:
    """Keeping a journal in memory loads neither SQLAlchemy nor Alembic nor SQLite."""
    program = (
        "import sys, treasury.store as s; s.MemoryStore().last();"
        "print([m for m in ('sqlalchemy', 'alembic', 'sqlite3') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_names_reach_the_outbox_as_they_are(database: TestDatabase) -> None:
    """The outbox names each command's kind, for those who look into the database."""
    store = SqlStore.open(database.url, durable=False)
    for turn in turns(2):
        store.append(turn)
    (row,) = store.outbox_rows()
    assert (row.seq, row.idx, row.kind, row.delivered) == (2, 0, "release", 0)
    assert AWS in row.body
    store.close()
