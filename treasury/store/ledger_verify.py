"""Verification of the shared ledger: the hash chain, the laws of bookkeeping, chains, exchanges,
counters, and the archives that were taken out of it."""

from pathlib import Path

import msgspec

from treasury.ledger.audit import Finding
from treasury.store.archive import ArchiveError, read_archive
from treasury.store.chain import GENESIS
from treasury.store.ledger_check import Checker, SealCheck, carried
from treasury.store.ledger_reader import LedgerReader


class LedgerVerification(msgspec.Struct, frozen=True):
    """What was read, and every broken row, the first one first.

    transfers: those verified, archived ones included. unsealed: the newest ones, which the hash
    chain does not cover yet. unread: archives whose files are not there. hash: after the last
    sealed transfer.
    """

    transfers: int
    unsealed: int
    unread: tuple[str, ...]
    hash: bytes
    findings: tuple[Finding, ...]


def verify_ledger(reader: LedgerReader) -> LedgerVerification:
    """Check everything that the shared ledger says about itself. Raises StoreError."""
    books = Checker()
    archived, prev, unread = 0, GENESIS, []
    for archive in reader.archives():
        if archive.prev_hash != prev or archive.first_seq != archived + 1:
            books.blame("archive", archive.first_seq, f"{archive.file} does not follow the last")
        try:
            for transfer in read_archive(Path(archive.file), archive):
                books.see(transfer)
        except FileNotFoundError:
            unread.append(archive.file)
        except ArchiveError as error:
            books.blame("archive", archive.first_seq, str(error))
        archived, prev = archive.last_seq, archive.hash
    if archived:
        books.reopen(archived, reader.openings(), carried(reader, archived), complete=not unread)
    seals = SealCheck(reader, prev, books)
    for row in reader.transfers(after=archived):
        books.see(row)
        seals.see(row)
    seals.close()
    books.close(reader.accounts())
    count = max(books.seq, archived)
    return LedgerVerification(
        count, count - seals.through, tuple(unread), seals.hash, tuple(books.findings)
    )
