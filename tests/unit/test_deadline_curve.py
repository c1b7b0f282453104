"""The price of work: what many pools do an hour for it."""

import pytest

from treasury_strategies.deadline_curve import Choice, curve, share_ahead

STEADY = Choice(1.0, 1e4, 2e9, 1.0)
CHEAP = Choice(0.5, 4.0, 1e9, 1.0)
FAST = Choice(0.5, 4.0, 3e9, 2.0)


def test_a_single_steady_pool_costs_what_it_costs() -> None:
    """Any work it can do is worth its rate and little more."""
    found = curve([STEADY], 0.0, 10.0)
    assert found.work[-1] == pytest.approx(1.0)
    assert 2e9 <= found.price(0.5) <= 2.1e9 and found.price(2.0) == found.prices[-1]


def test_more_time_lowers_the_price() -> None:
    """Who needs little work an hour pays the cheap pool's price, who needs much the steady one's;
    prices rise with the pace."""
    found = curve([STEADY, CHEAP], 0.1, 20.0)
    paces = [0.1, 0.3, 0.45, 0.6, 0.9]
    prices = [found.price(pace) for pace in paces]
    assert prices == sorted(prices)
    assert prices[0] < 1.2e9 and prices[-1] > 1.9e9
    assert all(a <= b for a, b in zip(found.work, found.work[1:], strict=False))


def test_another_pool_never_raises_a_price() -> None:
    """A fast pool beside the others does more work at the same price."""
    without, beside = curve([STEADY, CHEAP], 0.1, 20.0), curve([STEADY, CHEAP, FAST], 0.1, 20.0)
    for pace in (0.2, 0.5, 0.9):
        assert beside.price(pace) <= without.price(pace) * 1.01


def test_starts_make_short_runs_dear() -> None:
    """A pool whose runs are shorter is worth less where starts take long."""
    brief = CHEAP._replace(run=0.5)
    slow, quick = curve([STEADY, brief], 0.4, 20.0), curve([STEADY, brief], 0.01, 20.0)
    assert slow.price(0.3) > 1.3 * quick.price(0.3)


def test_shares_ahead_go_from_now_to_the_long_run() -> None:
    """In the next minutes a pool is as it is, in the end as it is on average."""
    assert share_ahead(True, 5.0, 0.3, 0.01) == pytest.approx(1.0, abs=0.01)
    assert share_ahead(False, 5.0, 0.3, 0.01) == pytest.approx(0.0, abs=0.01)
    assert share_ahead(True, 5.0, 0.3, 5_000.0) == pytest.approx(0.3, abs=0.01)
