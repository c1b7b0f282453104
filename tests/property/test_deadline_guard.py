"""The deadline strategy is never late where on-demand can be had, and never sees the future."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ticks import ON_DEMAND, TICK, Game, Played, job, offer, sold
from treasury.domain.job import JobSpec
from treasury.domain.market import Tenure
from treasury.domain.plan import OfferView
from treasury.domain.time import HOUR, SECOND
from treasury_strategies.deadline import Deadline, DeadlineSettings

ZONES = [offer(Tenure.SPOT, zone=zone) for zone in ("a", "b")]
# Runs of ticks with and without spot, in two zones: whatever an adversary likes.
capacity = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=40).map(
    lambda runs: [state for state, length in runs for _ in range(length)]
)
spikes = st.lists(st.sampled_from((0.9, 1.0, 10.0)), min_size=1, max_size=8)


def market(states: list[int], prices: list[float], now: int) -> list[OfferView]:
    """Both zones by the bits of the state, and on-demand."""
    tick = now // TICK
    state = states[tick] if tick < len(states) else 0
    price = prices[tick // 9 % len(prices)]
    zones = [sold(zone, price, depth=state >> at & 1) for at, zone in enumerate(ZONES)]
    return [*zones, sold(ON_DEMAND, 3.0)]


def play(states: list[int], prices: list[float], spec: JobSpec, points: int = 16) -> Played:
    """One job through a market."""
    game = Game(Deadline(DeadlineSettings(points=points, refresh=6 * HOUR)), [spec])
    return game.play(lambda now: market(states, prices, now), ticks=200)


@settings(max_examples=60)
@given(
    states=capacity,
    prices=spikes,
    work=st.integers(1_800, 40_000),
    slack=st.integers(0, 30_000),
    overhead=st.sampled_from((0, 72, 180, 720, 1_500, 3_600)),
    checkpoints=st.sampled_from((0, 900, 7_200)),
)
def test_no_job_is_late_whatever_the_market_does(
    states: list[int], prices: list[float], work: int, slack: int, overhead: int, checkpoints: int
) -> None:
    """If one start on demand fits when the job is submitted, it ends by its deadline, for any
    capacity, price spikes of ten times, overheads and checkpoints; and every start that is bought
    is paid for at no more than on-demand's rate."""
    tick = TICK // SECOND
    least = -(-(work + overhead) // tick) * tick
    spec = job(
        hours=work / 3_600,
        deadline=(least + slack) / 3_600,
        overhead=overhead * SECOND,
        checkpoint_interval=checkpoints * SECOND,
    )
    played = play(states, prices, spec)
    assert spec.deadline is not None
    assert played.ended[spec.id] <= spec.deadline


@settings(max_examples=25)
@given(states=capacity, other=capacity, cut=st.integers(0, 60))
def test_no_decision_depends_on_what_comes_later(
    states: list[int], other: list[int], cut: int
) -> None:
    """Two markets that agree up to a tick get the same actions up to and including that tick."""
    one = (states + [0] * 200)[:200]
    two = one[: cut + 1] + (other + [3] * 200)[: 200 - cut - 1]
    spec = job(hours=8, deadline=14, overhead=720 * SECOND)
    first, second = play(one, [1.0], spec), play(two, [1.0], spec)
    seen = [[act for act in played.actions if act[0] <= cut * TICK] for played in (first, second)]
    assert seen[0] == seen[1]


@settings(max_examples=15)
@given(states=capacity)
def test_the_same_market_gets_the_same_decisions(states: list[int]) -> None:
    """Nothing is drawn and no order is accidental: two runs are equal action by action."""
    spec = job(hours=8, deadline=14, overhead=720 * SECOND)
    assert play(states, [1.0], spec) == play(states, [1.0], spec)
