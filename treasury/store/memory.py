"""A journal in memory: the same port and the same hashes, for benchmarks, sweeps and tests."""

from collections.abc import Iterator

from treasury.domain.errors import InvariantBroken, StoreError
from treasury.domain.plan import Approved
from treasury.domain.turn import Entry
from treasury.store.chain import GENESIS, decode, encode, link


class MemoryStore:
    """Nothing outlives the process.

    keep=False keeps the newest hash and nothing else, so that memory stays flat however long the
    run: there is no journal to read back and no outbox.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._seq = 0
        self._hash = GENESIS
        self._bodies: list[bytes] = []
        # None once it is delivered.
        self._outbox: dict[tuple[int, int], Approved | None] = {}

    def append(self, entry: Entry) -> bytes:
        """Take one turn; the journal's hash after it. Raises InvariantBroken for a gap."""
        if entry.seq != self._seq + 1:
            raise InvariantBroken(f"turn {entry.seq} cannot follow turn {self._seq}")
        body = encode(entry)
        self._hash = link(self._hash, body)
        self._seq = entry.seq
        if self._keep:
            self._bodies.append(body)
            for index, approved in enumerate(entry.commands):
                self._outbox[entry.seq, index] = approved
        return self._hash

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Turns with seq > `after`. Raises StoreError when they were not kept."""
        if not self._keep:
            raise StoreError(
                "this store keeps the journal's hash alone: there are no turns to read"
            )
        for body in self._bodies[after:]:
            yield decode(body)

    def last(self) -> tuple[int, bytes]:
        """Sequence number and hash of the newest turn; (0, GENESIS) before the first."""
        return self._seq, self._hash

    def undelivered(self) -> Iterator[tuple[int, int, Approved]]:
        """Commands not yet marked delivered: (seq, index in the turn, command)."""
        for (seq, index), approved in list(self._outbox.items()):
            if approved is not None:
                yield seq, index, approved

    def delivered(self, seq: int, index: int) -> None:
        """Mark a command as sent; one that is marked already stays so."""
        if not self._keep:
            return
        if (seq, index) not in self._outbox:
            raise InvariantBroken(f"turn {seq} has no command {index}")
        self._outbox[seq, index] = None

    def close(self) -> None:
        """Forget everything."""
        self._bodies.clear()
        self._outbox.clear()
