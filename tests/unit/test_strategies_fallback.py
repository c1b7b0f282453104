"""Several on-demand offers to fall back to: which one a deadline counts on, and what is taken."""

import pytest

from tests.support.ticks import (
    ON_DEMAND,
    SPOT,
    TICK,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView, Place, Plan, Preempt, Why
from treasury.domain.time import HOUR
from treasury.optimizer.prospect import Prospect
from treasury_strategies.greedy import Greedy
from treasury_strategies.optimal import Optimal
from treasury_strategies.uniform_progress import UniformProgress

# 2.25 USD for the work of an hour of V100, against 3 on ON_DEMAND.
SLOW = offer(Tenure.ON_DEMAND, gpu="K80")
EITHER = Requirement({"V100": 1_000, "K80": 400})
POLICIES = (Greedy, UniformProgress, Optimal)
Policy = type[Greedy] | type[UniformProgress] | type[Optimal]


def pressed(*, deadline: float = 10.1, submitted_at: int = 0, checkpoint: int = 0) -> JobSpec:
    """A job that SLOW (10 h) serves in time if it starts at once, ON_DEMAND (4 h) much later."""
    return job(
        hours=4,
        deadline=deadline,
        requirement=EITHER,
        submitted_at=submitted_at,
        checkpoint_interval=checkpoint,
    )


def market(spot: float, *, depth: int = 0) -> list[OfferView]:
    """Spot, and both fallbacks without limit."""
    return [sold(SPOT, spot, depth=depth), sold(SLOW, 0.9), sold(ON_DEMAND, 3.0)]


def taken(plan: Plan) -> list[str]:
    """The offers of every `Place`."""
    return [action.offer for action in plan.actions if isinstance(action, Place)]


@pytest.mark.parametrize("policy", [Greedy, Optimal])
def test_a_fast_fallback_lets_a_job_wait_when_the_slow_one_would_not(policy: Policy) -> None:
    """With cheap spot to hope for, the job waits as long as the fast fallback allows, says so, and
    then takes it."""
    spec = pressed()
    strategy = policy()
    plan = strategy.propose(snapshot([queued(spec)], market(0.5)))
    assert taken(plan) == []
    (left_out,) = plan.left_out
    assert left_out.why is Why.WAITS
    assert f"then takes {ON_DEMAND.id}" in left_out.detail
    assert plan.review_at is not None
    assert plan.review_at > HOUR
    late = strategy.propose(snapshot([queued(spec)], market(0.5), now=plan.review_at, version=2))
    assert taken(late) == [ON_DEMAND.id]


@pytest.mark.parametrize("policy", POLICIES)
def test_where_hope_costs_more_than_the_slow_fallback_that_is_taken(policy: Policy) -> None:
    """Spot at half of the time and 2 USD, else a fallback at 3, cost more than 2.25 for certain."""
    plan = policy().propose(snapshot([queued(pressed())], market(2.0)))
    assert taken(plan) == [SLOW.id]


@pytest.mark.parametrize("policy", POLICIES)
def test_spot_is_tried_when_only_the_fast_fallback_makes_it_safe(policy: Policy) -> None:
    """Free spot is taken although the slow fallback would then be too late."""
    spec = pressed(checkpoint=HOUR // 2)
    plan = policy().propose(snapshot([queued(spec)], market(0.5, depth=1)))
    assert taken(plan) == [SPOT.id]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_job_on_spot_stays_while_a_fast_fallback_would_rescue_it(policy: Policy) -> None:
    """What an interruption would lose is weighed by the fast fallback, and the job is moved when
    there is no slack on that one either."""
    spec = pressed(checkpoint=HOUR // 2)
    offers = [sold(SPOT, 0.5, depth=1, in_use=1), *market(0.5)[1:]]
    view = running(spec, SPOT)
    assert policy().propose(snapshot([view], offers)).actions == ()
    spec = pressed(deadline=4.2, checkpoint=HOUR // 2)
    plan = policy().propose(snapshot([running(spec, SPOT)], offers))
    assert [type(action) for action in plan.actions] == [Preempt, Place]
    assert taken(plan) == [ON_DEMAND.id]


def test_what_was_seen_of_spot_decides() -> None:
    """Where spot was away for days, nobody waits for it under a dear fallback any more."""
    strategy = Greedy()
    other = queued(job("other", hours=1, requirement=EITHER))
    day = 24 * HOUR
    assert taken(strategy.propose(snapshot([other], market(0.5)))) == []
    spec = pressed(submitted_at=4 * day)
    seen = snapshot([other, queued(spec, queued_at=4 * day)], market(0.5), now=4 * day, version=2)
    assert taken(strategy.propose(seen)) == [SLOW.id]


def test_the_mean_of_spot_and_fallback_by_time() -> None:
    """Six hours of prior and what was seen, in proportion to their time."""
    prospect = Prospect()
    assert prospect.expected(900) == 900
    prospect.see(0, 100, 100)
    assert prospect.expected(900) == 500
    prospect.see(18 * HOUR, None, 100)
    assert prospect.expected(900) == (21 * 100 + 3 * 900) // 24
    prospect.see(19 * HOUR, None, 100)
    assert prospect.expected(900) == (21 * 100 + 3 * 900) // 24
    prospect.count(24 * HOUR)
    assert prospect.expected(900) == (21 * 100 + 9 * 900) // 30
    prospect.see(24 * HOUR + TICK, None, None)
    assert prospect.expected(900) == 900
