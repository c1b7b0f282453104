"""Learning the prior from recorded availability, by penalised logistic regression."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from treasury.domain.errors import BadValue
from treasury.forecast.hazards import STEP, Prior, Regime, terms
from treasury.forecast.regime import first_sight

# Ridge penalty on every coefficient but the first: a few observations' worth of doubt.
_RIDGE: Final = 1.0
_ITERATIONS: Final = 50
# Regimes outside these shares of the learning data are not extrapolated to.
_COVERED: Final = (0.02, 0.98)


def learn_prior(series: Iterable[Sequence[int]]) -> Prior:
    """The pooled prior of availability series (1 could be had, 0 could not), one value a `STEP`.

    Every step of every series is one observation: did the state end, given its age and the regime
    as it was known then? Raises BadValue when the series show no loss or no return to learn from.
    """
    import numpy as np

    rows: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    ended: dict[bool, list[float]] = {True: [], False: []}
    regimes: list[tuple[float, float]] = []
    for values in series:
        memory = None
        known: tuple[float, ...] = ()
        for at, value in enumerate(values):
            now, available = at * STEP, bool(value)
            if memory is None:
                memory = first_sight(now, available)
            else:
                before = memory.available
                # What was known one step ago is what the forecast would have been made from.
                rows[before].append(known)
                ended[before].append(float(available != before))
                memory.see(now, available)
            regime = memory.regime()
            regimes.append((regime.loss, regime.back))
            known = terms(memory.age(now), regime)
    if not any(ended[True]) or not any(ended[False]):
        raise BadValue("availability", "no change in any series", "series with losses and returns")
    covered = np.array(regimes)
    low, high = np.quantile(covered, _COVERED, axis=0)
    mean = covered.mean(axis=0)
    return Prior(
        loss=_regress(np.array(rows[True]), np.array(ended[True])),
        back=_regress(np.array(rows[False]), np.array(ended[False])),
        mean=Regime(float(mean[0]), float(mean[1])),
        low=Regime(float(low[0]), float(low[1])),
        high=Regime(float(high[0]), float(high[1])),
    )


def _regress(x: Any, y: Any) -> tuple[float, ...]:
    """Coefficients by Newton's method."""
    import numpy as np

    weights = np.zeros(x.shape[1])
    penalty = np.eye(x.shape[1]) * _RIDGE
    penalty[0, 0] = _RIDGE / 1_000
    for _ in range(_ITERATIONS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -12.0, 12.0)))
        gradient = x.T @ (y - p) - penalty @ weights
        curvature = (x.T * (p * (1.0 - p) + 1e-9)) @ x + penalty
        change = np.linalg.solve(curvature, gradient)
        weights += change
        if float(np.abs(change).max()) < 1e-7:
            break
    return tuple(round(float(weight), 6) for weight in weights)
