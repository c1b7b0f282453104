"""The clairvoyant bound: equal to trying everything, and above nothing that can be done."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.domain.errors import BadValue
from treasury.domain.money import charge
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.clairvoyant import Bound, clairvoyant_cost

TICK = 10 * MINUTE
NANO = 1_000_000_000


def bound(availability: list[int], **other: int | list[int]) -> Bound:
    """The bound with the usual prices; what is not said is as in the benchmark."""
    given_: dict[str, int | list[int]] = {
        "tick_ns": TICK,
        "work_ns": 4 * TICK,
        "deadline_ns": 6 * TICK,
        "overhead_ns": 0,
        "spot_rate": NANO,
        "on_demand_rate": 3 * NANO,
    }
    return clairvoyant_cost(availability, **(given_ | other))  # type: ignore[arg-type]


def replayed(
    schedule: str,
    availability: list[int],
    *,
    work: int,
    overhead: int,
    spot: list[int],
    on_demand: int,
) -> int | None:
    """What a schedule costs [nano-USD/h x ticks] if all work is done at its end and not before;
    None if it cannot be followed."""
    done = burn = cost = 0
    before = "-"
    for tick, mode in enumerate(schedule):
        if mode == "s" and not availability[tick]:
            return None
        if mode not in ("-", before):
            burn = overhead
        if mode != "-":
            burnt = min(burn, TICK)
            burn -= burnt
            done += TICK - burnt
            cost += spot[tick] if mode == "s" else on_demand
        before = mode
        if done >= work:
            return cost if tick == len(schedule) - 1 else None
    return None


@pytest.mark.slow
@given(
    availability=st.lists(st.integers(0, 1), min_size=7, max_size=7),
    spot=st.lists(st.integers(1, 4), min_size=7, max_size=7),
    work=st.integers(1, 5 * 600),
    overhead=st.sampled_from([0, 72, 200, 600, 720, 1_500]),
)
def test_it_equals_trying_everything(
    availability: list[int], spot: list[int], work: int, overhead: int
) -> None:
    """On seven ticks the cost is the least of all schedules, and the schedule given has it."""
    if 7 * 600 - work < overhead:
        return
    rates = [price * NANO for price in spot]
    how = {
        "work": work * SECOND,
        "overhead": overhead * SECOND,
        "spot": rates,
        "on_demand": 3 * NANO,
    }
    every = (
        replayed("".join(modes), availability, **how)  # type: ignore[arg-type]
        for length in range(1, 8)
        for modes in product("-sd", repeat=length)
    )
    least = min(cost for cost in every if cost is not None)
    found = bound(
        availability,
        work_ns=work * SECOND,
        deadline_ns=7 * TICK,
        overhead_ns=overhead * SECOND,
        spot_rate=rates,
    )
    assert found.cost_micros == charge(least, TICK)
    assert replayed(found.schedule, availability, **how) == least  # type: ignore[arg-type]


def test_it_pays_for_spot_alone_where_that_is_enough() -> None:
    """Two idle ticks are free; four on spot cost two thirds of a dollar."""
    found = bound([0, 1, 1, 1, 1, 0])
    assert found == Bound(666_667, "-ssss")


def test_a_start_may_cost_more_than_it_saves() -> None:
    """One tick of spot in between is not worth two starts of nine minutes."""
    assert bound([0, 0, 1, 0, 0, 0], overhead_ns=9 * MINUTE).schedule == "ddddd"
    assert "s" in bound([0, 0, 1, 0, 0, 0], overhead_ns=0).schedule


def test_what_the_series_does_not_say_counts_as_none() -> None:
    """Beyond the end of the series there is no spot."""
    assert bound([1]).schedule == "sddd"
    assert bound([]).cost_micros == 2_000_000


def test_spot_may_have_a_price_for_each_tick() -> None:
    """The dear tick in the middle is waited out."""
    found = bound([1] * 6, spot_rate=[NANO, NANO, 9 * NANO, 2 * NANO, NANO, NANO])
    assert found == Bound(charge(4 * NANO, TICK), "ss--ss")


@pytest.mark.parametrize(
    "other",
    [{"deadline_ns": 3 * TICK}, {"overhead_ns": 2 * TICK + 1}, {"work_ns": 0}],
)
def test_what_cannot_be_done_is_refused(other: dict[str, int]) -> None:
    """Too little time even for on-demand, or no work: an error that says how much is needed."""
    with pytest.raises(BadValue, match=r"deadline .* expected at least"):
        bound([1] * 6, **other)


def test_durations_without_a_common_grid_are_refused() -> None:
    """A restart overhead of 7 minutes and 1 ns would need a table of billions of columns."""
    with pytest.raises(BadValue, match="largest common divisor with the tick"):
        bound([1] * 400, work_ns=48 * HOUR, deadline_ns=60 * HOUR, overhead_ns=7 * MINUTE + 1)
