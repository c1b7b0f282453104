"""Many callers racing for a tree of budgets, and a plain model that says what may come of it."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from treasury.ledger import chart
from treasury.ledger.chains import hold_levels, post_levels, void_levels
from treasury.ledger.request import Outcome, Receipt, Refusal, direct
from treasury.store.writer import LedgerWriter

ORGANISATION = "org"
TEAMS = ("org.a", "org.b", "org.c")
USERS = tuple(f"{team}.{name}" for team in TEAMS for name in ("x", "y", "z"))
LEVELS = 3
# Each level is given less than those below it together: every one of them must be the one that
# refuses, now and then.
USER_GRANT, TEAM_GRANT, ORGANISATION_GRANT = 4_000, 9_000, 20_000


class Race(NamedTuple):
    """What came of it: how many holds were granted, how many each account refused."""

    granted: int
    refused: Counter[str]


async def fund(writer: LedgerWriter) -> None:
    """Wallets and limits of the tree."""
    for user in USERS:
        sides = chart.wallet(user), chart.FUNDING
        await writer.submit(direct(f"fund {user}", *sides, USER_GRANT, event_at=0, reason="fund"))
    levels = [(ORGANISATION, ORGANISATION_GRANT), *((team, TEAM_GRANT) for team in TEAMS)]
    for level, amount in levels:
        sides = chart.limit(level), chart.LIMIT_FUNDING
        await writer.submit(direct(f"limit {level}", *sides, amount, event_at=0, reason="limit"))


async def run(writer: LedgerWriter, holds: int, *, callers: int, seed: int) -> Race:
    """Race `holds` attempts to hold money at every level, in as many callers; a hold that is
    granted is mostly freed, sometimes used."""
    await fund(writer)
    numbers = iter(range(holds))
    refused: Counter[str] = Counter()
    granted = 0

    async def caller(place: int) -> None:
        nonlocal granted
        dice = Random(seed * 1_000_003 + place)
        for number in numbers:
            user = dice.choice(USERS)
            above = (user.rpartition(".")[0], ORGANISATION)
            amount = dice.randrange(1, 400)
            asked = hold_levels(
                f"h{number}", user, above, "aws", amount, event_at=number, reason="hold"
            )
            answer = await writer.submit(asked)
            if isinstance(answer, Refusal):
                assert answer.code.value == "overdraft", answer
                refused[answer.account.partition(":")[0] + str(answer.account.count("."))] += 1
                continue
            granted += 1
            await ends(dice, number, amount)

    async def ends(dice: Random, number: int, amount: int) -> None:
        rest: dict[str, Any] = {"event_at": number, "reason": "end"}
        if dice.random() < 0.05:
            used = dice.randrange(amount + 1) // 150
            chain = post_levels(f"e{number}", f"h{number}", LEVELS, used, **rest)
        else:
            chain = void_levels(f"e{number}", f"h{number}", LEVELS, **rest)
        answer: Outcome = await writer.submit(chain)
        assert isinstance(answer, Receipt), answer

    await asyncio.gather(*map(caller, range(callers)))
    return Race(granted, refused)


def overspent(rows: Iterable[Any]) -> list[str]:
    """A model of plain numbers, fed with the transfers in their order: each instant at which a
    wallet or limit had more held and spent than it was given."""
    left: dict[str, int] = {}
    holds: dict[int, Any] = {}
    found = []
    for row in rows:
        if row.kind == "direct":
            left[row.debit] = left.get(row.debit, 0) + row.amount
            left[row.credit] = left.get(row.credit, 0) - row.amount
        elif row.kind == "hold":
            left[row.credit] = left.get(row.credit, 0) - row.amount
            holds[row.seq] = row
        else:
            hold = holds.pop(row.refers)
            back = hold.amount - (row.amount if row.kind == "post" else 0)
            left[hold.credit] += back
            left[hold.debit] = left.get(hold.debit, 0) + hold.amount - back
        found += [
            f"{path} at transfer {row.seq}: {left[path]}"
            for path in (row.debit, row.credit)
            if path.startswith(("assets:budget:", "limit:")) and left.get(path, 0) < 0
        ]
    return found
