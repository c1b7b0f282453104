"""The laws of the shared ledger, row by row: for its verification, and before it is archived."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from treasury.domain.ids import HoldId
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger.audit import Auditor, Finding
from treasury.ledger.chains import converted
from treasury.ledger.ledger import Account
from treasury.ledger.request import Rate
from treasury.store.ledger_reader import LedgerReader
from treasury.store.seal import DIGEST_BYTES, digest, link

_KINDS: Final = {kind.value: kind for kind in TransferKind}


def carried(reader: LedgerReader, archived: int) -> list[Any]:
    """Rows of archived periods that stay because later ones refer, or will refer, to them."""
    found = []
    for row in reader.transfers():
        if row.seq > archived:
            break
        found.append(row)
    return found


class Checker:
    """The laws, row by row."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.seq = 0
        self._auditor = Auditor()
        self._chain = 0
        self._linked = 0
        self._rated: list[Any] = []

    @property
    def accounts(self) -> dict[str, Account]:
        """The counters recomputed so far."""
        return self._auditor.accounts

    def blame(self, check: str, seq: int, why: str) -> None:
        """Note a broken row."""
        self.findings.append(Finding(f"ledger {check}", seq, seq, why))

    def see(self, row: Any) -> None:
        """The next transfer."""
        if row.seq != self.seq + 1:
            missing = self.seq + 1
            why = f"transfer {missing} is missing: {row.seq} comes in its place"
            self.blame("sequence", missing, why)
            self._auditor.skip(row.seq - 1)
        self.seq = row.seq
        try:
            transfer = transfer_of(row)
        except (KeyError, TypeError) as error:
            self.blame("kind", row.seq, f"it cannot be read: {error}")
            return
        entry = Entry(row.seq, row.recorded_at, (), (transfer,), ())
        self.findings += [_ours(finding) for finding in self._auditor.see(entry)]
        expected = self._chain if self._linked else row.seq
        if row.chain != expected:
            self.blame("chain", row.seq, f"it belongs to chain {row.chain}, not to {expected}")
        self._chain, self._linked = row.chain, row.linked
        self._exchange(row)

    def _exchange(self, row: Any) -> None:
        """An exchange's second side is the first at its rate, to the micro-unit below."""
        if row.rate is None:
            return
        self._rated.append(row)
        if len(self._rated) == 2:
            (base, quote), self._rated = self._rated, []
            exact = converted(base.amount, msgspec.json.decode(quote.rate, type=Rate))
            if base.rate != quote.rate or base.chain != quote.chain or quote.amount != exact:
                why = f"{quote.amount} is not {base.amount} at the rate of the exchange"
                self.blame("exchange", row.seq, why)

    def reopen(
        self, seq: int, openings: dict[str, Account], rows: Iterable[Any], *, complete: bool
    ) -> None:
        """Go on behind the archives: from what they came to, or from what the database says.

        complete: all of them were read, so that the two must be the same.
        """
        if complete and self.accounts != openings:
            paths = sorted(self.accounts.keys() | openings.keys())
            path = next(p for p in paths if self.accounts.get(p) != openings.get(p))
            self.blame("opening", seq, f"account {path} does not open as the archives close it")
        self._auditor = Auditor()
        kept = map(transfer_of, rows)
        self.findings += [_ours(item) for item in self._auditor.begin(seq, openings, kept)]
        self.seq, self._chain, self._linked, self._rated = seq, 0, 0, []

    def close(self, kept: dict[str, Account]) -> None:
        """The accounts as a whole, and as they are kept."""
        if self._linked:
            self.blame("chain", self.seq, f"chain {self._chain} has no end")
        self.findings += [_ours(finding) for finding in self._auditor.close(kept)]


class SealCheck:
    """The seals read in step with the transfers."""

    def __init__(self, reader: LedgerReader, prev: bytes, books: Checker) -> None:
        self.hash, self.through = prev, books.seq
        self._rows: Iterator[Any] = iter(reader.seals())
        self._books = books
        self._seal: Any = None
        self._place = 0
        self._broken = False
        self._next()

    def _next(self) -> None:
        """The next block; one that does not fit ends the check, for what follows proves nothing."""
        seal = None if self._broken else next(self._rows, None)
        self._seal, self._place = seal, 0
        if seal is None:
            return
        why = ""
        if seal.first_seq != self.through + 1:
            why = f"block {seal.first_seq}-{seal.last_seq} follows transfer {self.through}"
        elif seal.prev_hash != self.hash:
            why = f"block {seal.first_seq}-{seal.last_seq} does not follow the one before it"
        elif seal.hash != link(seal.prev_hash, seal.digests):
            why = f"block {seal.first_seq}-{seal.last_seq}: its digests do not give its hash"
        elif len(seal.digests) != DIGEST_BYTES * (seal.last_seq - seal.first_seq + 1):
            why = f"block {seal.first_seq}-{seal.last_seq} has not a digest for each transfer"
        if why:
            self._break(seal.first_seq, why)

    def _break(self, seq: int, why: str) -> None:
        self._books.blame("hash chain", seq, why)
        self._broken, self._seal = True, None

    def see(self, row: Any) -> None:
        """The next transfer, against its digest."""
        seal = self._seal
        if seal is None:
            return
        start = self._place * DIGEST_BYTES
        if row.seq != seal.first_seq + self._place:
            missing = seal.first_seq + self._place
            self._break(missing, f"transfer {missing} was sealed and is missing")
            return
        if digest(row) != seal.digests[start : start + DIGEST_BYTES]:
            self._books.blame("hash chain", row.seq, "it was changed after it was sealed")
        self._place += 1
        if row.seq == seal.last_seq:
            self.hash, self.through = seal.hash, seal.last_seq
            self._next()

    def close(self) -> None:
        """Nothing sealed may be missing at the end."""
        if self._seal is not None:
            missing = self._seal.first_seq + self._place
            self._break(missing, f"transfer {missing} was sealed and is missing")


def transfer_of(row: Any) -> Transfer:
    """A row as the audit reads it: numbered by its seq. Raises KeyError for an unknown kind."""
    refers = None if row.refers is None else HoldId(row.refers)
    return Transfer(
        HoldId(row.seq),
        _KINDS[row.kind],
        row.debit,
        row.credit,
        row.amount,
        row.event_at,
        row.reason,
        row.currency,
        refers,
    )


def _ours(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, check=f"ledger {finding.check}")
