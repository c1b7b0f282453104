"""Turns that keep good books: funding, holds, posts, voids, reversals; with facts and commands."""

from collections.abc import Callable, Iterator

from treasury.domain.commands import Release
from treasury.domain.events import LeaseEnded, LeaseReady, LeaseReleasing
from treasury.domain.ids import HoldId, LeaseId, ProviderName
from treasury.domain.plan import Approved
from treasury.domain.transfer import Transfer, TransferKind
from treasury.domain.turn import Entry
from treasury.ledger import chart
from treasury.ledger.ledger import Ledger

AWS = ProviderName("aws")
CENTRES = ("red", "green", "blue")
WALLETS = tuple(chart.wallet(centre) for centre in CENTRES)
EXPENSES = tuple(chart.expense(centre, AWS) for centre in CENTRES)


def turns(count: int, *, ledger: Ledger | None = None) -> Iterator[Entry]:
    """`count` turns from an empty journal on; from the second on each has three facts, three or
    four transfers and a command. ledger: the books they are drawn from, to be looked at later."""
    books = ledger or Ledger()
    hold: Transfer | None = None
    for seq in range(1, count + 1):
        at = seq * 1_000
        if hold is None:
            funds = [
                books.direct(wallet, chart.FUNDING, 10**9, event_at=at, reason="period")
                for wallet in WALLETS
            ]
            hold = books.hold(EXPENSES[0], WALLETS[0], 700, event_at=at, reason="acquire")
            yield Entry(seq, at, (), (*funds, hold), ())
            continue
        lease, side = LeaseId(seq), seq % len(CENTRES)
        made = [books.post(hold.id, 100 + seq % 500, event_at=at, reason="metered")]
        if seq % 7 == 0:
            made.append(books.reverse(made[0], event_at=at, reason="bill"))
        else:
            spare = books.hold(EXPENSES[side], WALLETS[side], 50, event_at=at, reason="acquire")
            ends: Callable[..., Transfer] = books.void if seq % 2 else books.expire
            made += [spare, ends(spare.id, event_at=at, reason="declined")]
        hold = books.hold(
            EXPENSES[side], WALLETS[side], 700, event_at=at, reason="acquire", lease=lease
        )
        made.append(hold)
        facts = (
            LeaseReady(lease, at),
            LeaseReleasing(lease, "löst – „fertig“"),
            LeaseEnded(lease, at, lost=False, cause="released"),
        )
        yield Entry(seq, at, facts, tuple(made), (Approved(Release(AWS, lease)),), propose=seq)


def transfer(
    number: int,
    kind: TransferKind = TransferKind.DIRECT,
    *,
    debit: str = WALLETS[0],
    credit: str = chart.FUNDING,
    amount: int = 100,
    refers: int | None = None,
    currency: str = "USD",
) -> Transfer:
    """A transfer made by hand, past all rules."""
    hold = None if refers is None else HoldId(refers)
    return Transfer(HoldId(number), kind, debit, credit, amount, 0, "test", currency, hold)


def spend(
    number: int,
    kind: TransferKind = TransferKind.DIRECT,
    *,
    amount: int = 100,
    refers: int | None = None,
) -> Transfer:
    """A transfer made by hand out of the first wallet into its expenses."""
    sides = EXPENSES[0], WALLETS[0]
    return transfer(number, kind, debit=sides[0], credit=sides[1], amount=amount, refers=refers)


def entry(seq: int, *transfers: Transfer, at: int = 0) -> Entry:
    """A turn of transfers alone."""
    return Entry(seq, at, (), transfers, ())


__all__ = ["AWS", "CENTRES", "EXPENSES", "WALLETS", "entry", "spend", "transfer", "turns"]
