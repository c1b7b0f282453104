"""The daemon and a database that refuses, loses answers, or belongs to another by now."""

import asyncio

import pytest

from tests.support.daemon import Disk, Rig, play
from treasury.domain.errors import Deposed, StoreError
from treasury.domain.time import HOUR
from treasury.engine import replay


async def _over(rig, job="j"):
    """Go on until a job has ended and its machines are gone."""
    await rig.until(lambda: job in rig.book.ended and not rig.book.leases)


def test_a_database_that_refuses_for_a_while_costs_time_and_nothing_else():
    """Commits fail, then succeed: callers in the turn wait, new ones are turned away, every
    decision is in the journal once."""

    class Refusing(Disk):
        failures = 0

        def append(self, entry):
            if self.failures:
                self.failures -= 1
                raise StoreError("the disk is full")
            return super().append(entry)

    async def work(loop):
        rig = await Rig(loop, store=Refusing()).start()
        await asyncio.sleep(5)
        rig.store.failures = 5
        waiting = loop.create_task(rig.agent.submit(rig.job("a")))
        await rig.until(lambda: rig.agent.fault)
        assert rig.daemon.status()["ready"] is False
        with pytest.raises(StoreError, match="disk is full"):
            await rig.agent.submit(rig.job("b"))
        await waiting
        assert rig.agent.fault == ""
        await _over(rig, "a")
        assert replay(rig.store.entries()).digest() == rig.book.digest()

    play(work)


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_twice():
    """The database took the turn and said nothing: the daemon looks before it writes again."""

    class Silent(Disk):
        lost = 0

        def append(self, entry):
            digest = super().append(entry)
            if self.lost:
                self.lost -= 1
                raise StoreError("the connection broke")
            return digest

    async def work(loop):
        rig = await Rig(loop, store=Silent()).start()
        rig.store.lost = 1
        await rig.agent.submit(rig.job())
        await _over(rig)
        assert replay(rig.store.entries()).digest() == rig.book.digest()

    play(work)


def test_whoever_is_deposed_stops_at_once():
    """A fenced-off write ends the process; callers are told; machines go on."""

    class Fenced(Disk):
        fenced = False

        def append(self, entry):
            if self.fenced:
                raise Deposed("another process took over")
            return super().append(entry)

    async def work(loop):
        rig = await Rig(loop, store=Fenced()).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        rig.store.fenced = True
        with pytest.raises(Deposed):
            await rig.agent.submit(rig.job("b"))
        with pytest.raises(Deposed):
            await rig.task
        assert rig.market.alive() == [1]

    play(work)
