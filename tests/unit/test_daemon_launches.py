"""Launches an hour: a limit that restarts do not forget."""

import asyncio

from tests.support.daemon import Rig, play
from treasury.domain.commands import Acquire
from treasury.domain.errors import NoCapacity
from treasury.domain.events import LeasesDeclined
from treasury.domain.time import HOUR, MINUTE
from treasury.runtime.daemon import Options

THREE = Options(launches=3)


def test_more_than_the_limit_are_declined_until_there_is_room():
    """Five jobs, three machines an hour: three run at once, the others' requests never leave the
    house, are told, and run when the first launches are an hour old."""

    async def work(loop):
        rig = await Rig(loop, options=THREE).start()
        began = rig.clock.now()
        await rig.agent.submit(*[rig.job(f"j{n}", work=10 * MINUTE) for n in range(5)])
        await rig.until(lambda: len(rig.book.ended) == 3)
        await asyncio.sleep(20 * 60)
        assert len(rig.market.asked(Acquire)) == 3
        assert {fact.error for fact in rig.facts(LeasesDeclined)} == {"QuotaReached"}
        assert ("acquire", "QuotaReached") in rig.log.kinds("failed")
        await rig.until(lambda: len(rig.book.ended) == 5, limit=3 * HOUR)
        assert rig.clock.now() - began > HOUR
        assert len(rig.market.asked(Acquire)) == 5

    play(work)


def test_a_process_that_dies_after_each_launch_comes_no_further_than_the_limit():
    """Crash after crash, each with a new job: three machines in the hour, not one more."""

    async def work(loop):
        rig = await Rig(loop, options=THREE).start()
        for number in range(8):
            await rig.agent.submit(rig.job(f"j{number}", work=5 * HOUR))
            await asyncio.sleep(60)
            rig.crash()
            rig = await Rig(loop, store=rig.store, market=rig.market, options=THREE).start()
        assert len(rig.market.held) == 3

    play(work)


def test_what_a_market_declined_was_no_launch():
    """Refusals use up nothing: the limit counts machines."""

    async def work(loop):
        rig = await Rig(loop, options=Options(launches=1)).start()
        rig.market.fail("acquire", NoCapacity(), NoCapacity())
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended, limit=HOUR // 2)
        assert len(rig.market.asked(Acquire)) == 3

    play(work)
