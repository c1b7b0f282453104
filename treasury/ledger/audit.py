"""The audit: reads journalled turns and says where they break a law of bookkeeping.

It recomputes everything from the transfers by rules of its own rather than by `Ledger.apply`, so
that a mistake there does not excuse itself. It knows nothing of the engine, keeps two machine
words a transfer, and goes on after a finding, the first broken row first.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec

from treasury.domain.transfer import AccountPolicy, Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger.chart import SHORTFALL, policy_of
from treasury.ledger.ledger import Account, Ledger

_RESOLVING = (TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE)
_OPENING = (TransferKind.DIRECT, TransferKind.HOLD)
_REVERSIBLE = (TransferKind.DIRECT, TransferKind.POST)


class Finding(msgspec.Struct, frozen=True):
    """A law broken. seq: the turn, or the newest one read when accounts as a whole are meant.
    transfer_id: the transfer, None when the turn or an account is meant. Money in micro-units."""

    check: str
    seq: int
    transfer_id: int | None
    message: str


class TrialRow(msgspec.Struct, frozen=True):
    """One account of a trial balance [micro-units]. balance: posted debits less posted credits."""

    path: str
    currency: str
    debit_pending: int
    debit_posted: int
    credit_pending: int
    credit_posted: int
    balance: int


def trial_balance(ledger: Ledger) -> list[TrialRow]:
    """Every account in path order; over each currency debits and credits add up to the same."""
    return [
        TrialRow(
            account.path,
            account.currency,
            account.debit_pending,
            account.debit_posted,
            account.credit_pending,
            account.credit_posted,
            account.balance,
        )
        for _, account in sorted(ledger.accounts.items())
    ]


def audit(entries: Iterable[Entry], accounts: Mapping[str, Account] | None = None) -> list[Finding]:
    """Every broken law in a journal read from its start, in the order of its rows.

    accounts: counters kept elsewhere, to be compared with those recomputed here.
    """
    auditor = Auditor()
    findings = [finding for entry in entries for finding in auditor.see(entry)]
    return findings + auditor.close(accounts)


class Auditor:
    """The audit one turn at a time, for a journal that is still being written."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._holds: dict[int, Transfer] = {}
        self._seq = 0
        self._at = 0
        self._last_id = 0
        self._undone: dict[int, int] = {}
        # What could be reversed: ids (rising) and a fingerprint of sides, amount and currency.
        self._ids = array("q")
        self._prints = array("q")
        self._found: list[Finding] = []

    def begin(
        self, seq: int, accounts: Mapping[str, Account], transfers: Iterable[Transfer]
    ) -> list[Finding]:
        """Begin behind turn `seq` with what is known of the turns before it; what that breaks.

        accounts: the counters after it. transfers: older ones that later ones refer to; the holds
        among them that no other of them resolves are open, and all that is pending.
        """
        self._found, self._seq = [], seq
        self.accounts = {path: msgspec.structs.replace(a) for path, a in accounts.items()}
        pending = {path: [a.debit_pending, a.credit_pending] for path, a in accounts.items()}
        kept = list(transfers)
        resolved = {transfer.refers for transfer in kept}
        for transfer in kept:
            self._last_id = transfer.id
            if transfer.kind in _REVERSIBLE:
                self._ids.append(transfer.id)
                self._prints.append(_print(transfer, transfer.debit, transfer.credit))
            elif transfer.kind is TransferKind.HOLD and transfer.id not in resolved:
                self._holds[transfer.id] = transfer
                pending.setdefault(transfer.debit, [0, 0])[0] -= transfer.amount
                pending.setdefault(transfer.credit, [0, 0])[1] -= transfer.amount
        for path, rest in sorted(pending.items()):
            if any(rest):
                why = (
                    f"{path} opens with {rest[0]} and {rest[1]} pending that no open hold explains"
                )
                self._blame("opening", None, why)
        self._last_id = max(self._last_id, seq)
        self._check_sums("opening", self.accounts)
        return self._found

    def skip(self, seq: int) -> None:
        """Go on behind turn `seq`: those before it that are missing were reported elsewhere."""
        self._seq = seq

    def see(self, entry: Entry) -> list[Finding]:
        """What the next turn breaks."""
        self._found = []
        if entry.seq != self._seq + 1:
            self._blame("sequence", None, f"turn {entry.seq} follows turn {self._seq}", entry.seq)
        self._seq = entry.seq
        if entry.at < self._at:
            self._blame("instant", None, f"{entry.at} ns is earlier than {self._at} ns before it")
        self._at = max(self._at, entry.at)
        for transfer in entry.transfers:
            self._take(transfer)
        return self._found

    def close(self, accounts: Mapping[str, Account] | None = None) -> list[Finding]:
        """What the books as a whole break, and where `accounts` differ from those recomputed."""
        self._found = []
        self._check_sums("recomputed", self.accounts)
        if accounts is not None:
            self._check_sums("kept", accounts)
            for path in sorted(self.accounts.keys() | accounts.keys()):
                mine, theirs = self.accounts.get(path), accounts.get(path)
                if mine != theirs:
                    text = f"account {path} is kept as {_text(theirs)}, recomputed {_text(mine)}"
                    self._blame("counters", None, text)
        return self._found

    def _blame(self, check: str, transfer: Transfer | None, why: str, seq: int = 0) -> None:
        transfer_id = None if transfer is None else transfer.id
        self._found.append(Finding(check, seq or self._seq, transfer_id, why))

    def _take(self, transfer: Transfer) -> None:
        """Check one transfer and move the recomputed counters as it says."""
        in_order = self._last_id < transfer.id < 2**63
        if in_order:
            self._last_id = transfer.id
        else:
            self._blame("transfer id", transfer, f"{transfer.id} follows {self._last_id}")
        if transfer.debit == transfer.credit:
            self._blame("sides", transfer, f"both sides are {transfer.debit}")
        least = 0 if transfer.kind is TransferKind.POST else 1
        if transfer.amount < least:
            self._blame("amount", transfer, f"{transfer.amount} is less than {least}")
        if transfer.kind in _OPENING and transfer.refers is not None:
            why = f"a {transfer.kind.value} that refers to {transfer.refers}"
            self._blame("refers", transfer, why)
        debit, credit = self._side(transfer, transfer.debit), self._side(transfer, transfer.credit)
        if transfer.kind is TransferKind.HOLD:
            debit.debit_pending += transfer.amount
            credit.credit_pending += transfer.amount
            self._holds[transfer.id] = transfer
        elif transfer.kind in _RESOLVING:
            self._resolve(transfer)
        elif transfer.kind is TransferKind.REVERSAL:
            self._reverse(transfer)
        if transfer.kind is TransferKind.REVERSAL or transfer.kind in _REVERSIBLE:
            debit.debit_posted += transfer.amount
            credit.credit_posted += transfer.amount
        if transfer.kind in _REVERSIBLE and in_order:
            self._ids.append(transfer.id)
            self._prints.append(_print(transfer, transfer.debit, transfer.credit))
        if credit.policy is AccountPolicy.LIMITED and credit.available < 0:
            why = f"{credit.path} is overdrawn by {-credit.available}"
            self._blame("overdraft", transfer, why)
        for account in (debit, credit):
            if account.path == SHORTFALL and account.balance:
                why = f"{SHORTFALL} is {account.balance}: money is owed beyond every hold"
                self._blame("shortfall", transfer, why)

    def _side(self, transfer: Transfer, path: str) -> Account:
        """The account of one side, opened by its first transfer."""
        account = self.accounts.get(path)
        if account is None:
            account = Account(path, policy_of(path), transfer.currency)
            self.accounts[path] = account
        elif account.currency != transfer.currency:
            why = f"{transfer.currency} moves through {path}, which is in {account.currency}"
            self._blame("currency", transfer, why)
        return account

    def _resolve(self, transfer: Transfer) -> None:
        """A hold is open until its first post, void or expiry, which has its sides and amount."""
        hold = self._holds.pop(transfer.refers or 0, None)
        if hold is None:
            why = f"hold {transfer.refers} is not open: never made, or resolved before"
            self._blame("hold", transfer, why)
            return
        self.accounts[hold.debit].debit_pending -= hold.amount
        self.accounts[hold.credit].credit_pending -= hold.amount
        if (transfer.debit, transfer.credit) != (hold.debit, hold.credit):
            why = f"hold {hold.id} is from {hold.credit} to {hold.debit}, this is not"
            self._blame("sides", transfer, why)
        if transfer.kind is TransferKind.POST:
            if transfer.amount > hold.amount:
                why = f"{transfer.amount} posted of hold {hold.id}, which held {hold.amount}"
                self._blame("posted", transfer, why)
        elif transfer.amount != hold.amount:
            why = f"{transfer.amount} freed of hold {hold.id}, which held {hold.amount}"
            self._blame("amount", transfer, why)

    def _reverse(self, transfer: Transfer) -> None:
        """A reversal is the opposite of one earlier DIRECT or POST, and the only one."""
        refers = transfer.refers or 0
        place = bisect_left(self._ids, refers)
        if place == len(self._ids) or self._ids[place] != refers:
            why = f"it reverses {transfer.refers}, which is no earlier direct transfer or post"
            self._blame("reversal", transfer, why)
        elif self._prints[place] != _print(transfer, transfer.credit, transfer.debit):
            self._blame("reversal", transfer, f"it is not the opposite of {refers}")
        if refers in self._undone:
            why = f"{refers} is already reversed by {self._undone[refers]}"
            self._blame("reversal", transfer, why)
        self._undone.setdefault(refers, transfer.id)

    def _check_sums(self, whose: str, accounts: Mapping[str, Account]) -> None:
        """Debits equal credits in each currency, pending and posted."""
        sums: dict[str, list[int]] = {}
        for account in accounts.values():
            pair = sums.setdefault(account.currency, [0, 0])
            pair[0] += account.debit_pending - account.credit_pending
            pair[1] += account.debit_posted - account.credit_posted
        for currency, pair in sorted(sums.items()):
            for state, difference in zip(("pending", "posted"), pair, strict=True):
                if difference:
                    why = f"{whose} {state} debits exceed credits by {difference} micro-{currency}"
                    self._blame("balance", None, why)


def _print(transfer: Transfer, debit: str, credit: str) -> int:
    """A fingerprint, good for one process: equal for transfers that move the same."""
    return hash((debit, credit, transfer.amount, transfer.currency))


def _text(account: Account | None) -> str:
    if account is None:
        return "no account"
    return (
        f"{account.policy.value} {account.currency}"
        f" debits {account.debit_pending} pending {account.debit_posted} posted,"
        f" credits {account.credit_pending} pending {account.credit_posted} posted"
    )


__all__ = ["Auditor", "Finding", "TrialRow", "audit", "trial_balance"]
