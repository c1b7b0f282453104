"""The judge: decides requests one by one on accounts that somebody has locked.

It is `Ledger` for callers who may be refused: their ids, their mistakes, and chains that stand or
fall together. It loads nothing and keeps nothing; whoever uses it writes down `rows` and the
accounts in `changed`, or neither.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from treasury.domain.money import format_money
from treasury.domain.transfer import AccountPolicy, TransferKind
from treasury.ledger.chart import policy_of
from treasury.ledger.ledger import Account
from treasury.ledger.request import (
    Outcome,
    Rate,
    Receipt,
    Refusal,
    RefusalCode,
    TransferRequest,
    content,
)

# What a counter can be in every database: no sum may come near it unnoticed.
COUNTER_LIMIT: Final = 2**63 - 1

_DIRECT: Final = TransferKind.DIRECT
_HOLD: Final = TransferKind.HOLD
_POST: Final = TransferKind.POST
_REVERSAL: Final = TransferKind.REVERSAL
_OPENING: Final = (_DIRECT, _HOLD)
_LIMITED: Final = AccountPolicy.LIMITED
# By value, because a row holds its kind as text.
_KINDS: Final = {kind.value: kind for kind in TransferKind}


class Written(msgspec.Struct, gc=False):
    """A transfer as it is in the books; the fields are the columns of the table, in their order.

    refers: the seq of the hold or transfer. chain: the seq of its chain's first transfer. linked:
    1 when the next one belongs to the same chain. epoch: the writer's. rate: JSON.
    """

    seq: int
    id: str
    kind: str
    debit: str
    credit: str
    amount: int
    currency: str
    refers: int | None
    chain: int
    linked: int
    event_at: int
    recorded_at: int
    epoch: int
    reason: str
    subject: str
    rate: str | None


class Spent(msgspec.Struct, frozen=True):
    """A transfer that is in an archive. links: how long its chain is, for the first
    of it; 0 for others.
    print: of what was asked for."""

    seq: int
    links: int
    recorded_at: int
    print: bytes


class Judge:
    """A court for one transaction.

    accounts: those that the requests name, as locked; one that is not there is opened by its first
    transfer. known: transfers by id, those asked for again and those referred to. resolved: the
    seqs among them that were resolved or reversed. spent: archived ones by id.
    """

    def __init__(
        self,
        accounts: dict[str, Account],
        known: dict[str, Written],
        resolved: set[int],
        *,
        seq: int,
        at: int,
        epoch: int,
        spent: Mapping[str, Spent] | None = None,
    ) -> None:
        """seq: of the newest transfer. at: when this is recorded [ns]. epoch: the writer's."""
        self.rows: list[Written] = []
        self.changed: dict[str, Account] = {}
        self._accounts, self._known, self._resolved = accounts, known, resolved
        self._spent = spent or {}
        self._seq, self._at, self._epoch = seq, at, epoch
        # What the chain in hand opened: gone again when it is refused.
        self._opened: list[str] = []

    def take(self, chain: Sequence[TransferRequest]) -> Outcome:
        """Do all of a chain or nothing of it. The chain must have passed `request.check`."""
        for request in chain:
            if request.id in self._known or request.id in self._spent:
                return self._again(chain)
        start, first = len(self.rows), self._seq + 1
        self._opened.clear()
        last = len(chain) - 1
        for place, request in enumerate(chain):
            opens = request.kind is _HOLD or request.kind is _DIRECT
            refusal = (
                self._open(request, first, place < last)
                if opens
                else self._close(request, first, place < last)
            )
            if refusal is not None:
                self._undo(start)
                return refusal
        return Receipt(first, last + 1, self._at)

    def _again(self, chain: Sequence[TransferRequest]) -> Outcome:
        """An id that is taken: the same request has its first answer, another is refused."""
        first = chain[0]
        row = self._known.get(first.id)
        if row is None:
            if first.id in self._spent:
                return self._again_archived(chain)
            taken = next(r.id for r in chain if r.id in self._known or r.id in self._spent)
            return _refuse(first, RefusalCode.LINKED, f"{taken} was done without {first.id}")
        seq = row.seq
        for place, request in enumerate(chain):
            found = self._known.get(request.id)
            if found is None or found.seq != seq + place or not self._same(found, request):
                return _refuse(request, RefusalCode.DIFFERS, f"{request.id} was used for another")
            row = found
        if row.linked or self._known[first.id].chain != seq:
            return _refuse(first, RefusalCode.LINKED, f"{first.id} was part of another chain")
        return Receipt(seq, len(chain), row.recorded_at, existed=True)

    def _again_archived(self, chain: Sequence[TransferRequest]) -> Outcome:
        head = self._spent.get(chain[0].id)
        for place, request in enumerate(chain):
            found = self._spent.get(request.id)
            alike = found is not None and found.print == fingerprint(content(request))
            if not alike or head is None or found is None or found.seq != head.seq + place:
                return _refuse(request, RefusalCode.DIFFERS, f"{request.id} was used for another")
        if head is None or head.links != len(chain):
            first = chain[0]
            return _refuse(first, RefusalCode.LINKED, f"{first.id} was part of another chain")
        return Receipt(head.seq, head.links, head.recorded_at, existed=True)

    def _same(self, row: Written, request: TransferRequest) -> bool:
        if request.refers:
            target = self._known.get(request.refers)
            if target is None or target.seq != row.refers:
                return False
        elif row.refers is not None:
            return False
        return content(asked(row, request.refers)) == content(request)

    def _open(self, request: TransferRequest, chain: int, linked: bool) -> Refusal | None:
        """DIRECT: between the posted counters. HOLD: into the pending ones."""
        debit = self._accounts.get(request.debit) or _new(request.debit, request.currency)
        credit = self._accounts.get(request.credit) or _new(request.credit, request.currency)
        for account in (debit, credit):
            if account.currency != request.currency:
                why = f"{account.path} is in {account.currency}, not in {request.currency}"
                return _refuse(request, RefusalCode.CURRENCY, why, account)
        amount, holds = request.amount, request.kind is _HOLD
        refusal = self._fits(request, debit, credit, amount)
        if refusal is not None:
            return refusal
        for account in (debit, credit):
            if account.path not in self._accounts:
                self._opened.append(account.path)
        self._move(debit, credit, amount if holds else 0, 0 if holds else amount)
        rate = None if request.rate is None else msgspec.json.encode(request.rate).decode()
        self._write(request, debit, credit, amount, None, chain, linked, request.subject, rate)
        return None

    def _fits(
        self, request: TransferRequest, debit: Account, credit: Account, amount: int
    ) -> Refusal | None:
        """Whether a limited account has it, and the counters have room for it."""
        if credit.policy is _LIMITED and amount > credit.available:
            return _refuse(
                request, RefusalCode.OVERDRAFT, _overdraft(credit, amount), credit, amount
            )
        for account in (debit, credit):
            used = max(
                account.debit_pending + account.debit_posted,
                account.credit_pending + account.credit_posted,
            )
            if used + amount > COUNTER_LIMIT:
                why = f"the counters of {account.path} have no room for {amount}"
                return _refuse(request, RefusalCode.OVERFLOW, why, account, amount)
        return None

    def _close(self, request: TransferRequest, chain: int, linked: bool) -> Refusal | None:
        """POST, VOID, EXPIRE of a hold; REVERSAL of a direct transfer or a post."""
        target = self._known.get(request.refers)
        if target is None:
            why = f"there is no transfer {request.refers}"
            if request.refers in self._spent:
                why = f"{request.refers} is in an archive: book an opposite transfer of its own"
            return _refuse(request, RefusalCode.UNKNOWN, why)
        if request.kind is _REVERSAL:
            return self._reverse(request, target, chain, linked)
        if target.kind != _HOLD.value:
            why = f"{request.refers} is a {target.kind} and not a hold"
            return _refuse(request, RefusalCode.NOT_A_HOLD, why)
        if target.seq in self._resolved:
            why = f"hold {request.refers} is resolved already"
            return _refuse(request, RefusalCode.RESOLVED, why)
        posts = request.kind is _POST
        if posts and request.amount > target.amount:
            why = f"hold {request.refers} is of {target.amount}, {request.amount} is more"
            return _refuse(request, RefusalCode.EXCEEDS_HOLD, why)
        debit, credit = self._accounts[target.debit], self._accounts[target.credit]
        self._move(debit, credit, -target.amount, request.amount if posts else 0)
        amount = request.amount if posts else target.amount
        self._write(request, debit, credit, amount, target, chain, linked, target.subject, None)
        return None

    def _reverse(
        self, request: TransferRequest, target: Written, chain: int, linked: bool
    ) -> Refusal | None:
        if target.kind not in {_DIRECT.value, _POST.value} or not target.amount:
            why = f"{request.refers} is a {target.kind}, which moved nothing that could go back"
            return _refuse(request, RefusalCode.NOT_REVERSIBLE, why)
        if target.seq in self._resolved:
            why = f"{request.refers} is reversed already"
            return _refuse(request, RefusalCode.REVERSED, why)
        debit, credit = self._accounts[target.credit], self._accounts[target.debit]
        refusal = self._fits(request, debit, credit, target.amount)
        if refusal is not None:
            return refusal
        self._move(debit, credit, 0, target.amount)
        amount, subject = target.amount, target.subject
        self._write(request, debit, credit, amount, target, chain, linked, subject, None)
        return None

    def _move(self, debit: Account, credit: Account, pending: int, posted: int) -> None:
        debit.debit_pending += pending
        credit.credit_pending += pending
        debit.debit_posted += posted
        credit.credit_posted += posted
        for account in (debit, credit):
            self._accounts[account.path] = self.changed[account.path] = account

    def _write(
        self,
        request: TransferRequest,
        debit: Account,
        credit: Account,
        amount: int,
        target: Written | None,
        chain: int,
        linked: bool,
        subject: str,
        rate: str | None,
    ) -> None:
        self._seq += 1
        row = Written(
            self._seq,
            request.id,
            request.kind.value,
            debit.path,
            credit.path,
            amount,
            debit.currency,
            None if target is None else target.seq,
            chain,
            int(linked),
            request.event_at,
            self._at,
            self._epoch,
            request.reason,
            subject,
            rate,
        )
        if target is not None:
            self._resolved.add(target.seq)
        self._known[row.id] = row
        self.rows.append(row)

    def _undo(self, start: int) -> None:
        """Take back the rows of a chain whose later part is refused."""
        for row in reversed(self.rows[start:]):
            debit, credit = self._accounts[row.debit], self._accounts[row.credit]
            kind = _KINDS[row.kind]
            del self._known[row.id]
            if row.refers is not None:
                self._resolved.discard(row.refers)
            if kind is _HOLD:
                self._move(debit, credit, -row.amount, 0)
            elif kind is _DIRECT or kind is _REVERSAL:
                self._move(debit, credit, 0, -row.amount)
            else:
                held = self._held(row.refers)
                self._move(debit, credit, held, -row.amount if kind is _POST else 0)
        self._seq -= len(self.rows) - start
        del self.rows[start:]
        for path in self._opened:
            del self._accounts[path], self.changed[path]

    def _held(self, seq: int | None) -> int:
        return next(row.amount for row in self._known.values() if row.seq == seq)


def _new(path: str, currency: str) -> Account:
    return Account(path, policy_of(path), currency)


def asked(row: Written, refers: str) -> TransferRequest:
    """The request that a row came of. refers: the id of what it refers to."""
    kind = _KINDS[row.kind]
    if kind not in _OPENING:
        amount = row.amount if kind is _POST else 0
        return TransferRequest(
            row.id, kind, amount=amount, refers=refers, event_at=row.event_at, reason=row.reason
        )
    rate = None if row.rate is None else msgspec.json.decode(row.rate, type=Rate)
    return TransferRequest(
        row.id,
        kind,
        row.debit,
        row.credit,
        row.amount,
        row.currency,
        "",
        row.event_at,
        row.reason,
        row.subject,
        rate,
    )


def fingerprint(text: bytes) -> bytes:
    """16 bytes that stand for a content."""
    import hashlib

    return hashlib.blake2b(text, digest_size=16).digest()


def _overdraft(account: Account, asked_for: int) -> str:
    def money(amount: int) -> str:
        return format_money(amount, account.currency, places=6)

    return (
        f"{account.path} has {money(account.available)} left, {money(asked_for)} is more:"
        f" limit {money(account.debit_posted)}, spent {money(account.credit_posted)},"
        f" held {money(account.credit_pending)}"
    )


def _refuse(
    request: TransferRequest,
    code: RefusalCode,
    message: str,
    account: Account | None = None,
    asked_for: int = 0,
) -> Refusal:
    if account is None:
        return Refusal(request.id, code, message)
    return Refusal(
        request.id,
        code,
        message,
        account.path,
        account.debit_posted,
        account.credit_posted,
        account.credit_pending,
        asked_for or request.amount,
    )


__all__ = ["Judge", "Spent", "Written", "asked", "fingerprint"]
