"""Retention: closed periods of the shared ledger leave the database for a compressed file.

The file is gzip over lines of JSON: one with what it is, then each transfer as the very bytes its
digest is made of. The database keeps the accounts as they were at its end, the transfers that later
ones still refer to, every id (so that nothing is done twice), and the hash at which the rest of the
chain begins.
"""

import gzip
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select

from treasury.domain.errors import NotFound, StoreError
from treasury.domain.time import format_instant
from treasury.ledger.judge import Written, asked, fingerprint
from treasury.ledger.ledger import Account
from treasury.ledger.request import content
from treasury.store.database import Database, guard
from treasury.store.lease import LEDGER_ROLE, Leadership
from treasury.store.ledger_check import Checker, SealCheck, carried
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_tables import (
    LEDGER_ARCHIVES,
    LEDGER_OPENINGS,
    LEDGER_SEALS,
    LEDGER_SPENT_IDS,
    LEDGER_TRANSFERS,
)
from treasury.store.seal import link

FORMAT: Final = "treasury-ledger-archive/1"
PAGE: Final = 2_000
_HASH_CHUNK: Final = 1 << 20

_T: Final = LEDGER_TRANSFERS.c


class Header(msgspec.Struct, frozen=True):
    """An archive's first line. blocks: last seq of each block of the hash chain."""

    format: str
    first_seq: int
    last_seq: int
    prev_hash: str
    hash: str
    blocks: list[int]


class ArchiveError(ValueError):
    """A file that is not the archive it should be."""


class Archived(msgspec.Struct, frozen=True):
    """What was taken out. kept: transfers of it that stay, because later ones refer to them."""

    file: Path
    first_seq: int
    last_seq: int
    kept: int
    hash: bytes
    file_hash: bytes


def archive(database: Database, before: int, folder: Path, *, holder: str = "archive") -> Archived:
    """Take transfers recorded before an instant [ns] out to a new file in `folder`.

    It ends with the last block of the hash chain that lies before the instant. The file is on the
    disk before anything leaves the database. Raises NotFound when there is nothing to take out, and
    StoreError for books that do not verify, while another process leads, or when a file or the
    database refuses.
    """
    reader = LedgerReader(database)
    done = reader.archives()
    first, prev = (done[-1].last_seq + 1, done[-1].hash) if done else (1, bytes(32))
    with guard(database, "archiving"):
        seals = database.read(partial(_closed_blocks, before))
    if not seals:
        raise NotFound(
            f"{database.name} has no sealed block of transfers that ends"
            f" before {format_instant(before)}"
        )
    last = seals[-1].last_seq
    books = Checker()
    if done:
        kept_rows = carried(reader, first - 1)
        books.reopen(first - 1, reader.openings(), kept_rows, complete=False)
    header = Header(
        FORMAT, first, last, prev.hex(), seals[-1].hash.hex(), [s.last_seq for s in seals]
    )
    path = folder / f"ledger-{first:012d}-{last:012d}.jsonl.gz"
    rows = _watched(reader.transfers(first - 1), last, books, SealCheck(reader, prev, books))
    file_hash = _write(path, header, rows)
    if books.findings:
        path.unlink()
        broken = books.findings[0]
        raise StoreError(
            f"{database.name} does not verify: transfer {broken.seq}: {broken.message};"
            " nothing was archived"
        )
    entry = {
        "last_seq": last,
        "first_seq": first,
        "prev_hash": prev,
        "hash": seals[-1].hash,
        "before": before,
        "file": str(path),
        "file_hash": file_hash,
    }
    leadership = Leadership(database.dialect, LEDGER_ROLE, holder)
    with guard(database, "archiving"):
        if not database.write(leadership.seek):
            raise StoreError(
                f"{database.name} is in use: {leadership.leader!r} leads its ledger;"
                " stop it to archive"
            )
        try:
            take = partial(_take_out, database, leadership, entry, dict(books.accounts))
            kept = database.write(take)
        finally:
            database.write(leadership.release)
    return Archived(path, first, last, kept, seals[-1].hash, file_hash)


def read_archive(path: Path, entry: Any) -> Iterator[Written]:
    """The transfers of an archive's file, each held against its hash chain.

    entry: its row of `ledger_archives`. Raises FileNotFoundError, and ArchiveError saying what is
    wrong with the file.
    """
    if _hash_of(path) != entry.file_hash:
        raise ArchiveError(f"{path} was changed: its hash is not the one in the database")
    try:
        with gzip.open(path, "rb") as stream:
            header = msgspec.json.decode(next(stream, b""), type=Header)
            yield from _checked(path, header, stream, entry.hash)
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}") from error


def _checked(path: Path, header: Header, lines: Any, end: bytes) -> Iterator[Written]:
    prev, digests, blocks = bytes.fromhex(header.prev_hash), b"", iter(header.blocks)
    block = next(blocks, 0)
    for line in lines:
        text = line.rstrip(b"\n")
        values = msgspec.json.decode(text)
        row = msgspec.convert(dict(zip(Written.__struct_fields__, values, strict=True)), Written)
        digests += hashlib.blake2b(text, digest_size=32).digest()
        yield row
        if row.seq == block:
            prev, digests, block = link(prev, digests), b"", next(blocks, 0)
    if prev != end or digests:
        raise ArchiveError(f"{path} does not give the hash that the database keeps of it")


def _closed_blocks(before: int, connection: Connection) -> Sequence[Any]:
    """The blocks whose transfers were all recorded before an instant."""
    first_after = connection.execute(select(func.min(_T.seq)).where(_T.recorded_at >= before))
    end = first_after.scalar()
    wanted = select(LEDGER_SEALS.c.last_seq, LEDGER_SEALS.c.hash).order_by(LEDGER_SEALS.c.last_seq)
    if end is not None:
        wanted = wanted.where(LEDGER_SEALS.c.last_seq < end)
    return connection.execute(wanted).all()


def _watched(rows: Iterator[Any], last: int, books: Checker, seals: SealCheck) -> Iterator[Any]:
    """Rows up to the archive's end, each audited as it goes."""
    for row in rows:
        if row.seq > last:
            return
        books.see(row)
        seals.see(row)
        yield row


def _write(path: Path, header: Header, rows: Iterator[Any]) -> bytes:
    """The file, whole and on the disk or not there; its hash."""
    part = path.with_suffix(".part")
    encode = msgspec.json.encode
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as raw:
            # No name and no time in it: the same transfers give the same file.
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
                stream.write(encode(header) + b"\n")
                for row in rows:
                    stream.write(encode(tuple(row)) + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return _hash_of(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; nothing was archived"
        ) from error


def _hash_of(path: Path) -> bytes:
    total = hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK):
            total.update(chunk)
    return total.digest()


def _take_out(
    database: Database,
    leadership: Leadership,
    entry: dict[str, Any],
    openings: dict[str, Account],
    connection: Connection,
) -> int:
    """Let the archived rows go; how many stay."""
    dialect = database.dialect
    # It may take its time, and nobody migrates meanwhile.
    dialect.serialize(connection)
    leadership.fence(connection)
    last = entry["last_seq"]
    dialect.add_rows(
        connection, LEDGER_ARCHIVES, [tuple(entry[c.name] for c in LEDGER_ARCHIVES.columns)]
    )
    connection.execute(delete(LEDGER_OPENINGS))
    accounts = [
        (
            account.path,
            account.policy.value,
            account.currency,
            account.debit_pending,
            account.debit_posted,
            account.credit_pending,
            account.credit_posted,
        )
        for _, account in sorted(openings.items())
    ]
    dialect.add_rows(connection, LEDGER_OPENINGS, accounts)
    _spend_ids(dialect, connection, entry["first_seq"], last)
    connection.execute(delete(LEDGER_SEALS).where(LEDGER_SEALS.c.last_seq <= last))
    kept = _kept(connection, last)
    gone = delete(LEDGER_TRANSFERS).where(_T.seq <= last)
    connection.execute(gone.where(~dialect.among(_T.seq, "kept")), {"kept": dialect.listed(kept)})
    return len(kept)


def _kept(connection: Connection, last: int) -> list[int]:
    """Open holds, transfers that later ones refer to, and what those refer to."""
    later = LEDGER_TRANSFERS.alias("later")
    resolver = select(later.c.refers).where(later.c.refers == _T.seq, later.c.seq <= last).exists()
    is_open = (_T.kind == "hold") & ~resolver
    referred = select(later.c.refers).where(later.c.refers == _T.seq, later.c.seq > last).exists()
    wanted = select(_T.seq, _T.refers).where(_T.seq <= last, is_open | referred)
    found: set[int] = set()
    for seq, refers in connection.execute(wanted):
        found.add(seq)
        if refers is not None:
            found.add(refers)
    return sorted(found)


def _spend_ids(dialect: Any, connection: Connection, first: int, last: int) -> None:
    """Keep each id with a fingerprint of what was asked for."""
    target = LEDGER_TRANSFERS.alias("target")
    page = (
        select(LEDGER_TRANSFERS, target.c.id)
        .outerjoin(target, target.c.seq == _T.refers)
        .where(_T.seq >= bindparam("first"), _T.seq <= last)
        .order_by(_T.seq)
        .limit(PAGE)
    )
    pending: list[tuple[Written, bytes]] = []
    while rows := connection.execute(page, {"first": first}).all():
        done: list[tuple[Any, ...]] = []
        for *columns, refers in rows:
            row = Written(*columns)
            pending.append((row, fingerprint(content(asked(row, refers or "")))))
            if row.linked:
                continue
            for place, (member, print_) in enumerate(pending):
                links = len(pending) if place == 0 else 0
                done.append((member.id, member.seq, links, member.recorded_at, print_))
            pending.clear()
        if done:
            dialect.add_rows(connection, LEDGER_SPENT_IDS, done)
        first = rows[-1].seq + 1


__all__ = ["ArchiveError", "Archived", "archive", "read_archive"]
