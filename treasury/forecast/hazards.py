"""Age-dependent hazards of losing and of regaining capacity: the semi-Markov model's curves.

Both hazards are logistic in the age of the present state and in two numbers that say what a pool
has lately been like: the logarithms of its rates of loss and of return (`regime`). Why logistic:
its few coefficients can be learned from some days of a handful of pools, and the result is a
probability whatever is put in.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from typing import Final

import msgspec

from treasury.domain.time import SECOND

# The model's unit of time: one interval of the public availability probes it was first fitted to.
STEP: Final = 600 * SECOND
# Classes of age [steps], by their first member: fine where hazards fall steeply, coarse later.
AGES: Final = (1, 2, 3, 4, 6, 10, 18, 36, 80)
# Steps in each class but the last, which has no end.
WIDTHS: Final = tuple(b - a for a, b in pairwise(AGES))
# An age inside each class at which its hazard is taken: the geometric middle.
MIDDLES: Final = (
    *((a * (b - 1)) ** 0.5 for a, b in pairwise(AGES)),
    AGES[-1] * 1.4,
)
# Older states are treated alike: beyond a day the data say nothing more.
_AGE_CAP: Final = 150.0
# Odds are kept within e^7: no data of days can support more.
_LOGIT_CAP: Final = 7.0


class Regime(msgspec.Struct, frozen=True, gc=False):
    """What a pool has lately been like.

    loss, back: natural logarithms of its rates of loss while it was there and of return while it
    was not, per step. surprise: log-odds by which returns have come oftener than was forecast.
    """

    loss: float
    back: float
    surprise: float = 0.0


class Prior(msgspec.Struct, frozen=True):
    """Coefficients of both hazards, learned from pools (see `learn.learn_prior`).

    loss, back: one coefficient for each of `terms`, for the probability a step of *losing* and of
    *regaining* capacity. mean: the regime of a pool nothing is known of, to which forecasts return.
    low, high: regimes are clipped to what the learning data covered.
    """

    loss: tuple[float, ...]
    back: tuple[float, ...]
    mean: Regime
    low: Regime
    high: Regime

    def clip(self, regime: Regime) -> Regime:
        """A regime within what the learning data covered."""
        return Regime(
            min(max(regime.loss, self.low.loss), self.high.loss),
            min(max(regime.back, self.low.back), self.high.back),
            regime.surprise,
        )

    def loss_hazard(self, age: float, regime: Regime) -> float:
        """Probability a step that capacity which has been there for `age` steps is lost."""
        return _logistic(self.loss, age, regime, 0.0)

    def back_hazard(self, age: float, regime: Regime) -> float:
        """Probability a step that capacity which has been gone for `age` steps is back."""
        return _logistic(self.back, age, regime, regime.surprise)


class Curves(msgspec.Struct, frozen=True):
    """A pool's hazards per step, one for each class of `AGES`."""

    loss: tuple[float, ...]
    back: tuple[float, ...]


def terms(age: float, regime: Regime) -> tuple[float, ...]:
    """The regressors: level, age on two scales, regime, and how the regime shapes the age's
    part."""
    age = min(age, _AGE_CAP)
    logged = log(age)
    loss, back = regime.loss, regime.back
    return (1.0, logged, 1.0 / age, loss, back, back / age, loss * logged, back * logged)


def curves(prior: Prior, regime: Regime, gone_for: float = 0.0) -> Curves:
    """Hazards by class of age. gone_for: steps for which the pool has been without capacity, where
    it is: what comes back late will not come back with a young pool's hazard."""
    regime = prior.clip(regime)
    return Curves(
        tuple([prior.loss_hazard(age, regime) for age in MIDDLES]),
        tuple([prior.back_hazard(max(age, gone_for), regime) for age in MIDDLES]),
    )


def age_class(age: float) -> int:
    """Index into `AGES` of an age [steps]; ages below one step belong to the first class."""
    at = len(AGES) - 1
    while at and age < AGES[at]:
        at -= 1
    return at


def occupancy(hazards: Sequence[float]) -> tuple[float, ...]:
    """Expected steps that a run spends in each class of age, for its hazards of ending."""
    steps, inflow = [], 1.0
    for at, hazard in enumerate(hazards):
        onward = (1.0 - hazard) / WIDTHS[at] if at < len(WIDTHS) else 0.0
        steps.append(inflow / max(hazard + onward, 1e-4))
        inflow = steps[-1] * onward
    return tuple(steps)


def remaining(hazards: Sequence[float]) -> tuple[float, ...]:
    """Expected steps until a state ends, by the class of its age, for its hazards of ending."""
    left = [1.0 / hazards[-1]]
    for hazard, width in zip(reversed(hazards[:-1]), reversed(WIDTHS), strict=True):
        lasts, onward = 1.0 - hazard, 1.0 / width
        left.append((1.0 + lasts * onward * left[-1]) / (1.0 - lasts * (1.0 - onward)))
    return tuple(reversed(left))


def _logistic(coefficients: Sequence[float], age: float, regime: Regime, shift: float) -> float:
    total = shift
    for coefficient, term in zip(coefficients, terms(age, regime), strict=True):
        total += coefficient * term
    total = min(max(total, -_LOGIT_CAP), _LOGIT_CAP)
    return 1.0 / (1.0 + exp(-total))
