"""Commands to the world: every kind of answer, retries, deadlines, order, and what is dropped."""

import asyncio

import pytest

from tests.support.daemon import Hang, LoopClock, Market, Rig, play
from treasury.domain.commands import Acquire, Release, StartWork, StopWork
from treasury.domain.errors import (
    BidTooLow,
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    OfferGone,
    OutcomeUnknown,
    QuotaReached,
    Throttled,
    Unreachable,
)
from treasury.domain.events import (
    CancelJob,
    LeasesDeclined,
    LeasesUnresolved,
    OfferQuarantined,
    PreemptJob,
)
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND


async def _over(rig, job="j", limit=HOUR):
    await rig.until(lambda: job in rig.book.ended and not rig.book.leases, limit)


@pytest.mark.parametrize("error", [NoCapacity, QuotaReached, BidTooLow, OfferGone, NotPermitted])
def test_a_refusal_frees_the_holds_and_another_offer_is_tried(error):
    """It did not happen: the refusal is named, the offer left alone, nothing repeated."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", error())
        await rig.agent.submit(rig.job())
        await _over(rig)
        (declined,) = rig.facts(LeasesDeclined)
        assert declined.error == error.__name__
        one, other = rig.market.asked(Acquire)
        assert one.offer != other.offer
        assert one.token != other.token
        (away,) = rig.facts(OfferQuarantined)
        wait = DAY if error in (OfferGone, NotPermitted) else 10 * MINUTE
        assert away.until >= rig.clock.now() - HOUR + wait

    play(work)


@pytest.mark.parametrize("error", [Unreachable, Throttled])
def test_what_was_not_sent_is_sent_again_the_same(error):
    """Three times not sent, then taken: the same bytes each time, one machine."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", error(), error(), error())
        await rig.agent.submit(rig.job())
        await _over(rig)
        asked = rig.market.asked(Acquire)
        assert len(asked) == 4 and len(set(asked)) == 1
        assert len(rig.market.held) == 1

    play(work)


def test_what_cannot_be_sent_for_too_long_is_given_up():
    """After the deadline the request counts as not made: its holds are free again."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", *[Unreachable() for _ in range(50)])
        began = rig.clock.now()
        await rig.agent.submit(rig.job())
        await rig.until(lambda: rig.facts(LeasesDeclined))
        assert rig.facts(LeasesDeclined)[0].error == "Unreachable"
        assert rig.clock.now() - began < 3 * MINUTE

    play(work)


def test_a_throttled_provider_is_not_asked_before_it_says():
    """`until` is waited for; one beyond the deadline gives the request up at once."""

    async def work(loop):
        rig = await Rig(loop).start()
        until = rig.clock.now() + 40 * SECOND
        rig.market.fail("acquire", Throttled(until=until))
        await rig.agent.submit(rig.job("a"))
        await rig.until(lambda: len(rig.market.asked(Acquire)) == 2)
        assert rig.clock.now() >= until
        await _over(rig, "a")
        rig.market.fail("acquire", Throttled(until=rig.clock.now() + HOUR))
        await rig.agent.submit(rig.job("b"))
        await rig.until(lambda: rig.facts(LeasesDeclined))
        declined, away = rig.facts(LeasesDeclined)[0], rig.facts(OfferQuarantined)[-1]
        assert declined.error == "Throttled"
        assert away.until > rig.clock.now() + 50 * MINUTE

    play(work)


@pytest.mark.parametrize(
    "error", [OutcomeUnknown(), Hang(acts=True), RuntimeError("a bug"), LeaseUnknown()]
)
def test_an_outcome_that_is_not_known_is_never_repeated_blindly(error):
    """A lost answer, a call that never returns, an adapter's surprise: the holds stay, the listing
    resolves it, and at no time are there two machines for one placement."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", error)
        await rig.agent.submit(rig.job())
        await _over(rig)
        asked = rig.market.asked(Acquire)
        acted = isinstance(error, OutcomeUnknown | Hang)
        assert len(asked) == (1 if acted else 2)
        assert len({request.placement for request in asked}) == len(asked)
        if not acted:
            # Proven by absence from the listings, for as long as that takes.
            (unknown,) = rig.facts(LeasesUnresolved)
            (declined,) = rig.facts(LeasesDeclined)
            assert declined.at - unknown.at >= 2 * MINUTE

    play(work)


def test_while_one_outcome_is_unknown_nothing_new_is_asked_of_that_provider():
    """Where tokens are not honoured, requests go out one at a time, and not into the fog."""

    async def work(loop):
        market = Market(LoopClock(loop), honours_tokens=False)
        rig = await Rig(loop, market=market).start()
        market.fail("acquire", RuntimeError("what was that"))
        times = []
        original = market.acquire

        async def acquire(request):
            times.append(rig.clock.now())
            await original(request)

        market.acquire = acquire
        await rig.agent.submit(rig.job("a"), rig.job("b"))
        await rig.until(lambda: len(times) >= 2)
        assert times[1] - times[0] >= 15 * SECOND

    play(work)


def test_where_tokens_are_honoured_an_unknown_outcome_keeps_nobody_waiting():
    """A repeated request cannot take a second machine there: the next one goes out at once."""

    async def work(loop):
        market = Market(LoopClock(loop), honours_tokens=True)
        rig = await Rig(loop, market=market).start()
        market.fail("acquire", RuntimeError("what was that"))
        await rig.agent.submit(rig.job("a"))
        await rig.until(lambda: rig.facts(LeasesUnresolved))
        began = rig.clock.now()
        await rig.agent.submit(rig.job("b"))
        await rig.until(lambda: len(rig.market.held) == 1)
        assert rig.clock.now() - began < 5 * SECOND

    play(work)


def test_a_release_is_tried_until_it_succeeds():
    """Whatever goes wrong, the machine is given back in the end; gone already is success."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("release", Unreachable(), RuntimeError(), Hang(acts=False), LeaseUnknown())
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended)
        await rig.until(lambda: len(rig.market.asked(Release)) >= 4)
        await rig.until(lambda: not rig.book.leases)

    play(work)


def test_a_release_that_had_no_effect_is_repeated():
    """The provider said yes and the machine is still listed: it is given back again."""

    async def work(loop):
        rig = await Rig(loop).start()
        original, calls = rig.market.release, []

        async def deaf(request):
            calls.append(request)
            if len(calls) > 1:
                await original(request)

        rig.market.release = deaf
        await rig.agent.submit(rig.job())
        await _over(rig)
        assert [call.machine for call in calls] == ["i-1", "i-1"]

    play(work)


def test_a_start_is_tried_again_while_it_is_wanted():
    """The broker is away: the work starts when it is back, once."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.hands.faults.extend([Unreachable(), OSError("no route"), None])
        await rig.agent.submit(rig.job())
        await _over(rig)
        starts = [call for call in rig.hands.calls if isinstance(call, StartWork)]
        assert len(starts) == 3 and len(set(starts)) == 1

    play(work)


def test_a_start_that_is_not_wanted_any_more_is_dropped():
    """Cancelled while the broker is away: the start is not tried again, the machine goes back."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.hands.faults.extend([Unreachable() for _ in range(100)])
        await rig.agent.submit(rig.job())
        await rig.until(lambda: rig.hands.calls)
        await rig.agent.submit(CancelJob("j"))
        await _over(rig)
        await asyncio.sleep(120)
        before = len(rig.hands.calls)
        await asyncio.sleep(600)
        assert len(rig.hands.calls) == before
        assert rig.market.alive() == []
        assert list(rig.store.undelivered()) == []

    play(work)


def test_a_request_nobody_wants_any_more_is_not_sent():
    """Cancelled while its provider cannot be reached: no machine is asked for, the holds are free,
    and the offer is not blamed."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.market.fail("acquire", Unreachable(), Unreachable())
        await rig.agent.submit(rig.job())
        await rig.until(lambda: rig.market.asked(Acquire))
        await rig.agent.submit(CancelJob("j"))
        await rig.until(lambda: not rig.book.leases)
        assert rig.market.held == {}
        assert len(rig.market.asked(Acquire)) <= 2
        assert rig.facts(OfferQuarantined)[0].until <= rig.clock.now() + SECOND

    play(work)


def test_stop_comes_after_start():
    """Preempted at once after its start: the runner hears both, in that order."""

    async def work(loop):
        rig = await Rig(loop).start()
        rig.hands.faults.extend([Unreachable(), None])
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        await rig.agent.submit(PreemptJob("j", "ann"))
        await rig.until(lambda: any(isinstance(call, StopWork) for call in rig.hands.calls))
        kinds = [type(call) for call in rig.hands.calls[:3]]
        assert kinds == [StartWork, StartWork, StopWork]

    play(work)


def test_a_request_that_was_taken_and_never_granted_is_resolved():
    """The market said yes and gave nothing: after its time the request counts as unknown, then as
    declined, and the job runs elsewhere."""

    async def work(loop):
        rig = await Rig(loop).start()
        original = rig.market.acquire

        async def deaf(request):
            rig.market.calls.append(request)
            rig.market.acquire = original

        rig.market.acquire = deaf
        await rig.agent.submit(rig.job())
        await _over(rig)
        assert rig.facts(LeasesUnresolved) and rig.facts(LeasesDeclined)
        assert len(rig.market.asked(Acquire)) == 2

    play(work)


def test_calls_keep_to_the_rate_a_provider_allows():
    """Twelve calls a minute: forty requests take their time instead of being throttled."""

    async def work(loop):
        market = Market(LoopClock(loop), calls_per_minute=12)
        rig = await Rig(loop, market=market).start()
        times = []
        original = market.acquire

        async def acquire(request):
            times.append(rig.clock.now())
            await original(request)

        market.acquire = acquire
        await asyncio.gather(
            *(rig.agent.submit(rig.job(f"j{n}", work=10 * HOUR)) for n in range(10))
        )
        for _ in range(60):
            market.quote(10**9 + len(times))
            await asyncio.sleep(10)
        assert len(times) == 10
        assert all(
            later - first >= 7 * 5 * SECOND for first, later in zip(times, times[8:], strict=False)
        )

    play(work)
