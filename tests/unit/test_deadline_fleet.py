"""The deadline strategy where jobs share pools and budgets."""

import msgspec

from tests.support.ticks import (
    ON_DEMAND,
    SPOT,
    TICK,
    Game,
    budget,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.job import Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView, Place, Preempt, Why
from treasury.domain.time import HOUR, MINUTE
from treasury_strategies.deadline import Deadline

EAST = offer(Tenure.SPOT, zone="b")
GANG = Requirement({"V100": 1_000}, nodes=4)


def market(spot: int, small: int = 0) -> list[OfferView]:
    """A pool of some depth, a small pool beside it, and on-demand for three dollars."""
    return [sold(SPOT, 1.0, depth=spot), sold(EAST, 0.5, depth=small), sold(ON_DEMAND, 3.0)]


def test_a_gang_does_not_count_on_a_pool_that_is_too_small_for_it() -> None:
    """A cheaper pool that never had room for all four machines changes nothing of what a gang does;
    all nodes are placed at once, by one action."""
    spec = job("gang", hours=10, deadline=13, overhead=10 * MINUTE, requirement=GANG)
    beside, alone = Deadline(), Deadline()
    for tick in range(24):
        views = market(4 if tick % 6 < 4 else 0, small=2)
        now, late = tick * TICK, msgspec.structs.replace(spec, deadline=tick * TICK + 13 * HOUR)
        view = queued(late, queued_at=now)
        first = beside.propose(snapshot([view], views, now=now))
        second = alone.propose(snapshot([view], [views[0], views[2]], now=now))
        assert first.actions == second.actions
        assert len(first.actions) <= 1


def test_machines_of_a_gang_are_worth_what_one_machine_is() -> None:
    """Amounts are per machine: a gang bids for each what a job of one node bids, and both read one
    table."""
    strategy = Deadline()
    jobs = [
        job(name, hours=10, deadline=20, overhead=10 * MINUTE, requirement=requirement)
        for name, requirement in (("a", GANG), ("b", Requirement({"V100": 1_000})), ("c", GANG))
    ]
    plan = strategy.propose(snapshot([queued(spec) for spec in jobs], market(9)[::2]))
    bids = {action.bid for action in plan.actions if isinstance(action, Place)}
    assert len(plan.actions) == 3 and len(bids) == 1


def test_a_lost_deadline_is_not_paid_for() -> None:
    """A job that will be hours late takes spot and waits for it, but buys nothing; one that will be
    a few minutes late hurries."""
    lost = job(hours=10, deadline=5)
    plan = Deadline().propose(snapshot([queued(lost)], market(0)))
    assert plan.actions == ()
    assert plan.left_out[0].why is Why.WAITS and "deadline is lost" in plan.left_out[0].detail
    (action,) = Deadline().propose(snapshot([queued(lost)], market(1))).actions
    assert isinstance(action, Place) and action.offer == SPOT.id
    little = job(hours=10, deadline=9.8)
    (action,) = Deadline().propose(snapshot([queued(little)], market(0))).actions
    assert isinstance(action, Place) and action.offer == ON_DEMAND.id


def test_a_late_job_leaves_on_demand_where_the_rest_pays_for_it() -> None:
    """A lost job on demand goes to spot, unless it is about to end."""
    lost = job(hours=10, deadline=5, overhead=10 * MINUTE)
    plan = Deadline().propose(snapshot([running(lost, ON_DEMAND)], market(1)))
    stop, place = plan.actions
    assert isinstance(stop, Preempt) and isinstance(place, Place) and place.offer == SPOT.id
    late = 6 * HOUR
    ending = running(lost, ON_DEMAND, useful_from=late, work_done=10 * HOUR - 5 * MINUTE)
    assert Deadline().propose(snapshot([ending], market(1), now=late)).actions == ()


def test_on_demand_that_no_budget_pays_to_the_end_is_not_begun() -> None:
    """Where the whole budget is less than the rest costs on demand, spot is taken whenever it is
    there and nothing is bought; where it is more, on-demand is bought in time."""
    tight = job(hours=10, deadline=10.5)
    poor, rich = [budget(20_000_000)], [budget(40_000_000)]
    none = Deadline().propose(snapshot([queued(tight)], market(0), budgets=poor))
    assert none.actions == ()
    (spot,) = Deadline().propose(snapshot([queued(tight)], market(1), budgets=poor)).actions
    assert isinstance(spot, Place) and spot.offer == SPOT.id
    hurry = job(hours=10, deadline=10)
    (bought,) = Deadline().propose(snapshot([queued(hurry)], market(0), budgets=rich)).actions
    assert isinstance(bought, Place) and bought.offer == ON_DEMAND.id


def test_asked_only_when_it_wants_to_be_no_job_is_late() -> None:
    """A strategy that names its next review itself, and is asked at no other time but at news, ends
    all jobs in time, with fewer plans than there are ticks."""
    jobs = [
        job(
            f"j{at}",
            hours=5 + at,
            deadline=9 + 2 * at,
            overhead=7 * MINUTE,
            checkpoint_interval=30 * MINUTE,
        )
        for at in range(5)
    ]
    game = Game(Deadline(), jobs, tick=TICK // 4)
    played = game.play(
        lambda now: market(3 if now // HOUR % 5 < 3 else 0), ticks=20 * 24, each_tick=False
    )
    assert all(played.ended[spec.id] <= spec.deadline for spec in jobs if spec.deadline)
    assert played.plans < 0.6 * 20 * 24
