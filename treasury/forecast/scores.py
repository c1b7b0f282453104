"""Whether forecasts can be trusted: proper scores and a reliability table."""

from collections.abc import Sequence
from math import log
from typing import Final

import msgspec

# Forecasts are kept this far from certainty, so that one surprise does not cost infinitely much.
_CLIP: Final = 1e-9


class Bin(msgspec.Struct, frozen=True):
    """Forecasts of one class: how many, what they said on average, how often it came about."""

    count: int
    forecast: float
    observed: float


class Calibration(msgspec.Struct, frozen=True):
    """Scores of probabilities against outcomes, lower is better.

    log_score: mean negative log-likelihood [nats]. brier: mean squared error. base_log_score: what
    always saying the outcomes' own frequency would have scored. reliability: by class of forecast;
    calibrated where both agree.
    """

    count: int
    log_score: float
    base_log_score: float
    brier: float
    reliability: tuple[Bin, ...]


def calibrate(forecasts: Sequence[float], outcomes: Sequence[bool], bins: int = 10) -> Calibration:
    """Score forecasts [probability] against what happened, in `bins` classes of equal count.

    Raises ValueError for sequences that are empty or of different length.
    """
    if not forecasts or len(forecasts) != len(outcomes):
        raise ValueError("as many outcomes as forecasts are needed, and at least one")
    pairs = sorted(zip(forecasts, outcomes, strict=True))
    count = len(pairs)
    happened = sum(1 for _, outcome in pairs if outcome)
    classes = []
    for at in range(bins):
        part = pairs[at * count // bins : (at + 1) * count // bins]
        if part:
            said = sum(forecast for forecast, _ in part) / len(part)
            seen = sum(1 for _, outcome in part if outcome) / len(part)
            classes.append(Bin(len(part), said, seen))
    return Calibration(
        count,
        sum(_surprise(forecast, outcome) for forecast, outcome in pairs) / count,
        sum(_surprise(happened / count, outcome) for _, outcome in pairs) / count,
        sum((forecast - float(outcome)) ** 2 for forecast, outcome in pairs) / count,
        tuple(classes),
    )


def _surprise(forecast: float, outcome: bool) -> float:
    chance = forecast if outcome else 1.0 - forecast
    return -log(max(chance, _CLIP))
