"""What is drawn: thinned series keep their extremes, rows never overlap, colours tell apart."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from treasury_simulations.report.colours import pool_colours, provider_colours, strategy_colours
from treasury_simulations.report.names import base_of, clip, plain, short_offer, tenure_of
from treasury_simulations.report.thinning import lanes, thin

SERIES = st.lists(st.lists(st.integers(-1, 10**12), min_size=2, max_size=2), max_size=400)


@given(SERIES, st.integers(4, 200))
def test_thinning_keeps_ends_and_extremes(points: list[list[int]], limit: int) -> None:
    """First and last point and each series' lowest and highest survive, in order, within bounds."""
    series = [[point[0] for point in points], [point[1] for point in points]]
    keep = thin(series, limit)
    assert keep == sorted(set(keep))
    assert len(keep) <= max(limit, 6)
    if not points:
        assert keep == []
        return
    assert keep[0] == 0
    assert keep[-1] == len(points) - 1
    for values in series:
        kept = [values[i] for i in keep]
        assert (min(kept), max(kept)) == (min(values), max(values))


INTERVALS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 60)).map(lambda pair: (pair[0], sum(pair))),
    max_size=60,
).map(sorted)


@given(INTERVALS)
def test_machines_in_a_row_never_overlap(intervals: list[tuple[int, int]]) -> None:
    """Intervals of one row are apart, and there are as many rows as ever ran at once."""
    rows = lanes(intervals)
    busy: dict[int, int] = {}
    for (start, end), row in zip(intervals, rows, strict=True):
        assert busy.get(row, 0) <= start
        busy[row] = end
    at_once = max((sum(s <= start < e for s, e in intervals) for start, _ in intervals), default=0)
    assert len(set(rows)) == at_once


def test_sixty_pools_have_sixty_colours() -> None:
    """Pools are told apart up to sixty, and spot and on-demand of one kind share a colour."""
    offers = {
        f"p{i % 6}/region-{i}/box-{i}/{tenure}": f"p{i % 6}"
        for i in range(60)
        for tenure in ("spot", "on_demand")
    }
    colours = pool_colours(offers)
    assert set(colours) == set(offers)
    assert len(set(colours.values())) == 60
    assert set(Counter(colours.values()).values()) == {2}
    assert len(set(provider_colours(offers).values())) == 6
    assert all(len(colour) == 7 and colour.startswith("#") for colour in colours.values())


def test_no_pools_need_no_colours() -> None:
    """A trace without offers is no reason to fail."""
    assert pool_colours({}) == {}
    assert provider_colours({}) == {}


def test_the_baseline_is_grey_wherever_it_stands() -> None:
    """on_demand keeps its colour, and the others theirs, whatever the order of the baseline."""
    first = strategy_colours(["on_demand", "greedy", "optimal"])
    last = strategy_colours(["greedy", "optimal", "on_demand"])
    assert first == last
    assert len(set(first.values())) == 3


def test_pools_have_short_names() -> None:
    """A legend shows instance and place; the provider and the tenure stand beside it."""
    offer = "aws/us-east-1/us-east-1a/p3.2xlarge/spot"
    assert (short_offer(offer), tenure_of(offer)) == ("p3.2xlarge us-east-1a", "spot")
    assert base_of(offer) == "aws/us-east-1/us-east-1a/p3.2xlarge"
    assert short_offer("lambda/gpu_1x_h100/on_demand") == "gpu_1x_h100"
    assert short_offer("odd") == "odd"
    assert clip("abcdef", 4) == "abc…"


@given(st.lists(st.sampled_from(["$", "$$", "\\", "(", "[", "a"]), max_size=12).map("".join))
def test_no_name_is_taken_for_mathematics(text: str) -> None:
    """No TeX delimiter is left for the plotting library, and only zero-width marks are new."""
    shown = plain(text)
    assert not any(mark in shown for mark in ("$$", "\\(", "\\["))
    assert shown.replace("\u200b", "") == text
