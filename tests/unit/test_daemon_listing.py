"""Listings: lost machines, orphans, the circuit breaker, and adoption after a look."""

import asyncio

import pytest

from tests.support.daemon import START, Disk, LoopClock, Market, Rig, play
from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import Unreachable
from treasury.domain.events import CountersRaised, Discrepancy, LeaseEnded, LeaseSeen, SeeLeases
from treasury.domain.ids import request_token
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.runtime.breaker import doubt
from treasury.runtime.daemon import Options


def _plant(market: Market, *leases: int) -> None:
    """Machines with our tag that a journal does not know."""
    for lease in leases:
        request = Acquire("aws", "aws/us/a/p3/spot", lease, (lease,), 1, f"t{lease}")
        market.held[lease] = [request, f"i-{lease}", START, None, ""]


def test_a_machine_that_vanishes_is_missed_for_a_while_and_then_lost():
    """Two minutes out of the listings prove it; its job runs elsewhere, charged until then."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        del rig.market.held[1]
        rig.hands.running.clear()
        gone = rig.clock.now()
        await rig.until(lambda: rig.facts(LeaseEnded))
        (ended,) = rig.facts(LeaseEnded)
        assert ended.lost and ended.cause == "ghost"
        assert ended.at - gone < 2 * MINUTE <= rig.clock.now() - gone
        await rig.until(lambda: 2 in rig.market.held)

    play(work)


def test_a_listing_that_fails_proves_nothing():
    """For ten minutes no listing is complete: machines stay, the job runs, nobody is released."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        rig.market.fail("leases", *[Unreachable() for _ in range(8)])
        await asyncio.sleep(600)
        assert rig.market.alive() == [1]
        assert rig.facts(Discrepancy) == []
        assert len([call for call in rig.log.kinds("failed") if call[0] == "leases"]) == 8

    play(work)


def test_nothing_is_acquired_before_the_first_complete_listing():
    """A provider that cannot list at start is not asked for machines until it can."""

    async def work(loop):
        rig = Rig(loop)
        rig.market.fail("leases", *[Unreachable() for _ in range(3)])
        await rig.start()
        await rig.agent.submit(rig.job())
        listed = []
        while not rig.market.asked(Acquire):
            listed.append(rig.market.listed)
            await asyncio.sleep(1)
        assert rig.market.listed >= 1 and listed[0] == 0

    play(work)


def test_a_few_orphans_are_given_back():
    """Machines with our tag and a number we once gave out, unknown now: released, written down
    once."""

    async def work(loop):
        first = await Rig(loop).start()
        await first.agent.submit(*[first.job(f"j{n}", work=SECOND) for n in range(6)])
        await first.until(lambda: len(first.book.ended) == 6 and not first.book.leases)
        _plant(first.market, 2, 4)
        await first.until(lambda: not first.market.alive())
        await asyncio.sleep(200)
        assert len(first.facts(Discrepancy)) == 2

    play(work)


def test_an_orphan_that_takes_its_time_is_not_written_down_at_each_listing():
    """The market needs minutes to end it: one discrepancy a minute at most, not one a listing."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        rig.book.last_lease = 9
        _plant(rig.market, 5)

        async def slow(request):
            rig.market.calls.append(request)

        original, rig.market.release = rig.market.release, slow
        await rig.until(lambda: rig.market.asked(Release))
        await asyncio.sleep(150)
        assert 1 <= len(rig.facts(Discrepancy)) <= 4
        rig.market.release = original
        await rig.until(lambda: rig.market.alive() == [1])

    play(work)


@pytest.mark.parametrize("count", [1, 7])
def test_an_empty_journal_beside_machines_halts(count):
    """A restored, empty or foreign database: nothing is given back, nothing taken, and the daemon
    says so; it goes on living, since metering must."""

    async def work(loop):
        market = Market(LoopClock(loop))
        _plant(market, *range(1, count + 1))
        rig = await Rig(loop, market=market).start()
        await rig.agent.submit(rig.job())
        await asyncio.sleep(600)
        assert len(market.alive()) == count
        assert market.asked(Acquire) == market.asked(Release) == []
        (halted,) = rig.log.kinds("halted")
        assert "empty, restored from a backup" in halted[0]
        assert rig.daemon.status()["ready"] is False
        assert "aws" in rig.daemon.status()["halted"]

    play(work)


def test_adoption_gives_back_what_is_unknown_and_skips_its_numbers():
    """After somebody has looked: the machines go back, their numbers and tokens are not used again,
    and work begins."""

    async def work(loop):
        market = Market(LoopClock(loop))
        _plant(market, 1, 2, 3)
        rig = await Rig(loop, market=market, options=Options(adopt=True)).start()
        await rig.until(lambda: not market.alive())
        assert rig.facts(CountersRaised)[0].lease == 3
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended and not rig.book.leases)
        (request,) = market.asked(Acquire)
        assert (request.placement, request.leases) == (4, (4,))
        assert request.token == request_token("treasury", 4, 1)

    play(work)


def test_most_machines_unknown_at_once_halts():
    """Known numbers, but more than half of what is listed, and at least five: somebody looks."""

    async def work(loop):
        first = await Rig(loop).start()
        await first.agent.submit(*[first.job(f"j{n}", work=SECOND) for n in range(9)])
        await first.until(lambda: len(first.book.ended) == 9 and not first.book.leases)
        await first.stop()
        _plant(first.market, 1, 2, 3, 4, 5)
        second = await Rig(loop, store=first.store, market=first.market).start()
        await asyncio.sleep(120)
        assert first.market.alive() == [1, 2, 3, 4, 5]
        assert "would be given back at once" in second.log.kinds("halted")[0][0]

    play(work)


def test_the_breaker_closes_when_the_reason_is_gone():
    """Somebody ended the strange machines by hand: the next listing is believed again."""

    async def work(loop):
        market = Market(LoopClock(loop))
        _plant(market, 1)
        rig = await Rig(loop, market=market).start()
        await rig.agent.submit(rig.job())
        await asyncio.sleep(120)
        assert market.asked(Acquire) == []
        market.take(1)
        await rig.until(lambda: market.asked(Acquire), limit=10 * MINUTE)
        assert rig.daemon.status()["ready"] is True

    play(work)


def test_listings_that_tell_nothing_new_write_no_turns():
    """A machine runs on undisturbed: half an hour of listings leaves nothing in the journal."""

    async def work(loop):
        store = Disk()
        rig = Rig(loop, store=store, engine={"accrual": 10 * HOUR, "horizon": 11 * HOUR})
        await rig.start()
        await rig.agent.submit(rig.job(work=5 * HOUR))
        await rig.until(lambda: rig.hands.running)
        await asyncio.sleep(60)
        before, listed = store.last()[0], rig.market.listed
        await asyncio.sleep(1_800)
        assert store.last()[0] - before <= 1
        assert rig.market.listed - listed >= 25

    play(work)


def test_a_pass_without_machines_doubts_nothing():
    """Nothing listed, or only what has ended, is never a reason to stop."""

    async def work(loop):
        rig = await Rig(loop).start()
        gone = LeaseSeen(9, 9, "i-9", START, 0, "t", ended_at=START + 1)
        assert doubt(rig.book, ()) == doubt(rig.book, (gone,)) == ""
        await asyncio.sleep(5)
        entry = await rig.agent.submit(SeeLeases("aws", (gone,), rig.clock.now()))
        assert entry.facts == ()

    play(work)


def test_a_machine_that_says_that_it_ends_is_looked_for_at_once():
    """Its last word leads to listings every two seconds until one shows its end, instead of one a
    minute; what says so and stays costs five minutes of them."""

    async def work(loop):
        rig = await Rig(loop).start()
        await rig.agent.submit(rig.job(work=5 * HOUR))
        await rig.until(lambda: rig.hands.running)
        await asyncio.sleep(150)
        rig.daemon.expect_end(1)
        rig.daemon.expect_end(99)
        await asyncio.sleep(10)
        rig.market.take(1)
        ended = rig.clock.now()
        await rig.until(lambda: 1 not in rig.book.leases)
        assert rig.clock.now() - ended < 5 * SECOND
        await rig.until(lambda: rig.book.leases and rig.hands.running)
        await asyncio.sleep(150)
        rig.daemon.expect_end(2)
        await asyncio.sleep(310)
        before = rig.market.listed
        await asyncio.sleep(300)
        assert rig.market.listed - before <= 6

    play(work)
