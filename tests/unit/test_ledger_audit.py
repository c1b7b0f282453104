"""The audit: silent on good books, and naming the row on bad ones."""

import msgspec
import pytest

from tests.support.books import EXPENSES, WALLETS, entry, spend, transfer, turns
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger import chart
from treasury.ledger.audit import Auditor, audit, trial_balance
from treasury.ledger.ledger import Ledger

HOLD, POST, VOID = TransferKind.HOLD, TransferKind.POST, TransferKind.VOID
FUND = transfer(1, amount=1_000)
HELD = spend(2, HOLD, amount=600)


def test_good_books_have_no_findings() -> None:
    """A journal kept by the rules passes, and its recomputed counters equal the ledger's own."""
    books = Ledger()
    assert audit(turns(80, ledger=books), {}) != []
    again = Ledger()
    journal = list(turns(80, ledger=again))
    assert audit(journal, again.accounts) == []


@pytest.mark.parametrize(
    ("bad", "check", "message"),
    [
        (spend(3, amount=401), "overdraft", "overdrawn by 1"),
        (spend(3, HOLD, amount=401), "overdraft", "overdrawn by 1"),
        (spend(3, POST, refers=2, amount=601), "posted", "601 posted of hold 2"),
        (spend(3, POST, refers=1, amount=1), "hold", "hold 1 is not open"),
        (spend(3, VOID, refers=2, amount=1), "amount", "1 freed of hold 2"),
        (transfer(3, amount=0), "amount", "0 is less than 1"),
        (transfer(2), "transfer id", "2 follows 2"),
        (transfer(2**63), "transfer id", "follows 2"),
        (transfer(3, debit=chart.FUNDING), "sides", "both sides"),
        (transfer(3, VOID, debit="used:a", credit=WALLETS[0], refers=2, amount=600), "sides", ""),
        (transfer(3, currency="EUR"), "currency", "EUR moves through"),
        (transfer(3, refers=1), "refers", "a direct that refers to 1"),
        (transfer(3, TransferKind.REVERSAL, refers=2), "reversal", "no earlier direct"),
        (transfer(3, TransferKind.REVERSAL, refers=1), "reversal", "not the opposite of 1"),
        (
            transfer(3, debit=EXPENSES[0], credit=chart.SHORTFALL, amount=5),
            "shortfall",
            "owed beyond every hold",
        ),
    ],
)
def test_each_law_has_its_finding(bad: Transfer, check: str, message: str) -> None:
    """A transfer that breaks a law is named with its turn, and later good turns are not."""
    journal = [entry(1, FUND, HELD), entry(2, bad), entry(3)]
    first = audit(journal)[0]
    assert (first.check, first.seq, first.transfer_id) == (check, 2, bad.id)
    assert message in first.message


def test_a_hold_is_resolved_once() -> None:
    """The second end of a hold is the broken row, not the first."""
    void = spend(3, VOID, refers=2, amount=600)
    again = spend(4, POST, refers=2, amount=1)
    findings = audit([entry(1, FUND, HELD), entry(2, void), entry(3, again)])
    assert [(f.check, f.seq, f.transfer_id) for f in findings[:1]] == [("hold", 3, 4)]


def test_a_transfer_is_reversed_once() -> None:
    """Taking back the same funding twice is found at the second reversal."""
    fund, more = transfer(1, amount=300), transfer(2, amount=900)
    first, second = (
        transfer(
            number,
            TransferKind.REVERSAL,
            debit=chart.FUNDING,
            credit=WALLETS[0],
            amount=300,
            refers=1,
        )
        for number in (3, 4)
    )
    findings = audit([entry(1, fund, more), entry(2, first), entry(3, second)])
    assert [(f.check, f.seq) for f in findings] == [("reversal", 3)]
    assert "already reversed by 3" in findings[0].message


def test_turns_are_gapless_and_in_time() -> None:
    """A missing turn and a step back in time are found where they happen."""
    journal = [entry(1, at=5), entry(3, at=5), entry(4, at=4)]
    found = [(finding.check, finding.seq, finding.transfer_id) for finding in audit(journal)]
    assert found == [("sequence", 3, None), ("instant", 4, None)]


def test_the_first_broken_row_comes_first() -> None:
    """Findings follow the journal's order whatever the checks are."""
    over = spend(5, amount=900)
    late = transfer(4)
    journal = [entry(1, FUND, HELD), entry(2, over), entry(3, late)]
    assert [finding.seq for finding in audit(journal)] == [2, 3]


def test_kept_counters_are_held_against_the_journal() -> None:
    """A counter that differs by one micro-dollar is found, and unbalances its currency."""
    books = Ledger()
    journal: list[Entry] = list(turns(20, ledger=books))
    books.account(WALLETS[1]).debit_posted += 1
    findings = audit(journal, books.accounts)
    assert [finding.check for finding in findings] == ["balance", "counters"]
    assert "exceed credits by 1 micro-USD" in findings[0].message
    assert WALLETS[1] in findings[1].message


def test_the_audit_can_run_turn_by_turn() -> None:
    """An auditor fed one turn at a time says the same as the audit of the whole."""
    journal = [*turns(10), entry(12)]
    auditor = Auditor()
    found = [finding for turn in journal for finding in auditor.see(turn)]
    assert found == audit(journal)
    assert auditor.accounts[WALLETS[0]].debit_posted >= 10**9


def test_the_trial_balance_adds_up() -> None:
    """Rows come by path, and debits equal credits, posted and pending."""
    books = Ledger()
    list(turns(30, ledger=books))
    rows = trial_balance(books)
    assert [row.path for row in rows] == sorted(books.accounts)
    assert sum(row.debit_posted - row.credit_posted for row in rows) == 0
    assert sum(row.debit_pending - row.credit_pending for row in rows) == 0
    assert sum(row.balance for row in rows) == 0
    assert max(row.credit_pending for row in rows) == 700
    as_dicts = {row.path: msgspec.structs.asdict(row) for row in rows}
    assert as_dicts[chart.FUNDING]["balance"] == -3 * 10**9
