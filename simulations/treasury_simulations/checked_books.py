"""The books kept a second time, from the published meaning of a transfer alone."""

from typing import Final

from treasury.domain.errors import InvariantBroken
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury_simulations.world import World

# Accounts that may not be overdrawn, by the chart of accounts.
_LIMITED: Final = ("assets:budget:", "limit:")


class Counters:
    """One account [micro-USD]: held and settled, on either side."""

    __slots__ = ("credit_held", "credited", "debit_held", "debited")

    def __init__(self) -> None:
        self.debit_held = self.debited = self.credit_held = self.credited = 0

    def values(self) -> tuple[int, int, int, int]:
        """(debits held, debits settled, credits held, credits settled)."""
        return self.debit_held, self.debited, self.credit_held, self.credited


class BooksBalance:
    """Debits equal credits after every turn; wallets and limits are never overdrawn, holds
    included; a hold is resolved once and never for more than it holds; the engine's books say the
    same."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.accounts: dict[str, Counters] = {}
        self.holds: dict[int, Transfer] = {}
        self.seq = 0
        self.book: Book

    def begin(self, world: World, book: Book) -> None:
        """Before the first turn."""
        del world
        self.book = book

    def see(self, entry: Entry) -> None:
        """Book a turn's transfers."""
        self.seq = entry.seq
        for transfer in entry.transfers:
            self._take(transfer)
        if entry.seq % self.every == 0:
            self._compare()

    def finish(self) -> None:
        """Nothing is held, and both sets of books agree."""
        self._compare()
        if self.holds:
            raise self._broken(f"holds are open at the end: {[*self.holds]}")

    def _take(self, transfer: Transfer) -> None:
        debit, credit = self._side(transfer.debit), self._side(transfer.credit)
        kind, amount = transfer.kind, transfer.amount
        if transfer.debit == transfer.credit or amount < 0:
            raise self._broken(f"{transfer} moves nothing")
        if kind is TransferKind.HOLD:
            self.holds[transfer.id] = transfer
            debit.debit_held += amount
            credit.credit_held += amount
        elif kind is TransferKind.DIRECT or kind is TransferKind.REVERSAL:
            debit.debited += amount
            credit.credited += amount
        else:
            hold = self.holds.pop(transfer.refers or 0, None)
            if hold is None or (hold.debit, hold.credit) != (transfer.debit, transfer.credit):
                raise self._broken(f"{transfer} resolves no open hold")
            if amount > hold.amount:
                raise self._broken(f"{transfer} takes more than {hold.amount}")
            debit.debit_held -= hold.amount
            credit.credit_held -= hold.amount
            if kind is TransferKind.POST:
                debit.debited += amount
                credit.credited += amount
        if transfer.credit.startswith(_LIMITED) and (
            credit.credited + credit.credit_held > credit.debited
        ):
            raise self._broken(f"{transfer} overdraws {transfer.credit}: {credit.values()}")

    def _side(self, path: str) -> Counters:
        counters = self.accounts.get(path)
        if counters is None:
            counters = self.accounts[path] = Counters()
        return counters

    def _compare(self) -> None:
        theirs = {
            path: (
                account.debit_pending,
                account.debit_posted,
                account.credit_pending,
                account.credit_posted,
            )
            for path, account in self.book.ledger.accounts.items()
        }
        if theirs != {path: counters.values() for path, counters in self.accounts.items()}:
            raise self._broken("the engine's books are not what the transfers say")
        sums = [sum(column) for column in zip(*theirs.values(), strict=True)] or [0, 0, 0, 0]
        if sums[0] != sums[2] or sums[1] != sums[3]:
            raise self._broken(f"debits and credits differ: {sums}")

    def _broken(self, what: str) -> InvariantBroken:
        return InvariantBroken(f"turn {self.seq}: {what}")
