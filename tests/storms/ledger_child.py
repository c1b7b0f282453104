"""A writer of the shared ledger with a hundred callers, made to be killed.

    python -m tests.storms.ledger_child URL CYCLE

Prints the id of each transfer that was acknowledged, a line each. First it asks again for what the
cycle before may have left open, by the ids in its standard input: each must be answered as done, or
be done now.
"""

import asyncio
import sys
from random import Random

from treasury.domain.time import SECOND
from treasury.ledger import chart
from treasury.ledger.request import Receipt, TransferRequest, direct, hold, post, void
from treasury.store.writer import LedgerWriter

CALLERS = 100
GRANT = 10**12
WALLETS = [chart.wallet(name) for name in ("red", "green", "blue")]


def request(name: str) -> TransferRequest:
    """The hold of an id: the same whenever it is asked for."""
    number = int(name.rpartition("-")[2])
    wallet = WALLETS[number % len(WALLETS)]
    expense = chart.expense(wallet.rpartition(":")[2], "aws")
    return hold(name, expense, wallet, 1 + number % 50, event_at=number, reason="hold")


def say(*names: str) -> None:
    """These are acknowledged."""
    sys.stdout.write("".join(f"{name}\n" for name in names))
    sys.stdout.flush()


async def caller(writer: LedgerWriter, cycle: str, place: int) -> None:
    """Holds, some of them ended by a chain of two, for ever."""
    dice = Random(f"{cycle} {place}")
    for turn in range(10**6):
        name = f"{cycle}-{turn * CALLERS + place}"
        made = request(name)
        assert isinstance(await writer.submit(made), Receipt)
        say(name)
        if dice.random() < 0.5:
            continue
        # Ending one hold and opening the next is one chain, as metering does it.
        following = f"n{name}"
        end = (
            post(f"e{name}", name, made.amount // 2, event_at=turn, reason="metered")
            if dice.random() < 0.7
            else void(f"e{name}", name, event_at=turn, reason="declined")
        )
        answer = await writer.submit((end, request(following)))
        assert isinstance(answer, Receipt)
        say(f"e{name}", following)


async def main(url: str, cycle: str, again: list[str]) -> None:
    """Lead, repeat, then work until killed."""
    writer = await LedgerWriter.open(url, holder=f"child {cycle}", ttl=SECOND)
    for wallet in WALLETS:
        funds = direct(f"fund {wallet}", wallet, chart.FUNDING, GRANT, event_at=0, reason="fund")
        assert isinstance(await writer.submit(funds), Receipt)
    repeated = await asyncio.gather(*(writer.submit(request(name)) for name in again))
    assert all(isinstance(answer, Receipt) and answer.existed for answer in repeated), repeated
    say("ready")
    await asyncio.gather(*(caller(writer, cycle, place) for place in range(CALLERS)))


if __name__ == "__main__":
    names = sys.stdin.read().split()
    asyncio.run(main(sys.argv[1], sys.argv[2], names))
