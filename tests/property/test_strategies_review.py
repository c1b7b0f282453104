"""`review_at` is exact: between plans nothing a strategy would do is missed, and nothing is asked
too early."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ticks import ON_DEMAND, job, offer, queued, running, snapshot, sold
from treasury.domain.job import Requirement
from treasury.domain.market import Offer, Tenure
from treasury.domain.plan import JobView, Place, Snapshot
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_strategies.greedy import Greedy
from treasury_strategies.on_demand import OnDemand
from treasury_strategies.uniform_progress import UniformProgress

SLOW_SPOT = offer(Tenure.SPOT, gpu="K80", lead=40 * SECOND)
FAST_SPOT = offer(Tenure.SPOT, gpu="V100", lead=90 * SECOND)
SPOTS = (offer(Tenure.SPOT), SLOW_SPOT, FAST_SPOT)
FALLBACKS = (ON_DEMAND, offer(Tenure.ON_DEMAND, lead=130 * SECOND))
BOTH = Requirement({"V100": 1_000, "K80": 370})
POLICIES = (OnDemand, Greedy, UniformProgress)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Snapshot, Offer]:
    """One job somewhere in its life, one spot and one on-demand offer, spot perhaps sold out."""
    tick = draw(st.sampled_from([MINUTE, 10 * MINUTE]))
    origin = draw(st.sampled_from([0, 17 * SECOND]))
    now = origin + tick * draw(st.integers(0, 60))
    spot, fallback = draw(st.sampled_from(SPOTS)), draw(st.sampled_from(FALLBACKS))
    hours, share = draw(st.integers(1, 240)) / 60, draw(st.integers(0, 99))
    # What is left must be doable, or every policy hurries and there is nothing to review.
    slack = draw(st.integers(-10, 90))
    left = hours * (100 - share) / 100
    spec = job(
        hours=hours,
        deadline=None if slack < -1 else now / HOUR + left + slack / 60,
        overhead=draw(st.sampled_from([0, 72, 720, 1_500])) * SECOND,
        requirement=BOTH,
        checkpoint_interval=draw(st.sampled_from([0, 0, 7 * MINUTE])),
    )
    done = spec.work * share // 100
    on = draw(st.sampled_from([None, spot, fallback]))
    if on is None:
        view = queued(spec, work_done=done)
    else:
        ready = now + draw(st.integers(-40, 40)) * MINUTE // 2
        view = running(spec, on, useful_from=ready, work_done=done)
    free = draw(st.booleans())
    offers = (
        sold(spot, draw(st.sampled_from([0.2, 0.9, 3.2])), depth=4, in_use=0 if free else 4),
        sold(fallback, 3.06),
    )
    return snapshot([view], offers, now=now, tick=tick, origin=origin), fallback


def first_action(policy: type[Greedy] | type[OnDemand], seen: Snapshot, ticks: int) -> int | None:
    """By asking at every tick: the first later one at which the policy would do something."""
    (view,) = seen.jobs
    for step in range(1, ticks + 1):
        now = seen.now + step * seen.tick
        if view.work_left(now) == 0:
            return None
        if policy().propose(msgspec.structs.replace(seen, now=now)).actions:
            return now
    return None


@pytest.mark.parametrize("policy", POLICIES)
@given(situation=situations())
def test_the_review_is_the_first_tick_at_which_something_is_done(
    policy: type[Greedy] | type[OnDemand], situation: tuple[Snapshot, Offer]
) -> None:
    """With one job, when nothing happens, `review_at` equals what asking at every tick finds."""
    seen, _ = situation
    plan = policy().propose(seen)
    if plan.actions:
        return
    assert plan.review_at == first_action(policy, seen, 1_500 * MINUTE // seen.tick)


@pytest.mark.parametrize("policy", POLICIES)
@given(situation=situations(), minutes=st.integers(1, 300))
def test_a_quarantine_that_ends_is_looked_at(
    policy: type[Greedy] | type[OnDemand], situation: tuple[Snapshot, Offer], minutes: int
) -> None:
    """While spot is in quarantine the review comes no later than the first tick with something to
    do."""
    seen, _ = situation
    until = seen.now + minutes * MINUTE
    offers = tuple(
        msgspec.structs.replace(view, quarantined_until=until)
        if view.offer.tenure is Tenure.SPOT
        else view
        for view in seen.offers
    )
    seen = msgspec.structs.replace(seen, offers=offers)
    plan = policy().propose(seen)
    first = first_action(policy, seen, 1_500 * MINUTE // seen.tick)
    if not plan.actions and first is not None:
        assert plan.review_at is not None
        assert plan.review_at <= first


@given(situation=situations(), patience=st.integers(0, 300))
def test_patience_ends_on_its_tick(situation: tuple[Snapshot, Offer], patience: int) -> None:
    """A job without a deadline takes on-demand at the first tick at which its patience is over."""
    seen, fallback = situation
    (view,) = seen.jobs
    spec = msgspec.structs.replace(view.spec, deadline=None)
    seen = msgspec.structs.replace(seen, jobs=(queued(spec, queued_at=seen.now - MINUTE),))
    policy = Greedy(Greedy.Settings(patience=patience * MINUTE))
    ends = seen.now + (patience - 1) * MINUTE
    plan = policy.propose(seen)
    if plan.actions:
        (action,) = plan.actions
        assert isinstance(action, Place)
        assert action.offer != fallback.id or ends <= seen.now
        return
    assert plan.review_at is not None
    assert plan.review_at - seen.tick < ends <= plan.review_at
    late = policy.propose(msgspec.structs.replace(seen, now=plan.review_at))
    assert [action.offer for action in late.actions if isinstance(action, Place)] == [fallback.id]


def test_a_view_is_judged_by_what_it_says() -> None:
    """The same strategy object asked about a job before and after an interruption forgets nothing
    false."""
    spec = job(hours=4, deadline=6)
    policy = UniformProgress()
    offers = (sold(SPOTS[0], 0.9, depth=4, in_use=4), sold(ON_DEMAND, 3.06))

    def review(view: JobView, now: int) -> int | None:
        return policy.propose(snapshot([view], offers, now=now)).review_at

    assert review(queued(spec), 0) == 10 * MINUTE
    # Two hours done after two hours: an hour ahead of the line, which two sixths of the time were.
    assert review(queued(spec, work_done=spec.work // 2), 120 * MINUTE) == 190 * MINUTE
