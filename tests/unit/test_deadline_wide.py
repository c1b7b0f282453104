"""The deadline strategy where a job may choose among more pools than a chain can hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ticks import (
    ON_DEMAND,
    TICK,
    Game,
    Played,
    job,
    offer,
    queued,
    running,
    snapshot,
    sold,
)
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView, Place, Preempt
from treasury.domain.time import HOUR, MINUTE
from treasury_strategies.deadline import Deadline

ZONES = [offer(Tenure.SPOT, zone=f"z{at:02}") for at in range(12)]
SLOW = offer(Tenure.ON_DEMAND, gpu="T4")
BOTH = Requirement({"V100": 1_000, "T4": 250})
LONG = job(hours=20, deadline=60, overhead=6 * MINUTE, requirement=BOTH)


def market(depths: list[int], prices: list[float] | None = None) -> list[OfferView]:
    """Twelve pools, on-demand for three dollars, and a slow one that is cheaper for its work."""
    prices = prices or [1.0 + 0.1 * at for at in range(12)]
    spot = [
        sold(zone, price, depth=depth)
        for zone, price, depth in zip(ZONES, prices, depths, strict=True)
    ]
    return [*spot, sold(ON_DEMAND, 3.0), sold(SLOW, 0.6)]


def seen(strategy: Deadline, depths: list[int], ticks: int = 200) -> int:
    """Show a strategy a steady market; returns the instant after it [ns]."""
    for tick in range(ticks):
        view = queued(LONG)
        strategy.propose(snapshot([view], market(depths), now=tick * TICK))
    return ticks * TICK


def test_the_cheapest_pool_is_taken_whatever_the_slow_fallback_says() -> None:
    """Spot is taken at its cheapest, with a bid above its rate and below on-demand's."""
    strategy = Deadline()
    now = seen(strategy, [1] * 12)
    view = queued(job(hours=20, deadline=60, requirement=BOTH, submitted_at=now), queued_at=now)
    (action,) = strategy.propose(snapshot([view], market([1] * 12), now=now)).actions
    assert isinstance(action, Place) and action.offer == ZONES[0].id
    assert 1_000_000_000 < action.bid <= 3_000_000_000


def test_a_job_with_time_waits_for_its_price_and_one_without_does_not() -> None:
    """When only a dear pool is there, and cheap ones mostly were, a job with days to spare waits
    for them; one that has just time enough takes it."""
    strategy = Deadline()
    usual, poor = [2] * 12, [0] * 11 + [2]
    now = seen(strategy, usual)
    prices = [1.0] * 11 + [2.9]
    patient = job("a", hours=2, deadline=40, overhead=6 * MINUTE, submitted_at=now)
    pressed = job("b", hours=9, deadline=9.5, overhead=6 * MINUTE, submitted_at=now)
    views = [queued(spec, queued_at=now) for spec in (patient, pressed)]
    plan = strategy.propose(snapshot(views, market(poor, prices), now=now))
    assert [action.job for action in plan.actions] == [pressed.id]
    assert plan.left_out[0].job == patient.id and plan.review_at is not None


def test_a_job_moves_where_the_rest_pays_for_the_start() -> None:
    """From a dear pool to one at half its price while hours are left, not in the last minutes."""
    strategy = Deadline()
    now = seen(strategy, [2] * 12)
    views = market([2] * 12)
    late = running(LONG, ZONES[11], useful_from=now - HOUR, bid=3_000_000_000)
    stop, place = strategy.propose(snapshot([late], views, now=now)).actions
    assert isinstance(stop, Preempt) and isinstance(place, Place) and place.offer == ZONES[0].id
    ending = running(LONG, ZONES[11], useful_from=now - HOUR, work_done=19 * HOUR - 10 * MINUTE)
    assert strategy.propose(snapshot([ending], views, now=now)).actions == ()


def test_gangs_do_not_count_on_pools_that_never_had_room_for_them() -> None:
    """The one pool deep enough is taken at its price, since the cheaper ones are none."""
    strategy = Deadline()
    gang = job(hours=20, deadline=60, overhead=6 * MINUTE, requirement=Requirement(
        {"V100": 1_000}, nodes=4
    ))  # fmt: skip
    depths = [2] * 11 + [6]
    for tick in range(100):
        strategy.propose(snapshot([queued(gang)], market(depths), now=tick * TICK))
    plan = strategy.propose(snapshot([queued(gang)], market(depths), now=100 * TICK))
    (action,) = plan.actions
    assert isinstance(action, Place) and action.offer == ZONES[11].id


# For each of some runs of ticks: which pools are there (bits), and how long.
weather = st.lists(st.tuples(st.integers(0, 4_095), st.integers(1, 12)), min_size=1, max_size=30)


def play(runs: list[tuple[int, int]], specs: list[JobSpec], spikes: list[float]) -> Played:
    """Jobs through a market that an adversary draws."""
    states = [bits for bits, length in runs for _ in range(length)]

    def at(now: int) -> list[OfferView]:
        tick = now // TICK
        bits = states[tick] if tick < len(states) else 0
        prices = [(1.0 + 0.1 * zone) * spikes[tick // 7 % len(spikes)] for zone in range(12)]
        return market([(bits >> zone & 1) * 2 for zone in range(12)], prices)

    return Game(Deadline(), specs).play(at, ticks=260)


@settings(max_examples=15)
@given(
    runs=weather,
    spikes=st.lists(st.sampled_from((0.9, 1.0, 10.0)), min_size=1, max_size=6),
    hours=st.floats(0.2, 12.0),
    slack=st.floats(1.02, 2.5),
    overhead=st.sampled_from((0, 6, 12, 30)),
    checkpoint=st.sampled_from((0, 30)),
)
def test_no_job_is_late_whatever_the_pools_do(
    runs: list[tuple[int, int]],
    spikes: list[float],
    hours: float,
    slack: float,
    overhead: int,
    checkpoint: int,
) -> None:
    """Any capacity, price spikes of ten times, restarts and checkpoints: jobs that could be in time
    when they came are, alone and beside others."""
    specs = [
        job(
            name,
            hours=part * hours,
            deadline=part * hours * slack + overhead / 60 + 0.4,
            overhead=overhead * MINUTE,
            checkpoint_interval=checkpoint * MINUTE,
            requirement=BOTH,
        )
        for name, part in (("a", 1.0), ("b", 0.6), ("c", 0.3))
    ]
    played = play(runs, specs, spikes)
    assert all(played.ended[spec.id] <= spec.deadline for spec in specs if spec.deadline)


@settings(max_examples=8)
@given(runs=weather, other=weather, cut=st.integers(0, 60))
def test_no_decision_depends_on_what_comes_later(
    runs: list[tuple[int, int]], other: list[tuple[int, int]], cut: int
) -> None:
    """Two markets that agree up to a tick get the same actions up to and including that tick."""
    one = [bits for bits, length in runs for _ in range(length)]
    one = (one + [0] * 200)[:200]
    two = one[: cut + 1] + [bits for bits, length in other for _ in range(length)] + [4_095] * 200
    first, second = (
        play([(bits, 1) for bits in states], [LONG], [1.0]) for states in (one, two[:200])
    )
    known = [[act for act in played.actions if act[0] <= cut * TICK] for played in (first, second)]
    assert known[0] == known[1]
