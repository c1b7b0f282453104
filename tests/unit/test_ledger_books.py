"""The chart of accounts, and the ledger's rules one by one."""

import msgspec
import pytest

from tests.support.books import EXPENSES, WALLETS, spend, transfer, turns
from treasury.domain.errors import BadValue, InvariantBroken
from treasury.domain.ids import LeaseId
from treasury.domain.money import MONEY_LIMIT
from treasury.domain.transfer import AccountPolicy, Transfer, TransferKind
from treasury.ledger import chart
from treasury.ledger.ledger import Ledger

WALLET, EXPENSE = WALLETS[0], EXPENSES[0]


def funded(amount: int = 1_000) -> Ledger:
    """Books with one wallet of `amount` micro-USD."""
    books = Ledger()
    books.direct(WALLET, chart.FUNDING, amount, event_at=0, reason="period")
    return books


def state(books: Ledger) -> bytes:
    """Everything in the books, accounts and holds in the order of their first transfers."""
    return msgspec.json.encode(books)


def test_paths_say_how_an_account_is_policed() -> None:
    """Wallets and limits may not be overdrawn; expenses, memoranda and equity may."""
    limited = [chart.wallet("a"), chart.limit("a")]
    free = [chart.expense("a", "aws"), chart.used("a"), chart.FUNDING, chart.SHORTFALL]
    assert [chart.policy_of(path) for path in limited] == [AccountPolicy.LIMITED] * 2
    assert [chart.policy_of(path) for path in free] == [AccountPolicy.FREE] * 4
    assert chart.expense("a", "aws") == "expenses:gpu:a:aws"


@pytest.mark.parametrize("name", ["", "a:b"])
def test_a_name_cannot_forge_a_path(name: str) -> None:
    """A colon or nothing as a name would make one account pass for another, so it is refused."""
    for build in (chart.wallet, chart.limit, chart.used, lambda n: chart.expense("a", n)):
        with pytest.raises(BadValue, match="no ':' in it"):
            build(name)


def test_a_hold_reserves_and_a_post_returns_the_rest() -> None:
    """Held money cannot be promised again; what a post does not take is available again."""
    books = funded(1_000)
    hold = books.hold(EXPENSE, WALLET, 600, event_at=1, reason="acquire", lease=LeaseId(7))
    assert (books.available(WALLET), books.account(WALLET).balance) == (400, 1_000)
    assert books.can_draw(WALLET, 400)
    assert not books.can_draw(WALLET, 401)
    post = books.post(hold.id, 250, event_at=2, reason="metered")
    assert (books.available(WALLET), books.account(EXPENSE).balance) == (750, 250)
    assert (post.refers, post.lease, post.debit, post.credit) == (hold.id, 7, EXPENSE, WALLET)
    assert books.holds == {}
    assert books.account(WALLET).credit_pending == books.account(EXPENSE).debit_pending == 0


@pytest.mark.parametrize("how", ["void", "expire", "post_nothing"])
def test_a_hold_can_end_without_spending(how: str) -> None:
    """A void, an expiry and a post of 0 free all of a hold."""
    books = funded(1_000)
    hold = books.hold(EXPENSE, WALLET, 1_000, event_at=1, reason="acquire")
    if how == "post_nothing":
        assert books.post(hold.id, 0, event_at=2, reason="free").amount == 0
    else:
        assert getattr(books, how)(hold.id, event_at=2, reason="gone").amount == 1_000
    assert books.available(WALLET) == 1_000
    assert books.account(EXPENSE).balance == 0


def test_a_reversal_undoes_a_post_once() -> None:
    """A reversal moves the same amount back, and a second one is refused."""
    books = funded(1_000)
    hold = books.hold(EXPENSE, WALLET, 600, event_at=1, reason="acquire")
    post = books.post(hold.id, 250, event_at=2, reason="metered")
    undo = books.reverse(post, event_at=3, reason="bill")
    assert (undo.kind, undo.debit, undo.credit, undo.amount, undo.refers) == (
        TransferKind.REVERSAL,
        WALLET,
        EXPENSE,
        250,
        post.id,
    )
    assert (books.available(WALLET), books.account(EXPENSE).balance) == (1_000, 0)
    with pytest.raises(InvariantBroken, match="already reversed by 4"):
        books.reverse(post, event_at=4, reason="bill")
    with pytest.raises(InvariantBroken, match="a hold cannot be reversed"):
        books.reverse(hold, event_at=4, reason="bill")


def test_a_reversal_cannot_overdraw() -> None:
    """Funding that is spent or held cannot be taken back."""
    books = Ledger()
    funding = books.direct(WALLET, chart.FUNDING, 1_000, event_at=0, reason="period")
    books.hold(EXPENSE, WALLET, 1, event_at=1, reason="acquire")
    with pytest.raises(InvariantBroken, match="has 999 left, it takes 1000"):
        books.reverse(funding, event_at=2, reason="mistake")


HOLD = TransferKind.HOLD
POST = TransferKind.POST


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (spend(3, HOLD, amount=401), "has 400 left, it takes 401"),
        (spend(3, amount=401), "has 400 left, it takes 401"),
        (transfer(3, credit="limit:nobody"), "limit:nobody has 0 left"),
        (transfer(3, amount=0), "not in 1"),
        (transfer(3, amount=-5), "not in 1"),
        (transfer(3, amount=MONEY_LIMIT + 1), "not in 1"),
        (transfer(3, amount=1.5), "1.5 is not in 1"),  # type: ignore[arg-type] # the case
        (transfer(3, debit=chart.FUNDING), "both its sides are equity:funding"),
        (transfer(3, currency="EUR"), "moves EUR from USD to USD"),
        (transfer(2), "its id does not follow 2"),
        (transfer(3, refers=1), "refers to 1, which a direct may not"),
        (spend(3, POST, refers=1), "hold 1 is not open"),
        (spend(3, POST), "hold None is not open"),
        (spend(3, POST, refers=2, amount=601), "does not fit the 600 of hold 2"),
        (spend(3, POST, refers=2, amount=-1), "does not fit the 600 of hold 2"),
        (spend(3, TransferKind.VOID, refers=2, amount=599), "does not fit the 600"),
        (transfer(3, POST, debit=EXPENSES[1], credit=WALLET, refers=2), "not those of hold 2"),
        (transfer(3, TransferKind.REVERSAL, refers=3), "reverses 3, which is no earlier"),
        (transfer(3, TransferKind.REVERSAL), "reverses None, which is no earlier"),
    ],
)
def test_what_breaks_a_rule_changes_nothing(bad: Transfer, message: str) -> None:
    """Each rule refuses by InvariantBroken with the figures, and the books stay as they were."""
    books = funded(1_000)
    books.hold(EXPENSE, WALLET, 600, event_at=1, reason="acquire")
    before = state(books)
    with pytest.raises(InvariantBroken, match=message):
        books.apply(bad)
    assert state(books) == before


def test_a_hold_that_is_not_open_cannot_be_named() -> None:
    """Post, void and expire say which hold they did not find."""
    books = funded()
    for call in (books.void, books.expire):
        with pytest.raises(InvariantBroken, match="hold 9 is not open"):
            call(9, event_at=1, reason="x")
    with pytest.raises(InvariantBroken, match="post: hold 9 is not open"):
        books.post(9, 1, event_at=1, reason="x")


def test_looking_does_not_change_the_books() -> None:
    """Accounts are opened by transfers alone, or the books could not be rebuilt from them."""
    books = funded()
    before = state(books)
    assert books.account("limit:nobody").available == 0
    assert books.available("limit:nobody") == 0
    assert state(books) == before


def test_the_transfers_alone_rebuild_the_books() -> None:
    """Applying the same transfers in the same order gives the same books, also through JSON."""
    books = Ledger()
    rebuilt = Ledger()
    for turn in turns(60, ledger=books):
        for each in turn.transfers:
            rebuilt.apply(each)
    assert rebuilt == books
    assert state(rebuilt) == state(books)
    assert msgspec.json.decode(state(books), type=Ledger) == books
