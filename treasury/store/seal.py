"""The hash chain over the shared ledger, made behind the writer's back in blocks of rows.

digest(row) = blake2b-256 over the row's columns as a JSON array, in the order of the table. A block
keeps the digest of each of its rows, so that one that was changed is named, and
hash = blake2b-256(hash of the block before + all digests); before the first are 32 zero bytes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, select

from treasury.store.chain import GENESIS
from treasury.store.commit import Seal
from treasury.store.ledger_tables import LEDGER_ARCHIVES, LEDGER_SEALS, LEDGER_TRANSFERS

# Rows a block: some milliseconds of work, so that no caller waits long for it.
BLOCK: Final = 512
DIGEST_BYTES: Final = 32

_ENCODE: Final = msgspec.json.Encoder().encode
_UNSEALED: Final = (
    select(LEDGER_TRANSFERS)
    .where(LEDGER_TRANSFERS.c.seq > bindparam("after"))
    .order_by(LEDGER_TRANSFERS.c.seq)
    .limit(BLOCK)
)
_LAST_SEAL: Final = (
    select(LEDGER_SEALS.c.last_seq, LEDGER_SEALS.c.hash)
    .order_by(LEDGER_SEALS.c.last_seq.desc())
    .limit(1)
)
_LAST_ARCHIVE: Final = (
    select(LEDGER_ARCHIVES.c.last_seq, LEDGER_ARCHIVES.c.hash)
    .order_by(LEDGER_ARCHIVES.c.last_seq.desc())
    .limit(1)
)


def digest(row: Iterable[Any]) -> bytes:
    """A transfer's digest: 32 bytes over all its columns."""
    return hashlib.blake2b(_ENCODE(tuple(row)), digest_size=DIGEST_BYTES).digest()


def link(prev: bytes, digests: bytes) -> bytes:
    """A block's hash, from the hash of the one before it."""
    return hashlib.blake2b(prev + digests, digest_size=DIGEST_BYTES).digest()


def sealed(connection: Connection) -> tuple[int, bytes]:
    """The last sealed transfer and the hash after it; (0, GENESIS) before the first."""
    for statement in (_LAST_SEAL, _LAST_ARCHIVE):
        row = connection.execute(statement).one_or_none()
        if row is not None:
            return row.last_seq, row.hash
    return 0, GENESIS


def next_seal(connection: Connection) -> Seal | None:
    """The block after the last sealed one, as it is to be written; None when all is sealed."""
    last, prev = sealed(connection)
    rows: Sequence[Any] = connection.execute(_UNSEALED, {"after": last}).all()
    end = len(rows)
    # A block ends where a chain ends, so that an archive, which ends with a block, does too.
    while end and rows[end - 1].linked:
        end -= 1
    if not end:
        return None
    rows = rows[:end]
    digests = b"".join(map(digest, rows))
    return rows[-1].seq, rows[0].seq, prev, link(prev, digests), digests
