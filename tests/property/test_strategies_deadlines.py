"""Whatever the market does: deadlines are met, plans fit the market, and fewer questions change
nothing."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ticks import ON_DEMAND, SPOT, TICK, Game, Played, job, offer, sold
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView
from treasury.domain.time import HOUR, SECOND
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.optimal import Optimal
from treasury_strategies.patient import Patient
from treasury_strategies.uniform_progress import UniformProgress

SLOW = offer(Tenure.SPOT, gpu="K80", lead=200 * SECOND)
# Cheaper than ON_DEMAND for the same work, but seldom in time.
SLOW_DEMAND = offer(Tenure.ON_DEMAND, gpu="K80")
BOTH = Requirement({"V100": 1_000, "K80": 400})
TICKS = 60
POLICIES = (OnDemand, Greedy, UniformProgress, Optimal)


def market(
    here: list[int], slow: list[int], *, choice: bool = False
) -> Callable[[int], Sequence[OfferView]]:
    """Spot as deep as each tick says, on-demand always. choice: also a slow and cheap one."""

    def offers(now: int) -> Sequence[OfferView]:
        step = min(now // TICK, len(here) - 1)
        return (
            sold(SPOT, 0.97, depth=here[step]),
            sold(SLOW, 0.2, depth=slow[step]),
            *([sold(SLOW_DEMAND, 0.9)] if choice else []),
            sold(ON_DEMAND, 3.06),
        )

    return offers


depths = st.lists(st.integers(0, 2), min_size=TICKS, max_size=TICKS)
overheads = st.sampled_from([0, 72, 180, 720, 1_500])


def play(
    policy: type[Patient] | type[OnDemand],
    jobs: Sequence[JobSpec],
    offers: Callable[[int], Sequence[OfferView]],
    *,
    each_tick: bool = True,
) -> Played:
    """A game long enough for every job to end."""
    return Game(policy(), jobs).play(offers, ticks=4 * TICKS, each_tick=each_tick)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40)
@given(
    here=depths,
    slow=depths,
    overhead=overheads,
    slack=st.integers(0, 30),
    interval=st.sampled_from([0, 0, 900]),
    choice=st.booleans(),
)
def test_a_deadline_that_can_be_met_is_met(
    policy: type[Patient],
    here: list[int],
    slow: list[int],
    overhead: int,
    slack: int,
    interval: int,
    choice: bool,
) -> None:
    """A job with time for one start on on-demand ends in time, however spot comes and goes."""
    start = -(-(4 * HOUR + overhead * SECOND) // TICK) + slack
    spec = job(
        hours=4,
        deadline=start * TICK / HOUR,
        overhead=overhead * SECOND,
        requirement=BOTH,
        checkpoint_interval=interval * SECOND,
    )
    played = play(policy, [spec], market(here, slow, choice=choice))
    assert spec.deadline is not None
    assert played.ended[spec.id] <= spec.deadline


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40)
@given(
    here=depths,
    slow=depths,
    overhead=overheads,
    slack=st.integers(0, 60),
    choice=st.booleans(),
)
def test_asking_only_at_changes_and_reviews_gives_the_same_run(
    policy: type[Patient],
    here: list[int],
    slow: list[int],
    overhead: int,
    slack: int,
    choice: bool,
) -> None:
    """A strategy that is asked when something changed and at its `review_at` does what it does when
    asked at every tick."""
    spec = job(hours=4, deadline=4 + slack / 6, overhead=overhead * SECOND, requirement=BOTH)
    offers = market(here, slow, choice=choice)
    often = play(policy, [spec], offers)
    seldom = play(policy, [spec], offers, each_tick=False)
    assert often.actions == seldom.actions
    assert (often.cost, often.ended) == (seldom.cost, seldom.ended)
    assert seldom.plans <= often.plans


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40)
@given(
    here=depths,
    slow=depths,
    fleet=st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(0, 20), st.integers(-1, 1)),
        min_size=1,
        max_size=6,
    ),
)
def test_a_fleet_never_holds_more_than_there_is(
    policy: type[Patient],
    here: list[int],
    slow: list[int],
    fleet: list[tuple[int, int, int, int]],
) -> None:
    """Gangs and single jobs share the pools: no plan takes more than is free, places a job twice or
    bids below the price, every job that is not placed has a reason, and all deadlines hold."""
    jobs = [
        job(
            f"job{number}",
            hours=ticks / 6,
            deadline=(ticks + slack + 1) / 6,
            overhead=72 * SECOND,
            requirement=Requirement({"V100": 1_000, "K80": 400}, nodes=nodes),
            priority=priority,
        )
        for number, (nodes, ticks, slack, priority) in enumerate(fleet)
    ]
    played = play(policy, jobs, market(here, slow))
    assert len(played.ended) == len(jobs)
    for spec in jobs:
        assert spec.deadline is not None
        assert played.ended[spec.id] <= spec.deadline
