"""The deadline strategy on single snapshots."""

import msgspec
import pytest

from tests.support.ticks import (
    ON_DEMAND,
    RATE,
    SPOT,
    TICK,
    Game,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView, Place, Plan, Preempt, Why
from treasury.domain.time import HOUR, MINUTE
from treasury.ports import Strategy
from treasury_strategies.deadline import Deadline, DeadlineSettings
from treasury_strategies.uniform_progress import UniformProgress

EAST = offer(Tenure.SPOT, zone="b")
JOB = job(hours=10, deadline=20, overhead=10 * MINUTE)


def market(depth: int, price: float = 1.0) -> list[OfferView]:
    """Spot at a price, `depth` of it, and on-demand for three dollars."""
    return [sold(SPOT, price, depth=depth), sold(ON_DEMAND, 3.0)]


def test_it_is_a_strategy_with_settings() -> None:
    """The class keeps the seam's contract and refuses settings that make no sense."""
    strategy: object = Deadline()
    assert isinstance(strategy, Strategy)
    assert strategy.name == "deadline"
    for wrong in ({"refresh": 0}, {"reversion": 2.0}, {"points": 3}, {"margin": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DeadlineSettings(**wrong)


def test_spot_that_is_there_is_taken_with_a_bid_between_its_rate_and_on_demand() -> None:
    """A job with slack takes spot; its bid is what the hour is worth to it, not just the rate."""
    plan = Deadline().propose(snapshot([queued(JOB)], market(1)))
    (action,) = plan.actions
    assert isinstance(action, Place) and action.offer == SPOT.id
    assert RATE < action.bid <= 3 * RATE


def test_a_job_with_slack_waits_and_asks_again_at_the_next_tick() -> None:
    """Without spot and with half of the time to spare nothing is bought, and the plan says why."""
    plan = Deadline().propose(snapshot([queued(JOB)], market(0)))
    assert plan.actions == ()
    (left,) = plan.left_out
    assert left.why is Why.WAITS
    assert plan.review_at == TICK


def test_a_job_without_slack_buys() -> None:
    """When a start on demand fills what is left, on-demand it is, spot or not."""
    tight = job(hours=10, deadline=10.17, overhead=10 * MINUTE)
    for depth in (0, 1):
        plan = Deadline().propose(snapshot([queued(tight)], market(depth)))
        (action,) = plan.actions
        assert isinstance(action, Place) and action.offer == ON_DEMAND.id


def test_spot_dearer_than_on_demand_is_left() -> None:
    """A price spike above on-demand is not paid."""
    plan = Deadline().propose(snapshot([queued(JOB)], market(1, price=30.0)))
    assert all(action.offer != SPOT.id for action in plan.actions if isinstance(action, Place))


def test_on_demand_is_left_for_spot_that_has_lasted() -> None:
    """A job on demand goes back to spot once that has been there for hours; not within a flicker
    when a start costs an hour."""
    costly = job(hours=30, deadline=60, overhead=HOUR)
    strategy, last = Deadline(), Plan(0, ())
    view = running(costly, ON_DEMAND)
    for tick in range(60):
        now = tick * TICK
        last = strategy.propose(snapshot([view], market(1), now=now))
        if last.actions:
            break
    first, second = last.actions
    assert isinstance(first, Preempt) and isinstance(second, Place)
    assert second.offer == SPOT.id
    flicker = Deadline()
    for tick in range(60):
        plan = flicker.propose(snapshot([view], market(tick % 2), now=tick * TICK))
        assert plan.actions == ()


def test_the_better_of_two_pools_is_taken() -> None:
    """At equal prices the pool that has been steady wins over the one that comes and goes."""
    strategy = Deadline()
    for tick in range(300):
        views = [
            sold(SPOT, 1.0, depth=int(tick % 4 != 0)),
            sold(EAST, 1.0, depth=1),
            sold(ON_DEMAND, 3.0),
        ]
        strategy.propose(snapshot([], views, now=tick * TICK))
    late = msgspec.structs.replace(JOB, deadline=320 * TICK)
    now = 301 * TICK
    views = [sold(SPOT, 1.0, depth=1), sold(EAST, 1.0, depth=1), sold(ON_DEMAND, 3.0)]
    small = msgspec.structs.replace(late, work=HOUR)
    plan = strategy.propose(snapshot([queued(small, queued_at=now)], views, now=now))
    (action,) = plan.actions
    assert isinstance(action, Place) and action.offer == EAST.id


def test_jobs_without_a_deadline_are_treated_patiently() -> None:
    """No deadline, no programme: the plan is uniform_progress's."""
    plain = queued(job(hours=3))
    for depth in (0, 1):
        ours = Deadline().propose(snapshot([plain], market(depth)))
        theirs = UniformProgress().propose(snapshot([plain], market(depth)))
        assert ours.actions == theirs.actions


def test_the_job_that_gains_most_gets_the_last_machine() -> None:
    """One spot machine, two jobs of one priority: the later one, whose deadline leaves it nothing
    but on-demand otherwise, gets it before the one that can wait; a higher priority goes before
    both."""
    easy = job("easy", hours=4, deadline=60, overhead=MINUTE)
    pressed = job("pressed", hours=10, deadline=11, overhead=MINUTE)
    views = [queued(easy), queued(pressed)]
    plan = Deadline().propose(snapshot(views, market(1)))
    places = {action.job: action.offer for action in plan.actions if isinstance(action, Place)}
    assert places[pressed.id] == SPOT.id and places.get(easy.id) != SPOT.id
    first = job("first", hours=4, deadline=5, overhead=MINUTE, priority=1)
    plan = Deadline().propose(snapshot([queued(first), queued(pressed)], market(1)))
    places = {action.job: action.offer for action in plan.actions if isinstance(action, Place)}
    assert places[first.id] == SPOT.id


def test_many_jobs_share_tables_and_end_in_time() -> None:
    """Forty jobs with deadlines over two pools: few tables are solved, and all jobs end in time."""
    strategy = Deadline()
    jobs = [
        job(f"j{at:02}", hours=4 + at % 5, deadline=12 + at % 7, overhead=5 * MINUTE)
        for at in range(40)
    ]
    solved: list[float] = []
    solve = strategy.tables._solve

    def counting(*given: object) -> object:
        solved.append(1.0)
        return solve(*given)  # type: ignore[arg-type]

    strategy.tables._solve = counting  # type: ignore[method-assign, assignment]
    game = Game(strategy, jobs)
    played = game.play(
        lambda now: [
            sold(SPOT, 1.0, depth=20 if now // TICK % 30 < 20 else 5),
            sold(EAST, 1.1, depth=10),
            sold(ON_DEMAND, 3.0),
        ],
        ticks=120,
    )
    assert all(played.ended[spec.id] <= spec.deadline for spec in jobs if spec.deadline)
    assert len(solved) < 40
