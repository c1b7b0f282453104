"""What is remembered of one pool: how long its state has lasted and how often it changed lately.

A bank of estimators with different half-lives counts losses and returns against the time in which
they could have happened; each forgets at its own pace. Which of them to believe is decided by how
well they foretold this pool's changes, again with forgetting: a pool that settles favours long
memories, a pool whose regime shifts favours short ones.
"""

from math import exp, log
from typing import Final

import msgspec

from treasury.forecast.hazards import STEP, Regime

# Half-lives of the bank [steps]: two hours to a day and a half.
HALF_LIVES: Final = (12.0, 24.0, 48.0, 96.0, 192.0)
# Half-life [steps] of the scores by which the bank is mixed: half a day.
SCORE_HALF_LIFE: Final = 72.0
# What each estimator starts from, as (events, steps): a loss every ten, a return every five steps.
_LOSS_START: Final = (0.5, 5.0)
_BACK_START: Final = (0.5, 2.5)
# Half-life [forecasts] of the comparison of returns with their forecasts, and the returns it starts
# from as if forecast and come: chosen by log score on the first part of the recorded probes.
SURPRISE_HALF_LIFE: Final = 24.0
_SURPRISE_START: Final = 1.5
# A count is due once this share of a step has passed: grids that do not divide a step still count.
_DUE: Final = 0.95


class Rates(msgspec.Struct):
    """Events against exposure [steps] for each half-life, and the log-scores of their forecasts."""

    events: list[float]
    exposure: list[float]
    scores: list[float]

    def mixed(self, start: tuple[float, float]) -> float:
        """The posterior-weighted mean of the logarithms of the rates."""
        top = max(self.scores)
        total = weighted = 0.0
        for events, exposure, score in zip(self.events, self.exposure, self.scores, strict=True):
            weight = exp(score - top)
            total += weight
            weighted += weight * log((events + start[0]) / (exposure + start[1]))
        return weighted / total

    def see(self, happened: bool, steps: float, start: tuple[float, float]) -> None:
        """Count `steps` of exposure that ended with the event or without it."""
        keep = 0.5 ** (steps / SCORE_HALF_LIFE)
        for at, (events, exposure) in enumerate(zip(self.events, self.exposure, strict=True)):
            rate = min((events + start[0]) / (exposure + start[1]), 0.999)
            calm = steps * log(1.0 - rate)
            self.scores[at] = self.scores[at] * keep + (log(rate) if happened else calm)

    def add(self, happened: bool, steps: float) -> None:
        """Take the event and its exposure into every member of the bank."""
        for at in range(len(HALF_LIVES)):
            self.exposure[at] += steps
            if happened:
                self.events[at] += 1.0

    def fade(self, steps: float) -> None:
        """Forget as time passes, whichever state the pool is in."""
        for at, half_life in enumerate(HALF_LIVES):
            keep = 0.5 ** (steps / half_life)
            self.events[at] *= keep
            self.exposure[at] *= keep


def _no_rates() -> Rates:
    zeros = [0.0] * len(HALF_LIVES)
    return Rates(list(zeros), list(zeros), list(zeros))


class Surprise(msgspec.Struct):
    """Returns as they came against returns as they were forecast, with forgetting.

    The prior was learned elsewhere; a pool may come back far oftener than any pool it was learned
    from. Losses have no such term: what it gained on some recorded series it lost on others.
    """

    came: float = 0.0
    said: float = 0.0

    def judge(self, forecast: float, came: bool) -> None:
        """Take in one forecast [probability] and what became of it."""
        keep = 0.5 ** (1.0 / SURPRISE_HALF_LIFE)
        self.came = self.came * keep + float(came)
        self.said = self.said * keep + forecast

    def log_odds(self) -> float:
        """By how much to raise the odds of the next forecast."""
        return log((self.came + _SURPRISE_START) / (self.said + _SURPRISE_START))


class PoolMemory(msgspec.Struct):
    """One pool's history, condensed. Instants in ns.

    available: whether capacity could be had when the pool was last seen. since: when that was first
    seen after it had been otherwise. counted: what was last counted, and when.
    """

    available: bool
    since: int
    counted: bool
    counted_at: int
    losses: Rates = msgspec.field(default_factory=_no_rates)
    returns: Rates = msgspec.field(default_factory=_no_rates)
    surprise: Surprise = msgspec.field(default_factory=Surprise)

    def due(self, now: int) -> bool:
        """Whether an observation at `now` would be counted."""
        return (now - self.counted_at) / STEP >= _DUE

    def see(self, now: int, available: bool) -> None:
        """Take in one observation. Instants never go back; one that does is ignored."""
        if now < self.counted_at:
            return
        if available != self.available:
            self.available, self.since = available, now
        if not self.due(now):
            return
        steps = (now - self.counted_at) / STEP
        rates, start = (self.losses, _LOSS_START) if self.counted else (self.returns, _BACK_START)
        changed = available != self.counted
        rates.see(changed, steps, start)
        self.losses.fade(steps)
        self.returns.fade(steps)
        rates.add(changed, steps)
        self.counted, self.counted_at = available, now

    def interrupted(self) -> None:
        """The market took a machine though capacity is still on offer: a loss without a gap."""
        self.losses.add(True, 0.0)

    def age(self, now: int) -> float:
        """Steps, the present one included, for which the pool has been in its state."""
        return 1.0 + (now - self.since) / STEP

    def regime(self) -> Regime:
        """What the pool has lately been like."""
        return Regime(
            self.losses.mixed(_LOSS_START),
            self.returns.mixed(_BACK_START),
            self.surprise.log_odds(),
        )


def first_sight(now: int, available: bool) -> PoolMemory:
    """The memory of a pool that is seen for the first time."""
    return PoolMemory(available, now, available, now)
