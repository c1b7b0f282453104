"""What comes in: quotes, catalogues, plans. What fails is opened or asked for again."""

import asyncio

import msgspec

from tests.support.daemon import A, LoopClock, Market, Rig, play
from treasury.domain.errors import Unreachable
from treasury.domain.events import OffersListed, PlanTaken, Quoted, QuoteRejected
from treasury.domain.market import Quote
from treasury.domain.money import NANO
from treasury.domain.plan import Place, Plan
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ports import Offload
from treasury.runtime.clocks import InlineOffload
from treasury.runtime.daemon import Options
from treasury.runtime.inbox import Inbox


def test_quotes_of_one_offer_are_coalesced_and_the_last_one_wins():
    """A thousand prices in one go: one turn, one price in the book."""

    async def work(loop):
        rig = await Rig(loop).start()
        await asyncio.sleep(5)
        before = rig.store.last()[0]
        for rate in range(1, 1_001):
            rig.market.quote(NANO + rate)
        await asyncio.sleep(5)
        assert rig.book.offers[A.id].rate == NANO + 1_000
        assert rig.store.last()[0] - before <= 2

    play(work)


def test_a_market_that_ticks_all_the_time_costs_a_few_turns_a_second():
    """A hundred changes a second for ten seconds: at most five turns a second take quotes."""

    async def work(loop):
        rig = await Rig(loop).start()
        await asyncio.sleep(5)
        before = rig.store.last()[0]
        for tick in range(1_000):
            rig.market.quote(NANO + tick % 7)
            await asyncio.sleep(0.01)
        assert 10 <= rig.store.last()[0] - before <= 52

    play(work)


def test_quotes_that_say_nothing_new_are_not_journalled():
    """The same price every second: the book knows it, the journal is not told again."""

    async def work(loop):
        rig = await Rig(loop).start()
        await asyncio.sleep(5)
        before = rig.store.last()[0]
        for _ in range(100):
            rig.market.quote(NANO)
            await asyncio.sleep(1)
        assert rig.store.last()[0] - before <= 2

    play(work)


def test_where_quotes_grow_old_an_unchanged_one_is_passed_on_in_time():
    """With a limit on a quote's age, the same price is taken again before it is too old."""

    async def work(loop):
        rig = await Rig(loop, engine={"quote_age_max": 4 * MINUTE}).start()
        for _ in range(30):
            rig.market.quote(NANO)
            await asyncio.sleep(30)
        age = rig.clock.now() - rig.book.offers[A.id].observed_at
        assert age <= 2 * MINUTE
        assert len(rig.facts(Quoted)) < 20

    play(work)


def test_a_market_whose_clock_is_ahead_is_believed_all_the_same():
    """Seconds ahead count as now; an hour ahead is refused and written down once."""

    async def work(loop):
        rig = await Rig(loop).start()
        await asyncio.sleep(5)
        now = rig.clock.now()
        rig.market.said.put_nowait(Quote(A.id, 3 * NANO, 5, now + 5 * SECOND, now))
        await asyncio.sleep(2)
        assert rig.book.offers[A.id].rate == 3 * NANO
        for _ in range(5):
            rig.market.said.put_nowait(Quote(A.id, 4 * NANO, 5, now + HOUR, now))
            await asyncio.sleep(2)
        assert len(rig.facts(QuoteRejected)) == 1

    play(work)


def test_quotes_of_offers_nobody_knows_are_dropped():
    """A flood of strange offers does not reach the journal."""

    async def work(loop):
        rig = await Rig(loop).start()
        await asyncio.sleep(5)
        before = rig.store.last()[0]
        now = rig.clock.now()
        for number in range(1_000):
            rig.market.said.put_nowait(Quote(f"aws/{number}", NANO, 5, now, now))
        await asyncio.sleep(5)
        assert rig.store.last()[0] == before

    play(work)


def test_a_stream_that_fails_or_ends_is_opened_again_later_each_time():
    """Each failure is reported, each wait is longer; a quote resets the waits."""

    async def work(loop):
        rig = await Rig(loop).start()
        for _ in range(4):
            rig.market.said.put_nowait(Unreachable("reset"))
            await asyncio.sleep(30)
        assert rig.market.opened == 5
        assert rig.log.kinds("failed").count(("quotes", "Unreachable")) == 4

    play(work)


def test_a_stream_that_falls_silent_is_taken_for_dead():
    """Half-open connections say nothing for ever: after the limit it is opened anew."""

    async def work(loop):
        rig = await Rig(loop, options=Options(quiet_after=MINUTE)).start()
        await asyncio.sleep(200)
        assert len(rig.log.kinds("quiet")) >= 2
        assert rig.market.opened >= 3

    play(work)


def test_a_catalogue_is_listed_when_it_changes():
    """Hourly, but only a new one is written down; one that fails is asked for again soon."""

    async def work(loop):
        rig = Rig(loop)
        rig.market.fail("offers", Unreachable(), Unreachable())
        await rig.start()
        await asyncio.sleep(10 * 3_600)
        assert len(rig.facts(OffersListed)) == 1
        rig.market.catalogue[0] = msgspec.structs.replace(rig.market.catalogue[0], zone="z")
        await asyncio.sleep(2 * 3_600)
        assert len(rig.facts(OffersListed)) == 2

    play(work)


def test_a_strategy_that_fails_is_asked_again():
    """An exception, nonsense and an answer to another question: each reported, then a real plan."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.strategy.answers.extend(
            [
                ValueError("no idea"),
                "a plan",
                Plan(999, ()),
                Plan(1, 5),
                Plan(1, (Place("j", 1, 1),)),
            ]
        )
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended and not rig.book.leases)
        whys = [why for (why,) in rig.log.kinds("plan")]
        assert len(whys) == 5
        assert whys[0] == "ValueError: no idea"
        assert "is no plan for version" in whys[1]

    play(work)


class _Slow:
    """An offload that takes its time for the first calls; the very first one teaches."""

    def __init__(self, clock: LoopClock, *waits: int) -> None:
        self.clock, self.waits = clock, list(waits)
        self.running = self.most = 0

    async def run(self, function):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.waits:
                await self.clock.sleep_until(self.clock.now() + self.waits.pop(0))
            return function()
        finally:
            self.running -= 1


def test_an_answer_that_comes_too_late_is_thrown_away():
    """The strategy thinks for five minutes: nobody waits for it but the planner, which does not ask
    it twice at once; then a fresh question is answered."""

    async def work(loop):
        rig = Rig(loop, options=Options(plan_limit=MINUTE))
        slow: Offload = _Slow(rig.clock, 0, 5 * MINUTE)
        rig.launch()
        rig.daemon.host = msgspec.structs.replace(rig.daemon.host, planning=slow)
        await rig.daemon.ready.wait()
        await rig.agent.submit(rig.job("a"))
        await asyncio.sleep(120)
        assert rig.daemon.status()["strategy_late"] > 60
        await rig.agent.submit(rig.job("b"))
        await rig.until(lambda: len(rig.book.ended) == 2 and not rig.book.leases)
        assert slow.most == 1
        assert rig.daemon.status()["strategy_late"] is None

    play(work)


def test_a_question_an_earlier_process_asked_is_answered_after_the_restart():
    """Killed between the question and the plan: the next process asks its strategy at once."""

    async def work(loop):
        first = Rig(loop)
        first.launch()
        first.daemon.host = msgspec.structs.replace(
            first.daemon.host, planning=_Slow(first.clock, 0, HOUR)
        )
        await first.daemon.ready.wait()
        await first.agent.submit(first.job())
        await first.until(lambda: first.book.plan_pending)
        await asyncio.sleep(1)
        first.crash()
        second = await Rig(loop, store=first.store, market=first.market).start()
        await second.until(lambda: "j" in second.book.ended)
        assert len(second.facts(PlanTaken)) >= 1

    play(work)


def test_the_inbox_keeps_facts_in_order_and_in_one_turn():
    """What was put together stays together, however much waits before it."""

    async def work(_loop):
        inbox = Inbox()
        done = []
        for number in range(3):
            inbox.put((f"a{number}", f"b{number}"), lambda number=number: done.append(number))
        batch, callbacks = inbox.take()
        assert batch == ["a0", "b0", "a1", "b1", "a2", "b2"]
        for callback in callbacks:
            callback()
        assert done == [0, 1, 2]
        assert len(inbox) == 0 and inbox.take() == ([], [])

    play(work)


def test_an_inline_offload_runs_at_once():
    """The port for simulations: the result, or the exception, without a thread."""

    async def work(_loop):
        assert await InlineOffload().run(lambda: 3) == 3

    play(work)


def test_two_markets_of_one_name_are_told_apart_by_their_table():
    """What is heard is filed under the provider's name in the configuration."""

    async def work(loop):
        market = Market(LoopClock(loop))
        rig = await Rig(loop, market=market).start()
        await asyncio.sleep(2)
        assert set(rig.daemon.status()["providers"]) == {"aws"}
        assert rig.daemon.status()["providers"]["aws"]["quotes"] is not None

    play(work)
