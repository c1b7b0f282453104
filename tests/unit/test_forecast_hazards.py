"""Hazards: shape, clipping and the arithmetic of ages."""

import pytest

from treasury.forecast.hazards import AGES, Regime, age_class, curves, occupancy
from treasury.forecast.prior import POOLED

CALM = Regime(-4.5, -1.0)
WILD = Regime(-1.2, -1.0)


def test_hazards_are_probabilities_in_any_regime() -> None:
    """However far a regime lies outside what was learned, hazards stay strictly inside (0, 1)."""
    for loss in (-50.0, -3.0, 50.0):
        for back in (-50.0, -3.0, 50.0):
            known = curves(POOLED, Regime(loss, back), gone_for=1e6)
            assert all(0.0 < hazard < 1.0 for hazard in (*known.loss, *known.back))


def test_what_was_lost_often_is_lost_sooner() -> None:
    """At every age a pool that has been losing often is likelier to lose than a calm one."""
    calm, wild = curves(POOLED, CALM), curves(POOLED, WILD)
    assert all(a < b for a, b in zip(calm.loss, wild.loss, strict=True))


def test_old_states_are_stickier_than_young_ones() -> None:
    """The shipped prior has what makes the model semi-Markov: both hazards fall with age."""
    known = curves(POOLED, POOLED.mean)
    assert known.loss[0] > 2 * known.loss[-1]
    assert known.back[0] > 2 * known.back[-1]


def test_a_pool_gone_for_long_is_not_taken_for_a_young_one() -> None:
    """With `gone_for`, young classes have the hazard of the age already reached."""
    plain, late = curves(POOLED, POOLED.mean), curves(POOLED, POOLED.mean, gone_for=60.0)
    assert late.back[0] < plain.back[0] and late.back[-1] == plain.back[-1]


@pytest.mark.parametrize(("age", "expected"), [(0.2, 0), (1, 0), (2.9, 1), (6, 4), (5_000, 8)])
def test_ages_fall_into_their_class(age: float, expected: int) -> None:
    """A class holds the ages from its first member to the next class's."""
    assert age_class(age) == expected


def test_occupancy_sums_to_the_mean_length_of_a_run() -> None:
    """With a constant hazard the expected run is its inverse, however the ages are classed."""
    assert sum(occupancy([0.05] * len(AGES))) == pytest.approx(20.0)
