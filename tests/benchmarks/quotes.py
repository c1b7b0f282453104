"""How many quotes a second: from an answer's bytes to the book, on one core.

    PYTHONPATH=. python tests/benchmarks/quotes.py [--offers 10000] [--rounds 5]

Three parts, each alone: decoding (EC2's XML to rows, rows to quotes, beside the SDK's own parser),
intake (the agent's inbox, where the newest quote of an offer wins), and the turn that takes what
is left into the book. Then the memory that so many offers with their quotes take.
"""

import argparse
import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable

from tests.counterparts.aws import wire
from tests.support.table import CAPABILITIES
from treasury.domain.budget import Budget
from treasury.domain.events import Configure, ListOffers, SeeQuotes
from treasury.domain.hardware import Shape
from treasury.domain.market import Offer, Quote, Tenure, offer_id
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, SECOND
from treasury.engine import Book, step
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import InlineOffload
from treasury.store import MemoryStore
from treasury_providers.aws.capacity import Machine, Region
from treasury_providers.aws.prices import read_history, spot_pools
from treasury_providers.aws.rows import read_rows

NOW = 20_000 * DAY
ZONES = {f"use1-az{number}": f"us-east-1{chr(96 + number)}" for number in range(1, 7)}


def best(rounds: int, count: int, work: Callable[[], object]) -> float:
    """Items a second of the quickest of several rounds."""
    quickest = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - began)
    return count / quickest


def region(offers: int) -> Region:
    """A region with so many pools."""
    machines = {}
    for number in range(offers // len(ZONES)):
        name = f"p{number}.24xlarge"
        shape = Shape("A100-80GB", 8, 80, name)
        machines[name] = Machine(shape, 96, True, tuple(ZONES))
    return Region("us-east-1", dict(ZONES), machines)


def answer(where: Region) -> bytes:
    """EC2's answer about all its spot prices, as it comes over the wire."""
    rows = "".join(
        "<item>"
        + wire.element("instanceType", name)
        + wire.element("productDescription", "Linux/UNIX")
        + wire.element("spotPrice", f"{9 + number % 7}.{number % 10_000:04d}00")
        + wire.element("timestamp", "2026-11-20T10:00:00.000Z")
        + wire.element("availabilityZone", zone)
        + "</item>"
        for number, name in enumerate(where.machines)
        for zone in where.zones.values()
    )
    body = f"<spotPriceHistorySet>{rows}</spotPriceHistorySet><nextToken/>"
    return wire.wrap("DescribeSpotPriceHistory", body)


def decode(rounds: int, offers: int) -> None:
    """Bytes to quotes."""
    import botocore.session
    from botocore.parsers import create_parser

    where = region(offers)
    pools = spot_pools("aws", where)
    body = answer(where)
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("DescribeSpotPriceHistory").output_shape
    parser = create_parser("ec2")
    response = {"body": body, "status_code": 200, "headers": {}}
    rows, rest = read_rows(body)
    count = len(rows)
    left = {"body": rest, "status_code": 200, "headers": {}}

    def parse() -> None:
        read_rows(body)
        parser.parse(left, shape)

    def read() -> list[Quote]:
        return read_history(pools, rows, {}, NOW, NOW)

    assert len(read()) == count
    sdk = best(rounds, count, lambda: parser.parse(response, shape))
    xml = best(rounds, count, parse)
    ours = best(rounds, count, read)
    print(f"decoding, the SDK's parser alone   {sdk:>12,.0f} rows/s")
    print(f"decoding, our reading of the XML   {xml:>12,.0f} rows/s")
    print(f"decoding, rows to quotes           {ours:>12,.0f} quotes/s")
    print(f"decoding, XML to quotes            {1 / (1 / xml + 1 / ours):>12,.0f} quotes/s")


def catalogue(count: int) -> tuple[Offer, ...]:
    """So many offers."""
    return tuple(
        Offer(
            offer_id("aws", "us-east-1", f"z{number % 6}", f"p{number}.24xlarge", Tenure.SPOT),
            "aws",
            "us-east-1",
            f"z{number % 6}",
            Shape("A100-80GB", 8, 80, f"p{number}.24xlarge"),
            Tenure.SPOT,
            CAPABILITIES,
        )
        for number in range(count)
    )


def filled(offers: tuple[Offer, ...]) -> Book:
    """A book that knows these offers."""
    book = Book()
    budget = Budget(cost_centre="team", amount=MICRO)
    step(book, (Configure(EngineSettings(), (budget,)), ListOffers("aws", offers)), NOW)
    return book


def quotes(offers: tuple[Offer, ...], turn: int) -> tuple[Quote, ...]:
    """A new price for each offer."""
    at = NOW + turn * SECOND
    return tuple(Quote(offer.id, (10 + turn) * NANO, -1, at, at) for offer in offers)


class Clock:
    """An hour after everything."""

    def now(self) -> int:
        """The present instant [ns]."""
        return NOW + DAY

    async def sleep_until(self, instant: int) -> None:
        """Nobody waits here."""


async def intake(rounds: int, offers: tuple[Offer, ...]) -> None:
    """Quotes to the inbox: new ones, and ones that say nothing new."""
    agent = Agent(filled(offers), MemoryStore(), Clock(), InlineOffload())
    turns = iter(range(1, 10_000))

    def take(batch: tuple[Quote, ...]) -> None:
        for quote in batch:
            agent.quote(quote)
        agent._inbox.take()

    fresh = best(rounds, len(offers), lambda: take(quotes(offers, next(turns))))
    same = quotes(offers, 0)
    take(same)
    stale = best(rounds, len(offers), lambda: take(same))
    print(f"intake, every price new            {fresh:>12,.0f} quotes/s")
    print(f"intake, no price new               {stale:>12,.0f} quotes/s")


def book(rounds: int, offers: tuple[Offer, ...]) -> None:
    """A batch into the book: the whole step."""
    target = filled(offers)
    batches = [SeeQuotes(quotes(offers, turn)) for turn in range(1, rounds + 1)]
    turns = iter(range(1, rounds + 1))

    def turn() -> None:
        number = next(turns)
        step(target, (batches[number - 1],), NOW + number * SECOND)

    rate = best(rounds, len(offers), turn)
    print(f"step, every price new              {rate:>12,.0f} quotes/s")


def memory(count: int) -> None:
    """What a book with so many quoted offers holds."""
    gc.collect()
    tracemalloc.start()
    offers = catalogue(count)
    target = filled(offers)
    step(target, (SeeQuotes(quotes(offers, 1)),), NOW + SECOND)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(target.offers) == count
    print(f"memory of {count:,} quoted offers    {held / 1e6:>12.1f} MB")


def main() -> None:
    """Run all parts."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--offers", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    decode(given.rounds, given.offers)
    offers = catalogue(given.offers)
    asyncio.run(intake(given.rounds, offers))
    book(given.rounds, offers)
    memory(given.offers)


if __name__ == "__main__":
    main()
