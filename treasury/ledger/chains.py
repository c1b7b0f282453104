"""Chains for the shared ledger: a hold at every level of a budget tree, and an exchange.

Each request of a chain has the chain's id with its place behind it, so that a caller who keeps one
id can repeat, resolve and look up all of it.
"""

from collections.abc import Sequence

from treasury.domain.errors import BadValue
from treasury.ledger import chart
from treasury.ledger.request import Rate, TransferRequest, direct, hold, post, void

Chain = tuple[TransferRequest, ...]


def part(chain_id: str, place: int) -> str:
    """The id of one request of a chain, counted from 0."""
    return f"{chain_id}/{place}"


def hold_levels(
    chain_id: str,
    centre: str,
    above: Sequence[str],
    provider: str,
    amount: int,
    *,
    event_at: int,
    reason: str,
    currency: str = "USD",
    subject: str = "",
) -> Chain:
    """Reserve `amount` [micro-units] in a cost centre's wallet and at each level above it: at all
    of them or at none. above: the centres above, in any order. Raises BadValue."""
    sides = [(chart.expense(centre, provider), chart.wallet(centre))]
    sides += [(chart.used(level), chart.limit(level)) for level in above]
    return tuple(
        hold(
            part(chain_id, place),
            debit,
            credit,
            amount,
            event_at=event_at,
            reason=reason,
            currency=currency,
            subject=subject,
        )
        for place, (debit, credit) in enumerate(sides)
    )


def post_levels(
    chain_id: str, hold_id: str, levels: int, amount: int, *, event_at: int, reason: str
) -> Chain:
    """Spend `amount` [micro-units] of a hold at all its levels and free the rest of each.

    hold_id: the chain id given to `hold_levels`. levels: how many requests that had.
    """
    return tuple(
        post(part(chain_id, n), part(hold_id, n), amount, event_at=event_at, reason=reason)
        for n in range(levels)
    )


def void_levels(chain_id: str, hold_id: str, levels: int, *, event_at: int, reason: str) -> Chain:
    """Free a hold at all its levels."""
    return tuple(
        void(part(chain_id, n), part(hold_id, n), event_at=event_at, reason=reason)
        for n in range(levels)
    )


def roll(posts: Chain, holds: Chain) -> Chain:
    """A metering commit: what was used until now is posted of hold k, and hold k+1 is opened, or
    neither. The amount of a post is the charge since the start less what was posted before: so
    metering more often cannot change the bill."""
    return (*posts, *holds)


def converted(amount: int, rate: Rate) -> int:
    """What an amount [micro-units of rate.base] is in rate.quote, to the micro-unit below."""
    return amount * rate.numerator // rate.denominator


def exchange(
    chain_id: str,
    debit: str,
    credit: str,
    amount: int,
    rate: Rate,
    *,
    event_at: int,
    reason: str,
    settled: int | None = None,
) -> Chain:
    """Change `amount` [micro-units of rate.base] in `credit` into rate.quote in `debit`.

    The money crosses the two bridge accounts at the rate, to the micro-unit below. settled: what
    the counterparty really paid out [micro-units of rate.quote], such as whole cents; the
    difference goes to or comes from `equity:rounding:<quote>`. Raises BadValue.
    """
    exact = converted(amount, rate)
    if exact <= 0:
        raise BadValue("amount", amount, f"enough for one micro-{rate.quote}")
    given = direct(
        part(chain_id, 0),
        chart.liquidity(rate.base),
        credit,
        amount,
        event_at=event_at,
        reason=reason,
        currency=rate.base,
        rate=rate,
    )
    taken = direct(
        part(chain_id, 1),
        debit,
        chart.liquidity(rate.quote),
        exact,
        event_at=event_at,
        reason=reason,
        currency=rate.quote,
        rate=rate,
    )
    difference = exact - (exact if settled is None else settled)
    if not difference:
        return (given, taken)
    sides = chart.rounding(rate.quote), debit
    residue = direct(
        part(chain_id, 2),
        *(sides if difference > 0 else sides[::-1]),
        abs(difference),
        event_at=event_at,
        reason="rounding",
        currency=rate.quote,
    )
    return (given, taken, residue)
