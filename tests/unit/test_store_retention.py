"""Closed periods leave the database for a file, and the books stay whole; and whoever touches a
row of the shared ledger is found out."""

import gzip
import shutil
from pathlib import Path

import pytest

from tests.support.postgres import TestDatabase
from treasury.domain.errors import NotFound, StoreError
from treasury.ledger import chart
from treasury.ledger.request import (
    Outcome,
    Receipt,
    Refusal,
    RefusalCode,
    TransferRequest,
    direct,
    hold,
    post,
    reverse,
    void,
)
from treasury.store.archive import Archived, archive
from treasury.store.database import open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_verify import LedgerVerification, verify_ledger
from treasury.store.writer import LedgerWriter

WALLET, EXPENSE = chart.wallet("red"), chart.expense("red", "aws")
# The database's clock in the far future [ns]: everything is before it.
LATER = 2**62


def deal(first: int, count: int) -> list[TransferRequest | tuple[TransferRequest, ...]]:
    """Holds from number `first` on; each but every tenth is used, each fifth in one chain with an
    extra hold that is freed."""
    made: list[TransferRequest | tuple[TransferRequest, ...]] = []
    for n in range(first, first + count):
        made.append(hold(f"h{n}", EXPENSE, WALLET, 10, event_at=n, reason="hold"))
        used = post(f"p{n}", f"h{n}", 4, event_at=n, reason="metered")
        if n % 10 == 0:
            continue
        if n % 5:
            made.append(used)
            continue
        extra = hold(f"x{n}", EXPENSE, WALLET, 10, event_at=n, reason="hold")
        made.append((used, extra, void(f"v{n}", f"x{n}", event_at=n, reason="declined")))
    return made


FUNDS = direct("fund", WALLET, chart.FUNDING, 10**6, event_at=0, reason="fund")


async def write(
    url: str, *requests: TransferRequest | tuple[TransferRequest, ...]
) -> list[Outcome]:
    """Submit one after the other, seal, close."""
    async with await LedgerWriter.open(url, durable=False) as writer:
        return [await writer.submit(request) for request in requests]


def take_out(database: TestDatabase, folder: Path, before: int = LATER) -> Archived:
    """Archive."""
    opened = open_database(database.url, durable=False, read_only=False)
    try:
        return archive(opened, before, folder)
    finally:
        opened.close()


def verified(database: TestDatabase) -> LedgerVerification:
    """The whole verification."""
    opened = open_database(database.url, durable=False, read_only=True)
    try:
        return verify_ledger(LedgerReader(opened))
    finally:
        opened.close()


async def test_archived_periods_stay_verifiable(database: TestDatabase, tmp_path: Path) -> None:
    """Two archives and the rest are one ledger: balances, open holds, reversals across the cut and
    ids go on, and verification reads all of it from the first transfer."""
    await write(database.url, FUNDS, *deal(1, 40))
    whole = verified(database)
    assert (whole.transfers, whole.unsealed, whole.findings) == (85, 0, ())
    accounts = database.run("SELECT * FROM ledger_accounts ORDER BY path")
    first = take_out(database, tmp_path / "archives")
    assert (first.first_seq, first.last_seq, first.kept, first.hash) == (1, 85, 4, whole.hash)
    kept = database.run("SELECT id FROM ledger_transfers ORDER BY seq")
    assert kept == [("h10",), ("h20",), ("h30",), ("h40",)]
    assert database.run("SELECT * FROM ledger_accounts ORDER BY path") == accounts
    assert verified(database) == whole
    answers = await write(
        database.url,
        post("p10", "h10", 4, event_at=9, reason="metered"),
        reverse("r10", "p10", event_at=9, reason="bill"),
        *deal(41, 20),
    )
    assert all(isinstance(answer, Receipt) for answer in answers)
    assert answers[0] == Receipt(86, 1, getattr(answers[0], "recorded_at", 0))
    second = take_out(database, tmp_path / "archives")
    assert (second.first_seq, second.last_seq, second.kept) == (86, 129, 5)
    await write(database.url, reverse("r41", "p41", event_at=9, reason="bill"), *deal(61, 5))
    result = verified(database)
    assert (result.findings, result.unread, result.unsealed) == ((), (), 0)
    assert result.transfers == database.run("SELECT max(seq) FROM ledger_transfers")[0][0]


async def test_ids_stay_taken_after_they_were_archived(
    database: TestDatabase, tmp_path: Path
) -> None:
    """What was done before the archive is answered as done, alone and in its chain; another
    content, half a chain, or an end that comes too late is refused."""
    requests = (FUNDS, *deal(1, 6))
    before = await write(database.url, *requests)
    take_out(database, tmp_path)
    again = await write(database.url, *requests)
    for old, new in zip(before, again, strict=True):
        assert isinstance(old, Receipt) and isinstance(new, Receipt)
        assert (new.seq, new.count, new.recorded_at) == (old.seq, old.count, old.recorded_at)
        assert new.existed
    chain = next(item for item in requests if isinstance(item, tuple))
    wrong = await write(
        database.url,
        hold("h1", EXPENSE, WALLET, 11, event_at=1, reason="hold"),
        chain[:2],
        chain[1:],
        reverse("r1", "p1", event_at=1, reason="bill"),
        hold("new", EXPENSE, WALLET, 1, event_at=1, reason="hold"),
    )
    codes = [answer.code if isinstance(answer, Refusal) else None for answer in wrong]
    assert codes == [
        RefusalCode.DIFFERS,
        RefusalCode.LINKED,
        RefusalCode.LINKED,
        RefusalCode.UNKNOWN,
        None,
    ]
    assert "is in an archive" in getattr(wrong[3], "message", "")
    assert verified(database).findings == ()


async def test_an_archive_that_changed_or_went_is_noticed(
    database: TestDatabase, tmp_path: Path
) -> None:
    """A changed file is a finding, a missing one is named, and the rest is verified either way."""
    await write(database.url, FUNDS, *deal(1, 6))
    taken = take_out(database, tmp_path)
    text = gzip.decompress(taken.file.read_bytes())
    taken.file.write_bytes(gzip.compress(text.replace(b'"h1"', b'"h9"')))
    (finding,) = [f for f in verified(database).findings if f.check == "ledger archive"]
    assert "was changed" in finding.message
    taken.file.unlink()
    result = verified(database)
    assert (result.findings, result.unread) == ((), (str(taken.file),))


async def test_nothing_leaves_before_its_time(database: TestDatabase, tmp_path: Path) -> None:
    """Without a sealed block before the instant, beside a leader, or with broken books nothing is
    taken out and no file remains."""
    await write(database.url, FUNDS, *deal(1, 6))
    with pytest.raises(NotFound, match="no sealed block of transfers that ends before 1970"):
        take_out(database, tmp_path / "a", before=1)
    async with await LedgerWriter.open(database.url, durable=False, holder="api"):
        with pytest.raises(StoreError, match="'api' leads its ledger; stop it to archive"):
            take_out(database, tmp_path / "b")
    forge(database, "UPDATE ledger_transfers SET amount = amount + 7 WHERE id = 'h1'")
    with pytest.raises(StoreError, match="does not verify: transfer 2: it was changed"):
        take_out(database, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())
    assert database.run("SELECT count(*) FROM ledger_transfers") == [(15,)]


def forge(database: TestDatabase, *statements: str) -> None:
    """Change the tables as somebody could who may do everything there."""
    if database.kind == "postgres":
        checks = database.run(
            "SELECT conname FROM pg_constraint WHERE contype = 'c'"
            " AND conrelid = 'ledger_transfers'::regclass"
        )
        drops = [f"ALTER TABLE ledger_transfers DROP CONSTRAINT {name}" for (name,) in checks]
        database.run("SET session_replication_role = replica", *drops, *statements)
        return
    triggers = database.run("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    drops = [f"DROP TRIGGER {name}" for (name,) in triggers]
    database.run("PRAGMA ignore_check_constraints = ON", *drops, *statements)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfers SET amount = 5 WHERE id = 'h3'",
        "UPDATE ledger_transfers SET reason = 'x' WHERE id = 'h3'",
        "DELETE FROM ledger_transfers WHERE id = 'h3'",
    ],
)
async def test_the_database_itself_refuses_changes(database: TestDatabase, statement: str) -> None:
    """A shell that is not told to do otherwise can neither change nor delete a transfer."""
    await write(database.url, FUNDS, *deal(1, 3))
    with pytest.raises(Exception, match="a transfer is never"):
        database.run(statement)
    assert verified(database).findings == ()


@pytest.mark.parametrize(
    ("statement", "check", "seq", "message"),
    [
        ("UPDATE ledger_transfers SET amount = 11 WHERE id = 'h3'", "hash chain", 6, "changed"),
        ("UPDATE ledger_transfers SET subject = 'x' WHERE id = 'h3'", "hash chain", 6, "changed"),
        ("DELETE FROM ledger_transfers WHERE id = 'h3'", "sequence", 6, "6 is missing"),
        ("DELETE FROM ledger_transfers WHERE seq > 6", "hash chain", 7, "sealed and is missing"),
        ("UPDATE ledger_transfers SET kind = 'x' WHERE id = 'h3'", "kind", 6, "cannot be read"),
        ("UPDATE ledger_transfers SET chain = 2 WHERE id = 'h3'", "chain", 6, "to chain 2"),
        ("UPDATE ledger_transfers SET amount = 9 WHERE id = 'p2'", "hash chain", 5, "changed"),
        ("UPDATE ledger_seals SET digests = prev_hash", "hash chain", 1, "do not give its hash"),
        ("UPDATE ledger_seals SET first_seq = 0", "hash chain", 0, "follows transfer 0"),
        ("UPDATE ledger_accounts SET debit_posted = debit_posted + 1", "balance", 10, "exceed"),
        ("DELETE FROM ledger_accounts WHERE path LIKE 'exp%'", "balance", 10, "kept pending"),
    ],
)
async def test_a_changed_row_is_named(
    database: TestDatabase, statement: str, check: str, seq: int, message: str
) -> None:
    """Whatever somebody changes with all locks off, verification names the first broken row."""
    await write(database.url, FUNDS, *deal(1, 5)[:9])
    forge(database, statement)
    findings = verified(database).findings
    assert findings
    assert (findings[0].check, findings[0].seq) == (f"ledger {check}", seq)
    assert message in findings[0].message


def test_the_command_line_verifies_and_archives(tmp_path: Path) -> None:
    """`treasury ledger verify` counts the shared ledger too, `archive` takes it out, and a broken
    row ends with exit code 1."""
    import asyncio

    from click.testing import CliRunner

    from treasury.cli.main import cli

    path = str(tmp_path / "t.db")
    asyncio.run(write(path, FUNDS, *deal(1, 6)))
    run = CliRunner().invoke
    text = run(cli, ["ledger", "verify", "--db", path]).output
    assert "15 transfers of the shared ledger verified, 0 of them not sealed yet" in text
    out = str(tmp_path / "old")
    result = run(cli, ["ledger", "archive", "--db", path, "--before", "2100-01-01", "--out", out])
    assert result.exit_code == 0, result.output
    assert "transfers 1 to 15, 15 in all, 0 of them stay" in result.output
    assert run(cli, ["ledger", "verify", "--db", path]).exit_code == 0
    shutil.rmtree(out)
    result = run(cli, ["ledger", "verify", "--db", path])
    assert result.exit_code == 0
    assert "is not there: its transfers were not verified" in result.output
    database = TestDatabase("sqlite", path, Path(path))
    forge(database, "UPDATE ledger_openings SET debit_posted = 1 + debit_posted")
    result = run(cli, ["ledger", "verify", "--db", path])
    assert result.exit_code == 1
    missing = run(cli, ["ledger", "archive", "--db", path + "x", "--before", "2100-01-01"])
    assert not Path(path + "x").exists()
    assert missing.exit_code
