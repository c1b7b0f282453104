"""A daemon's strategy knows after a crash, and after a reload, what it would have known."""

import asyncio

import msgspec

from tests.support.daemon import Rig, play
from treasury.domain.events import PlanTaken
from treasury.domain.job import JobState
from treasury.domain.money import NANO
from treasury.domain.plan import Plan
from treasury.domain.time import HOUR, MINUTE
from treasury.engine import recall
from treasury.runtime.daemon import Options


class Diary:
    """Never places anything, keeps every snapshot it sees, and fails every third time."""

    name = "diary"

    def __init__(self):
        self.seen = []

    def propose(self, snapshot):
        self.seen.append(snapshot)
        if snapshot.version % 3 == 0:
            raise ValueError("every third time")
        return Plan(snapshot.version, (), review_at=snapshot.now + MINUTE)


def _rig(loop, diary, **rest):
    rig = Rig(loop, **rest)
    rig.wanted = msgspec.structs.replace(rig.wanted, make_strategy=lambda: diary)
    return rig


async def _weather(rig, rounds):
    """Prices that move between two questions and while they are answered."""
    for number in range(rounds):
        rig.market.quote(NANO + number)
        await asyncio.sleep(37)


def test_the_strategy_sees_live_what_it_sees_replayed_whatever_fails():
    """The snapshots of a live strategy, failures included, are those the journal describes."""

    async def work(loop):
        diary, again = Diary(), Diary()
        rig = await _rig(loop, diary).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await _weather(rig, 20)
        await rig.until(lambda: not rig.book.plan_pending)
        recall(rig.store.entries(), again)
        assert len(diary.seen) > 10
        assert again.seen == diary.seen

    play(work)


def test_after_a_crash_the_strategy_has_seen_what_the_dead_one_saw_and_goes_on():
    """Two daemons, one killed with a question open: the second one's strategy has seen every
    snapshot in its order once, the open one too, and then what comes."""

    async def work(loop):
        first, second, whole = Diary(), Diary(), Diary()
        rig = await _rig(loop, first).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await _weather(rig, 10)
        await rig.until(lambda: rig.book.plan_pending and first.seen[-1].version % 3 == 0)
        rig.crash()
        rig = await _rig(loop, second, store=rig.store, market=rig.market).start()
        await _weather(rig, 10)
        await rig.until(lambda: not rig.book.plan_pending)
        recall(rig.store.entries(), whole)
        assert second.seen[: len(first.seen)] == first.seen
        assert len(second.seen) > len(first.seen)
        assert second.seen == whole.seen

    play(work)


def test_a_question_that_fails_is_closed_and_another_one_asked():
    """A strategy that fails on one snapshot for ever is not asked about it for ever: the question
    is closed in the journal by a plan without actions, and the next one has another number."""

    async def work(loop):
        diary = Diary()
        rig = await _rig(loop, diary).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.book.plan_version > 7)
        versions = [view.version for view in diary.seen]
        assert versions == list(range(1, versions[-1] + 1))
        taken = [fact.version for fact in rig.facts(PlanTaken)]
        assert taken == list(range(1, taken[-1] + 1))

    play(work)


def test_another_strategy_is_taught_before_it_answers():
    """A reload that names another strategy: it has seen what the journal tells, and only then
    answers."""

    async def work(loop):
        diary, other, whole = Diary(), Diary(), Diary()
        rig = _rig(loop, diary, read=lambda: wanted[0])
        wanted = [rig.wanted]
        await rig.start()
        await rig.agent.submit(rig.job(work=HOUR))
        await _weather(rig, 10)
        wanted[0] = msgspec.structs.replace(
            rig.wanted, strategy="other", make_strategy=lambda: other
        )
        assert await rig.daemon.reload() == ("strategy: cheapest -> other",)
        await _weather(rig, 5)
        await rig.until(lambda: not rig.book.plan_pending)
        recall(rig.store.entries(), whole)
        assert len(other.seen) > len(diary.seen)
        assert other.seen == whole.seen

    play(work)


def test_what_is_older_than_the_memory_is_not_asked_again():
    """Two hours of questions, a memory of one: the new strategy is taught the younger half."""

    async def work(loop):
        first, second = Diary(), Diary()
        rig = await _rig(loop, first).start()
        await rig.agent.submit(rig.job(work=HOUR))
        await _weather(rig, 200)
        await rig.until(lambda: not rig.book.plan_pending)
        rig.crash()
        memory = Options(memory=HOUR)
        rig = await _rig(loop, second, store=rig.store, market=rig.market, options=memory).start()
        await rig.until(lambda: rig.daemon.status()["strategy_learns"] is False)
        born = rig.clock.now()
        assert 0 < len(second.seen) < len(first.seen)
        assert all(born - view.now <= HOUR + MINUTE for view in second.seen)
        assert rig.book.jobs["j"].state is JobState.QUEUED

    play(work)
