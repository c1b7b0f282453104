"""The books in memory: four counters an account, the holds still open, and one way to change them.

The semantics are those of TigerBeetle: a transfer has one debit and one credit account and one
positive amount, so debits equal credits whatever is written; a hold moves its amount into the
*pending* counters and is resolved once, by a post (which may take less), a void or an expiry.
Applying the same transfers in the same order gives the same books.
"""

from typing import Final, NoReturn

import msgspec

from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import HoldId, LeaseId
from treasury.domain.money import MONEY_LIMIT
from treasury.domain.transfer import AccountPolicy, Transfer, TransferKind
from treasury.ledger.chart import policy_of

# Bound once: reading a member off its Enum class costs as much as the comparison it serves.
_DIRECT: Final = TransferKind.DIRECT
_HOLD: Final = TransferKind.HOLD
_POST: Final = TransferKind.POST
_VOID: Final = TransferKind.VOID
_EXPIRE: Final = TransferKind.EXPIRE
_REVERSAL: Final = TransferKind.REVERSAL
_LIMITED: Final = AccountPolicy.LIMITED


class Account(msgspec.Struct, gc=False):
    """One account. All counters in micro-units of its currency, none ever negative."""

    path: str
    policy: AccountPolicy
    currency: str
    debit_pending: int = 0
    debit_posted: int = 0
    credit_pending: int = 0
    credit_posted: int = 0

    @property
    def available(self) -> int:
        """What may still be drawn: posted, less what is spent and what is held."""
        return self.debit_posted - self.credit_posted - self.credit_pending

    @property
    def balance(self) -> int:
        """Posted debits less posted credits; holds do not count."""
        return self.debit_posted - self.credit_posted


class Ledger(msgspec.Struct):
    """The books. Changed by `apply` alone, which raises InvariantBroken and changes nothing when a
    transfer breaks a rule. Its dicts are in the order of the transfers that filled them: books
    made by the same transfers have the same JSON.

    holds: the open ones by id. last_id: the newest transfer's id. undone: reversed transfer's id to
    its reversal's, so that nothing is reversed twice.
    """

    accounts: dict[str, Account] = {}
    holds: dict[int, Transfer] = {}
    last_id: int = 0
    undone: dict[int, int] = {}

    def account(self, path: str) -> Account:
        """The account, or an empty one that its first transfer will open: a look never changes
        the books, else they could not be rebuilt from the transfers."""
        return self.accounts.get(path) or Account(path, policy_of(path), "USD")

    def available(self, path: str) -> int:
        """What may still be drawn from an account [micro-units]; 0 before its first transfer."""
        account = self.accounts.get(path)
        return 0 if account is None else account.available

    def can_draw(self, path: str, amount: int) -> bool:
        """Whether an account has `amount` [micro-units] for a direct transfer or a hold."""
        return policy_of(path) is not _LIMITED or amount <= self.available(path)

    def apply(self, transfer: Transfer) -> None:
        """Take one transfer into the books. Raises InvariantBroken, changing nothing."""
        if transfer.id <= self.last_id:
            _refuse(transfer, f"its id does not follow {self.last_id}")
        kind = transfer.kind
        if kind is _HOLD or kind is _DIRECT or kind is _REVERSAL:
            self._move(transfer)
        else:
            self._resolve(transfer)
        self.last_id = transfer.id

    def _move(self, transfer: Transfer) -> None:
        """DIRECT, REVERSAL: between the posted counters. HOLD: into the pending ones."""
        amount, kind, currency = transfer.amount, transfer.kind, transfer.currency
        if type(amount) is not int or not 0 < amount <= MONEY_LIMIT:
            _refuse(transfer, f"its amount {amount!r} is not in 1..{MONEY_LIMIT} micro-{currency}")
        if transfer.debit == transfer.credit:
            _refuse(transfer, f"both its sides are {transfer.debit}")
        refers = transfer.refers
        if kind is _REVERSAL:
            if refers is None or not 0 < refers <= self.last_id:
                _refuse(transfer, f"it reverses {refers}, which is no earlier transfer")
            if refers in self.undone:
                _refuse(transfer, f"{refers} is already reversed by {self.undone[refers]}")
        elif refers is not None:
            _refuse(transfer, f"it refers to {refers}, which a {kind.value} may not")
        accounts = self.accounts
        debit = accounts.get(transfer.debit)
        if debit is None:
            debit = Account(transfer.debit, policy_of(transfer.debit), currency)
        credit = accounts.get(transfer.credit)
        if credit is None:
            credit = Account(transfer.credit, policy_of(transfer.credit), currency)
        if debit.currency != currency or credit.currency != currency:
            _refuse(transfer, f"it moves {currency} from {credit.currency} to {debit.currency}")
        if credit.policy is _LIMITED and amount > credit.available:
            _refuse(transfer, f"{credit.path} has {credit.available} left, it takes {amount}")
        accounts[transfer.debit] = debit
        accounts[transfer.credit] = credit
        if kind is _HOLD:
            debit.debit_pending += amount
            credit.credit_pending += amount
            self.holds[transfer.id] = transfer
            return
        debit.debit_posted += amount
        credit.credit_posted += amount
        if refers is not None:
            self.undone[refers] = transfer.id

    def _resolve(self, transfer: Transfer) -> None:
        """POST, VOID, EXPIRE: all of a hold stops pending; a post's part of it is posted."""
        refers, amount = transfer.refers, transfer.amount
        hold = None if refers is None else self.holds.get(refers)
        if hold is None:
            _refuse(transfer, f"hold {refers} is not open")
        if (
            transfer.debit != hold.debit
            or transfer.credit != hold.credit
            or transfer.currency != hold.currency
            or transfer.lease != hold.lease
        ):
            _refuse(transfer, f"its sides, currency or lease are not those of hold {refers}")
        held = hold.amount
        posts = transfer.kind is _POST
        if type(amount) is not int or not (0 <= amount <= held if posts else amount == held):
            _refuse(transfer, f"its amount {amount!r} does not fit the {held} of hold {refers}")
        debit = self.accounts[hold.debit]
        credit = self.accounts[hold.credit]
        debit.debit_pending -= held
        credit.credit_pending -= held
        if posts:
            debit.debit_posted += amount
            credit.credit_posted += amount
        del self.holds[hold.id]

    def direct(
        self,
        debit: str,
        credit: str,
        amount: int,
        *,
        event_at: int,
        reason: str,
        lease: LeaseId | None = None,
        currency: str = "USD",
    ) -> Transfer:
        """Move `amount` [micro-units] from `credit` to `debit` at once. Raises InvariantBroken."""
        return self._draw(_DIRECT, debit, credit, amount, event_at, reason, currency, None, lease)

    def hold(
        self,
        debit: str,
        credit: str,
        amount: int,
        *,
        event_at: int,
        reason: str,
        lease: LeaseId | None = None,
        currency: str = "USD",
    ) -> Transfer:
        """Reserve `amount` [micro-units] of `credit` for `debit`. Raises InvariantBroken."""
        return self._draw(_HOLD, debit, credit, amount, event_at, reason, currency, None, lease)

    def post(self, hold_id: int, amount: int, *, event_at: int, reason: str) -> Transfer:
        """Spend `amount` [micro-units, 0 to all] of an open hold and free the rest.
        Raises InvariantBroken."""
        return self._close(_POST, hold_id, amount, event_at, reason)

    def void(self, hold_id: int, *, event_at: int, reason: str) -> Transfer:
        """Free an open hold because it is not needed. Raises InvariantBroken."""
        return self._close(_VOID, hold_id, None, event_at, reason)

    def expire(self, hold_id: int, *, event_at: int, reason: str) -> Transfer:
        """Free an open hold because its time is over. Raises InvariantBroken."""
        return self._close(_EXPIRE, hold_id, None, event_at, reason)

    def _close(
        self, kind: TransferKind, hold_id: int, amount: int | None, event_at: int, reason: str
    ) -> Transfer:
        """Resolve a hold; without an amount all of it is freed."""
        hold = self.holds.get(hold_id)
        if hold is None:
            raise InvariantBroken(f"{kind.value}: hold {hold_id} is not open")
        if amount is None:
            amount = hold.amount
        sides = hold.debit, hold.credit
        return self._draw(
            kind, *sides, amount, event_at, reason, hold.currency, hold.id, hold.lease
        )

    def reverse(self, transfer: Transfer, *, event_at: int, reason: str) -> Transfer:
        """Undo a DIRECT or POST by its opposite, once. Raises InvariantBroken."""
        if transfer.kind is not _DIRECT and transfer.kind is not _POST:
            _refuse(transfer, f"a {transfer.kind.value} cannot be reversed")
        sides = transfer.credit, transfer.debit
        amount, currency, lease = transfer.amount, transfer.currency, transfer.lease
        return self._draw(_REVERSAL, *sides, amount, event_at, reason, currency, transfer.id, lease)

    def _draw(
        self,
        kind: TransferKind,
        debit: str,
        credit: str,
        amount: int,
        event_at: int,
        reason: str,
        currency: str,
        refers: HoldId | None,
        lease: LeaseId | None,
    ) -> Transfer:
        """Make the next transfer and apply it."""
        next_id = HoldId(self.last_id + 1)
        transfer = Transfer(
            next_id, kind, debit, credit, amount, event_at, reason, currency, refers, lease
        )
        self.apply(transfer)
        return transfer


def _refuse(transfer: Transfer, why: str) -> NoReturn:
    """Stop: the caller made a transfer that must not be."""
    raise InvariantBroken(
        f"transfer {transfer.id} ({transfer.kind.value} {transfer.amount} from {transfer.credit}"
        f" to {transfer.debit}): {why}"
    )
