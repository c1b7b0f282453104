"""The ledger against a model of plain dicts, whatever is asked of it in whatever order."""

from collections import defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tests.support.books import EXPENSES, WALLETS, turns
from treasury.domain.errors import InvariantBroken
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger import chart
from treasury.ledger.audit import audit
from treasury.ledger.ledger import Ledger

AMOUNTS = st.integers(min_value=-1, max_value=120)
PLACES = st.sampled_from([*WALLETS, *EXPENSES, chart.FUNDING])


class LedgerMachine(RuleBasedStateMachine):
    """The model: what each account has, what each open hold reserves, what was reversed."""

    holds = Bundle("holds")
    moves = Bundle("moves")

    def __init__(self) -> None:
        super().__init__()
        self.books = Ledger()
        self.made: list[Transfer] = []
        self.posted: dict[str, int] = defaultdict(int)
        self.held: dict[int, tuple[str, str, int]] = {}
        self.undone: set[int] = set()

    def free(self, path: str) -> int:
        """What the model lets be drawn from an account."""
        if path not in WALLETS:
            return 10**18
        reserved = sum(amount for _, credit, amount in self.held.values() if credit == path)
        return self.posted[path] - reserved

    def refused(self, call: str, *arguments: object) -> None:
        """The ledger must refuse, and be as it was."""
        before = msgspec.json.encode(self.books)
        with pytest.raises(InvariantBroken):
            getattr(self.books, call)(*arguments, event_at=0, reason="test")
        assert msgspec.json.encode(self.books) == before

    def done(self, call: str, *arguments: object) -> Transfer:
        """The ledger must do it."""
        made: Transfer = getattr(self.books, call)(*arguments, event_at=0, reason="test")
        self.made.append(made)
        return made

    def moved(self, debit: str, credit: str, amount: int) -> None:
        """The model moves posted money."""
        self.posted[debit] += amount
        self.posted[credit] -= amount

    @rule(target=moves, debit=PLACES, credit=PLACES, amount=AMOUNTS)
    def direct(self, debit: str, credit: str, amount: int) -> Transfer | None:
        """Move money, or be refused for the amount, the sides or an empty wallet."""
        if amount < 1 or debit == credit or amount > self.free(credit):
            self.refused("direct", debit, credit, amount)
            return None
        self.moved(debit, credit, amount)
        return self.done("direct", debit, credit, amount)

    @rule(target=holds, debit=PLACES, credit=PLACES, amount=AMOUNTS)
    def hold(self, debit: str, credit: str, amount: int) -> int:
        """Reserve money, or be refused for the same reasons."""
        if amount < 1 or debit == credit or amount > self.free(credit):
            self.refused("hold", debit, credit, amount)
            return 0
        made = self.done("hold", debit, credit, amount)
        self.held[made.id] = (debit, credit, amount)
        return made.id

    @rule(target=moves, hold=holds, amount=AMOUNTS)
    def post(self, hold: int, amount: int) -> Transfer | None:
        """Spend part of a hold that is open; else be refused."""
        if hold not in self.held or not 0 <= amount <= self.held[hold][2]:
            self.refused("post", hold, amount)
            return None
        debit, credit, _ = self.held.pop(hold)
        self.moved(debit, credit, amount)
        return self.done("post", hold, amount)

    @rule(hold=holds, how=st.sampled_from(["void", "expire"]))
    def free_hold(self, hold: int, how: str) -> None:
        """Free a hold that is open; else be refused."""
        if hold not in self.held:
            self.refused(how, hold)
        else:
            del self.held[hold]
            self.done(how, hold)

    @rule(move=moves)
    def reverse(self, move: Transfer | None) -> None:
        """Undo a transfer once, if the account it went to still has the money."""
        if move is None:
            return
        if move.id in self.undone or move.amount < 1 or move.amount > self.free(move.debit):
            self.refused("reverse", move)
            return
        self.undone.add(move.id)
        self.moved(move.credit, move.debit, move.amount)
        self.done("reverse", move)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Balances, open holds and what is available are the model's."""
        assert {path: a.balance for path, a in self.books.accounts.items()} == {
            path: self.posted[path] for path in self.books.accounts
        }
        assert {hold: t.amount for hold, t in self.books.holds.items()} == {
            hold: amount for hold, (_, _, amount) in self.held.items()
        }
        for path in WALLETS:
            assert self.books.available(path) == self.free(path) >= 0

    @invariant()
    def conserves_money(self) -> None:
        """Debits equal credits, pending and posted, and no counter is negative."""
        accounts = self.books.accounts.values()
        assert sum(a.debit_pending - a.credit_pending for a in accounts) == 0
        assert sum(a.debit_posted - a.credit_posted for a in accounts) == 0
        assert all(
            min(a.debit_pending, a.debit_posted, a.credit_pending, a.credit_posted) >= 0
            for a in accounts
        )

    def teardown(self) -> None:
        """The transfers rebuild the books, and the audit, which has its own rules, agrees."""
        rebuilt = Ledger()
        for made in self.made:
            rebuilt.apply(made)
        assert rebuilt == self.books
        journal = [Entry(seq, 0, (), (made,), ()) for seq, made in enumerate(self.made, 1)]
        assert audit(journal, self.books.accounts) == []


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestLedgerMachine = LedgerMachine.TestCase

KEPT = Ledger()
JOURNAL = list(turns(12, ledger=KEPT))
TRANSFERS = [(turn, place) for turn in range(12) for place in range(len(JOURNAL[turn].transfers))]


@given(
    where=st.sampled_from(TRANSFERS),
    field=st.sampled_from(["amount", "debit", "credit", "refers", "kind", "currency", "id"]),
    value=st.data(),
)
def test_no_single_change_to_the_money_escapes_the_audit(
    where: tuple[int, int], field: str, value: st.DataObject
) -> None:
    """Whatever one field that moves money is changed to, the audit has a finding."""
    turn, place = where
    old = JOURNAL[turn].transfers[place]
    choices: dict[str, st.SearchStrategy[object]] = {
        "amount": st.integers(-(2**62), 2**62),
        "id": st.integers(0, 2**64 - 1),
        "refers": st.none() | st.integers(0, 100),
        "kind": st.sampled_from(type(old.kind)),
        "currency": st.sampled_from(["EUR", "usd"]),
        "debit": PLACES,
        "credit": PLACES,
    }
    if field == "id" and where == TRANSFERS[-1]:
        return  # nothing follows that could be out of order
    if field == "amount" and old.kind is TransferKind.HOLD:
        return  # a resolved hold leaves no trace in the counters; the hash chain keeps its amount
    new = value.draw(choices[field].filter(lambda v: v != getattr(old, field)), label=field)
    changed = msgspec.structs.replace(old, **{field: new})
    transfers = list(JOURNAL[turn].transfers)
    transfers[place] = changed
    journal = list(JOURNAL)
    journal[turn] = msgspec.structs.replace(JOURNAL[turn], transfers=tuple(transfers))
    kinds = {old.kind.value, changed.kind.value}
    if kinds == {"void", "expire"}:
        return  # both free all of a hold: no money moves differently
    assert audit(journal, KEPT.accounts)
