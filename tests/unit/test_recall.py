"""Strategies after a crash: what they knew is in the journal."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.support.worlds import MemoryTrace, Row, job, pool, scenario
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury.domain.plan import Plan, Snapshot
from treasury.domain.time import HOUR, MINUTE
from treasury.engine import recall
from treasury.ports import Strategy
from treasury.registry import load_strategy
from treasury.store import MemoryStore
from treasury_simulations.scenario import Scenario
from treasury_simulations.simulate import simulate

DAYS = 3


def weather(pools: int, seed: int = 1) -> MemoryTrace:
    """Spot pools that come and go at odd instants at wandering prices, and two on-demand ones, the
    slower of them cheaper for its work."""
    dice = Random(seed)
    sold = [pool(f"z{at:02}") for at in range(pools)]
    sold += [pool("od", Tenure.ON_DEMAND), pool("od", Tenure.ON_DEMAND, gpu="A100-40GB")]
    rows: list[Row] = [(0, pools, 3 * NANO, -1), (0, pools + 1, 7 * NANO, -1)]
    for at in range(pools):
        now = 0
        while now < DAYS * 24 * HOUR:
            rate = NANO // 20 * dice.randint(12, 36)
            rows.append((now, at, rate, dice.choice((0, 1, 2, 4))))
            now += dice.randint(10, 300) * MINUTE + dice.randint(0, 60) * 10**9
    return MemoryTrace(sold, sorted(rows), end=DAYS * 24 * HOUR)


def fleet(pools: int) -> Scenario:
    """Jobs with and without deadlines, gangs among them."""
    dice = Random(2)
    jobs = []
    for at in range(14):
        work = dice.randint(30, 600) * MINUTE
        late = None if at % 4 == 3 else dice.randint(13, 30) * work // 10 + 2 * HOUR
        begin = dice.randint(0, 24 * 60) * MINUTE
        jobs.append(
            job(
                f"j{at:02}",
                nodes=1 + at % 2,
                at=begin,
                work=work,
                start_overhead=6 * MINUTE,
                checkpoint_interval=30 * MINUTE,
                deadline=None if late is None else begin + late,
                priority=at % 2,
            )
        )
    return scenario(weather(pools), *jobs)


class Restarting:
    """A strategy whose process dies every so many questions and is rebuilt from the journal."""

    def __init__(self, make: Callable[[], Strategy], store: MemoryStore, every: int) -> None:
        self.make, self.store, self.every = make, store, every
        self.inner = make()
        self.name = self.inner.name
        self.asked = self.deaths = 0

    def propose(self, snapshot: Snapshot) -> Plan:
        self.asked += 1
        if self.asked % self.every == 0:
            self.deaths += 1
            self.inner = self.make()
            found = recall(self.store.entries(), self.inner)
            assert found.asked == snapshot
        return self.inner.propose(snapshot)


@pytest.mark.parametrize(
    ("name", "pools", "every"),
    [
        ("deadline", 2, 60),
        ("deadline", 12, 60),
        ("greedy", 3, 12),
        ("uniform_progress", 3, 12),
        ("optimal", 3, 30),
        ("on_demand", 2, 12),
    ],
)
def test_a_strategy_rebuilt_from_the_journal_decides_as_if_it_had_never_died(
    name: str, pools: int, every: int
) -> None:
    """The journal of a run in which the strategy dies again and again is, to the last bit, that of
    a run in which it never does."""
    given: dict[str, Any] = {}
    whole = simulate(fleet(pools), load_strategy(name, given))
    store = MemoryStore()
    dying = Restarting(lambda: load_strategy(name, given), store, every)
    killed = simulate(fleet(pools), dying, store=store)
    assert dying.deaths >= 1
    assert killed.journal_hash == whole.journal_hash
    assert all(outcome.state == "finished" for outcome in whole.jobs)


def test_a_strategy_that_is_not_taught_decides_otherwise() -> None:
    """The test above can fail: without the journal a new process knows less, and does not do the
    same."""
    whole = simulate(fleet(12), load_strategy("deadline", {}))
    store = MemoryStore()

    class Forgetful(Restarting):
        def propose(self, snapshot: Snapshot) -> Plan:
            self.asked += 1
            if self.asked % self.every == 0:
                self.inner = self.make()
            return self.inner.propose(snapshot)

    forgetful = Forgetful(lambda: load_strategy("deadline", {}), store, 60)
    assert simulate(fleet(12), forgetful, store=store).journal_hash != whole.journal_hash


def test_questions_before_an_instant_can_be_left_out() -> None:
    """`since` bounds the work: only younger questions are asked again, and the book is whole."""
    store = MemoryStore()
    simulate(fleet(2), load_strategy("greedy", {}), store=store)

    class Counting:
        name = "counting"
        asked = 0

        def propose(self, snapshot: Snapshot) -> Plan:
            self.asked += 1
            raise ValueError("never an answer")

    every, some, none = Counting(), Counting(), Counting()
    whole = recall(store.entries(), every)
    half = recall(store.entries(), some, since=12 * HOUR)
    assert recall(store.entries(), none, since=2**62).asked is None
    assert every.asked > some.asked > none.asked == 0
    assert whole.book.seq == half.book.seq > 0 and whole.asked is None
