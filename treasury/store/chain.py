"""The journal's wire form and its hash chain, in one place for every store and simulator.

hash(n) = blake2b-256(hash(n-1) + body(n)), hash(0) = GENESIS. The body is the turn's JSON, so that
a change to any byte of any turn changes every hash after it.
"""

import hashlib
from typing import Any, Final

import msgspec

from treasury.domain.turn import Entry

GENESIS: Final = bytes(32)

# Dicts keep the order of their keys: a replay that iterates over one does so as the run did.
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """A turn's canonical JSON (UTF-8)."""
    return _ENCODER.encode(entry)


def decode(body: bytes) -> Entry:
    """The turn of a body. Raises msgspec.DecodeError for JSON that is no turn."""
    return _DECODER.decode(body)


def link(prev: bytes, body: bytes) -> bytes:
    """The journal's hash after a body, from the hash before it (32 bytes each)."""
    return hashlib.blake2b(prev + body, digest_size=32).digest()


def read(row: Any, seq: int, prev: bytes) -> Entry:
    """The turn of a journal row (seq, at, body, prev_hash, hash), held against the chain.

    seq, prev: the number the row must have and the hash before it. Raises ValueError saying what is
    wrong with the row.
    """
    row_seq, at, text, row_prev, row_hash = row
    if row_seq != seq:
        raise ValueError(f"turn {seq} is missing: turn {row_seq} comes in its place")
    # A body that is no UTF-8 comes as surrogates and goes back into the bytes it was.
    body = text.encode(errors="surrogateescape") if isinstance(text, str) else b""
    if row_prev != prev:
        raise ValueError(f"turn {seq} does not follow the turn before it: its prev_hash differs")
    if row_hash != link(prev, body):
        raise ValueError(f"turn {seq} was changed: its body does not give its hash")
    try:
        entry = decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"turn {seq} cannot be read: {error}") from error
    if entry.seq != seq or entry.at != at:
        raise ValueError(f"turn {seq} was changed: its columns differ from its body")
    return entry
