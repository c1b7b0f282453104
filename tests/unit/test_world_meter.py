"""The world's meter, the split of a bill, and the best open price, against plain reckonings."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hand import Hand, plain
from tests.support.worlds import MemoryTrace, Row, job, pool
from treasury.domain.job import Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import NANO, RATE_NS_PER_MICRO
from treasury.domain.time import HOUR, MINUTE
from treasury_simulations.meter import bill, billed_span, integral
from treasury_simulations.split import split

A, B = pool("a"), pool("b")
STEPS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10**12)), max_size=6)


def rates_of(first: int, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(since, rate) from (after so many ns, rate)."""
    at, rates = 100, [(100, first)]
    for gap, rate in steps:
        at += gap
        rates.append((at, rate))
    return rates


@given(st.integers(0, 10**12), STEPS, st.integers(100, 300), st.integers(0, 200))
def test_the_integral_is_the_sum_over_every_nanosecond(
    first: int, steps: list[tuple[int, int]], start: int, span: int
) -> None:
    """Whatever the rates and the bounds, the integral is what counting ns by ns gives."""
    rates = rates_of(first, steps)
    plainly = sum(
        next(rate for since, rate in reversed(rates) if since <= ns)
        for ns in range(start, start + span)
    )
    assert integral(rates, start, start + span) == plainly


@pytest.mark.parametrize(
    ("step", "minimum", "held", "billed"),
    [
        (1, 0, 7, 7),
        (10, 0, 1, 10),
        (10, 0, 10, 10),
        (10, 0, 0, 0),
        (10, 25, 1, 30),
        (10, 25, 31, 40),
        (0, 0, 5, 5),
    ],
)
def test_time_is_billed_in_whole_steps_from_a_minimum(
    step: int, minimum: int, held: int, billed: int
) -> None:
    """The minimum first, then the step; a step of 0 rounds nothing."""
    capabilities = Capabilities(billing_step_ns=step, billing_minimum_ns=minimum)
    assert billed_span(capabilities, held) == billed


def test_the_time_beyond_the_end_costs_the_rate_then_in_force() -> None:
    """Half an hour at 1 and a quarter at 3 USD/h, billed as a whole hour: the rest costs 3."""
    rates = [(0, NANO), (HOUR // 2, 3 * NANO)]
    capabilities = Capabilities(billing_step_ns=HOUR, billing_minimum_ns=0)
    assert bill(rates, capabilities, 0, 3 * HOUR // 4) == 2_000_000


def test_a_bill_is_rounded_up_once() -> None:
    """One ns at the smallest rate costs a micro-USD, and so do a thousand of them."""
    assert bill([(0, 1)], plain(), 0, 1) == bill([(0, 1)], plain(), 0, 1_000) == 1


def test_floating_machines_pay_the_present_price_and_others_the_one_at_their_grant() -> None:
    """The same price path: 1 USD/h, then 3: two hours cost 4 or 2 USD."""
    costs = []
    for floating in (True, False):
        hand = Hand(
            MemoryTrace((A,), ((0, 0, NANO, 4), (HOUR, 0, 3 * NANO, 4))),
            capabilities=plain(floating=floating),
        )
        hand.to(0)
        _, (lease,), _ = hand.acquire(A)
        hand.to(2 * HOUR)
        hand.release(lease)
        costs.append(hand.bills()[lease])
    assert costs == [4_000_000, 2_000_000]


def test_a_bill_is_split_by_what_the_time_was_for() -> None:
    """Boot is idle, then come overhead, useful work, and what was done since the checkpoint."""
    spec = job(work=9 * HOUR, start_overhead=10 * MINUTE, checkpoint_interval=HOUR)
    capabilities = plain(boot_ns=20 * MINUTE, billing_step_ns=HOUR)
    trace = MemoryTrace((A,), ((0, 0, NANO, 1), (3 * HOUR, 0, NANO, 0)))
    hand = Hand(trace, spec, capabilities=capabilities)
    hand.to(0)
    placement, leases, _ = hand.acquire(A)
    hand.to(20 * MINUTE)
    hand.start(placement, leases)
    hand.to(3 * HOUR - MINUTE)
    hand.end()
    (machine,) = hand.world.finished
    parts = split(machine, 3 * HOUR)
    assert parts.billed == 3_000_000
    assert parts.time == (2 * HOUR, 10 * MINUTE, 30 * MINUTE, 20 * MINUTE)
    assert parts.money == (2_000_000, 166_666, 500_000, 333_334)
    assert sum(parts.money) == parts.billed


@given(
    st.lists(st.tuples(st.integers(1, 10**13), st.integers(1, 10**10)), max_size=5),
    st.lists(st.integers(0, 5 * 10**13), min_size=1, max_size=6),
    st.sampled_from([1, 7, MINUTE, HOUR]),
    st.booleans(),
)
def test_the_parts_always_sum_to_the_bill(
    prices: list[tuple[int, int]], stops: list[int], step: int, floating: bool
) -> None:
    """Any prices, any number of starts and stops: durations fill the time, money fills the bill."""
    at, rows = 0, [(0, 0, NANO, 1)]
    for gap, rate in prices:
        at += gap
        rows.append((at, 0, rate, 1))
    spec = job(work=10**15, start_overhead=MINUTE, checkpoint_interval=HOUR)
    hand = Hand(
        MemoryTrace((A,), rows),
        spec,
        capabilities=plain(floating=floating, billing_step_ns=step),
    )
    hand.to(0)
    placement, (lease,), _ = hand.acquire(A)
    for number, stop in enumerate(sorted(stops)):
        hand.to(stop)
        if number % 2:
            hand.stop(placement)
        elif placement in hand.world.gangs:
            hand.start(placement, (lease,), done=hand.world.saved.get("j", 0))
    hand.release(lease)
    (machine,) = hand.world.finished
    ended_at = machine.ended_at or 0
    parts = split(machine, ended_at)
    assert sum(parts.time) == ended_at and sum(parts.money) == parts.billed
    assert parts.billed == hand.bills()[lease]
    assert min(parts.time) >= 0 and min(parts.money) >= 0
    assert 0 <= parts.premium <= parts.money[0]


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 60), st.integers(0, 2), st.integers(1, 40), st.sampled_from([0, 1, 3])
    ),
    max_size=12,
)


@given(CHANGES, st.booleans())
def test_the_premium_is_what_was_paid_above_the_best_open_price(
    changes: list[tuple[int, int, int, int]], floating: bool
) -> None:
    """Minute by minute: the rate paid less the least rate for the same work where there is room."""
    speeds = {"V100": 1_000, "A100-40GB": 2_000}
    pools = (pool("a", Tenure.ON_DEMAND), pool("b"), pool("c", gpu="A100-40GB"))
    rows: list[Row] = [(0, index, 20 * NANO, 3) for index in range(3)]
    rows += sorted((at * MINUTE, i, rate * NANO, depth) for at, i, rate, depth in changes)
    hand = Hand(
        MemoryTrace(pools, sorted(rows, key=lambda row: row[0])),
        job(work=HOUR, requirement=Requirement(speeds)),
        capabilities=plain(floating=floating),
    )
    hand.to(0)
    _, leases, told = hand.acquire(pools[0])
    if len(told) != 2:
        return
    hand.start(1, leases)
    hand.end()
    hand.release(leases[0])
    (machine,) = hand.world.finished
    paid = above = Fraction(0)
    state = {index: (Fraction(0), 0) for index in range(3)}
    for minute in range(60):
        for at, index, rate, depth in rows:
            if at <= minute * MINUTE:
                state[index] = (Fraction(rate), depth)
        own = Fraction(integral(machine.rates, minute * MINUTE, minute * MINUTE + 1))
        rooms = {index: depth for index, (_, depth) in state.items()}
        rooms[0] -= 1
        open_rates = [
            rate * 1_000 / speeds[pools[index].gpu]
            for index, (rate, _) in state.items()
            if rooms[index] >= 1
        ]
        paid += own * MINUTE
        if open_rates:
            above += max(Fraction(0), own - min(open_rates)) * MINUTE
    assert split(machine, HOUR).premium == int(above / RATE_NS_PER_MICRO)
    assert split(machine, HOUR).billed >= int(paid / RATE_NS_PER_MICRO)


def test_the_best_price_is_remembered_for_as_long_as_somebody_needs_it() -> None:
    """Three thousand changes while long jobs overlap like links of a chain: what each paid above
    the best price is the sum over its own minutes, though the oldest are forgotten meanwhile."""
    links, length, overlap = 5, 700, 100
    pools = (pool("a", Tenure.ON_DEMAND), B)
    rows: list[Row] = [(0, 0, 10 * NANO, 9)]
    rows += [(at * MINUTE, 1, (1 + at % 7) * NANO, 9) for at in range(links * length)]
    jobs = [job(f"j{number}", work=length * MINUTE) for number in range(links)]
    hand = Hand(MemoryTrace(pools, rows), *jobs)
    starts = []
    for spec in jobs:
        hand.to(len(starts) * (length - overlap) * MINUTE)
        starts.append(hand.now // MINUTE)
        placement, leases, _ = hand.acquire(pools[0])
        hand.start(placement, leases, spec.id)
    hand.end()
    for lease in range(1, links + 1):
        hand.release(lease)
    for machine, start in zip(hand.world.finished, starts, strict=True):
        above = sum((9 - at % 7) * NANO * MINUTE for at in range(start, start + length))
        assert split(machine, hand.now).premium == above // RATE_NS_PER_MICRO
