"""The judge takes back all of a refused chain, so that the next one of the batch finds nothing."""

from typing import Any

from treasury.ledger import chart
from treasury.ledger.judge import Judge
from treasury.ledger.ledger import Account
from treasury.ledger.request import (
    Receipt,
    Refusal,
    RefusalCode,
    TransferRequest,
    direct,
    hold,
    post,
    reverse,
    void,
)

WALLET, EXPENSE = chart.wallet("red"), chart.expense("red", "aws")
FUND = direct("fund", WALLET, chart.FUNDING, 100, event_at=0, reason="fund")
AT: dict[str, Any] = {"event_at": 0, "reason": "test"}
TOO_MUCH = hold("much", EXPENSE, WALLET, 1_000, event_at=0, reason="hold")


def take(name: str, amount: int = 10) -> TransferRequest:
    """A hold."""
    return hold(name, EXPENSE, WALLET, amount, event_at=0, reason="hold")


def court(*requests: TransferRequest) -> tuple[Judge, dict[str, Account]]:
    """A judge that has granted these, and its accounts."""
    accounts: dict[str, Account] = {}
    judge = Judge(accounts, {}, set(), seq=0, at=5, epoch=1)
    for request in requests:
        assert isinstance(judge.take([request]), Receipt)
    return judge, accounts


def test_what_a_refused_chain_did_is_undone() -> None:
    """Posts, voids, reversals, holds and new accounts of a refused chain are as if never asked:
    their ids are free and what they ended is open."""
    judge, accounts = court(FUND, take("h1"), take("h2"), take("h3"), post("p3", "h3", 5, **AT))
    before = {path: repr(account) for path, account in accounts.items()}
    rows = list(judge.rows)
    chain = (
        post("e1", "h1", 4, **AT),
        void("e2", "h2", **AT),
        reverse("r3", "p3", **AT),
        take("n1"),
        void("v1", "n1", **AT),
        direct("d", chart.wallet("new"), WALLET, 5, **AT),
        TOO_MUCH,
    )
    refusal = judge.take(chain)
    assert isinstance(refusal, Refusal) and refusal.code is RefusalCode.OVERDRAFT
    assert {path: repr(account) for path, account in accounts.items()} == before
    assert judge.rows == rows
    assert "assets:budget:new" not in judge.changed
    assert judge.take(chain[:-1]) == Receipt(6, 6, 5)
    assert accounts[WALLET].available == 100 - 4 - 5 + 5 - 5


def test_counters_have_room_in_every_database() -> None:
    """A sum that no 64-bit column could hold is refused before it is written."""
    limit = 10**18
    judge, _ = court(*(direct(f"f{n}", WALLET, chart.FUNDING, limit, **AT) for n in range(9)))
    refusal = judge.take([direct("f9", WALLET, chart.FUNDING, limit, **AT)])
    assert isinstance(refusal, Refusal) and refusal.code is RefusalCode.OVERFLOW


def test_the_first_opens_an_account_in_its_currency() -> None:
    """A refused chain does not decide the currency of an account it would have opened."""
    judge, _ = court(FUND)
    other = chart.wallet("euro")
    dollars = direct("d", other, chart.FUNDING, 1, **AT)
    assert isinstance(judge.take([dollars, TOO_MUCH]), Refusal)
    euros = direct("e", other, "equity:grant", 1, currency="EUR", **AT)
    assert isinstance(judge.take([euros]), Receipt)
    refusal = judge.take([dollars])
    assert isinstance(refusal, Refusal) and refusal.code is RefusalCode.CURRENCY
