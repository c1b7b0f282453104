"""Which table answers for which job, and for how long.

A job that is alone with its deadline has a table of its own, renewed as time passes. In a fleet,
jobs of one kind (the same pools and speeds, the same start, the same price on demand) read one
table for all times left of about its size: amounts are per machine, so that the gang's size does
not matter. A shared table is solved again only when what it was solved for has moved.
"""

from typing import NamedTuple

from treasury.domain.ids import JobId, OfferId
from treasury.forecast.forecaster import Forecaster
from treasury_strategies.deadline_policy import POOLS, PoolTerms, Position, Solved, solve_for

# Up to this many jobs with deadlines each have a table of their own.
FEW = 2
# Jobs share a table when times left fall between the same powers of this, from some steps on.
_LEFT_RATIO, _LEFT_LEAST = 1.5, 8.0
# A shared table is solved for slack up to the next power of this.
_SLACK_RATIO = 1.5
# A price level that moved by more than this share makes a table stale.
_MOVED = 0.1
# So does a regime of one of the first pools whose log-rates moved by this. They are looked at when
# a table is older than this share of the time it answers for, and than the settings' `refresh`.
_SHIFTED, _FIRST, _SHARE = 0.7, 4, 0.2
# Pools that a shared table knows of: those after them are seldom the best that is there.
_SHARED_POOLS = 6
# Longer jobs and more slack than this are cut [steps], for a job's own table and a shared one: far
# ahead nothing is known anyway.
_CAPS, _SHARED_CAPS = (1_000.0, 500.0), (200.0, 100.0)


class Demand(NamedTuple):
    """A job's market in the programme's units, for one machine."""

    step: int
    start: float
    demand: float
    position: Position
    pools: list[PoolTerms]


class _Kept:
    """A table, and when it was solved or last found good [ns]."""

    __slots__ = ("at", "solved")

    def __init__(self, solved: Solved, at: int) -> None:
        self.solved, self.at = solved, at


class Tables:
    """The tables of all jobs. refresh: how old a job's own may get [ns]; reversion, points: as
    `solve_for` has them."""

    def __init__(self, refresh: int, reversion: float, points: int) -> None:
        self.refresh, self.reversion, self.points = refresh, reversion, points
        self._own: dict[JobId, dict[OfferId, _Kept]] = {}
        self._shared: dict[tuple[object, ...], _Kept] = {}
        self._few = True

    def clear(self) -> None:
        """Forget all tables."""
        self._own.clear()
        self._shared.clear()

    def begin(self, jobs: list[JobId]) -> None:
        """The jobs that have deadlines at present; of others nothing is kept."""
        self._few = len(jobs) <= FEW
        self._own = {job: self._own[job] for job in jobs if job in self._own and self._few}
        if not jobs:
            self._shared.clear()

    def cut(self, work: float, free: float) -> tuple[float, float]:
        """Work and slack [steps] as the tables can answer for them."""
        most, slack = _CAPS if self._few else _SHARED_CAPS
        if work > most:
            work, free = most, free * most / work
        return work, min(free, slack)

    def lost(self, job: JobId) -> None:
        """A job's machine was taken back: its own table is no longer what is known."""
        self._own.pop(job, None)

    def of(
        self, job: JobId, back: OfferId, demand: Demand, forecaster: Forecaster, now: int
    ) -> Solved:
        """The table that answers now [ns] for a job that falls back to an offer."""
        position = demand.position
        if self._few:
            kept_by = self._own.setdefault(job, {})
            own = kept_by.get(back)
            if own is None or now - own.at >= self.refresh or not _serves(own.solved, demand):
                slack = max(position.free, 0.0)
                solved = self._solve(forecaster, demand, position.left, slack)
                own = kept_by[back] = _Kept(solved, now)
            return own.solved
        left = _rounded(position.left, _LEFT_RATIO, _LEFT_LEAST)
        kind = tuple([(pool.offer, pool.speed) for pool in demand.pools])
        key = (kind, demand.start, demand.demand, demand.step, left)
        kept = self._shared.get(key)
        if kept is not None and _serves(kept.solved, demand):
            if now - kept.at < max(self.refresh, _SHARE * left * demand.step):
                return kept.solved
            if not _shifted(kept.solved, forecaster):
                kept.at = now
                return kept.solved
        slack = _rounded(position.free, _SLACK_RATIO, 1.0)
        solved = self._solve(forecaster, demand, left, slack, left * _LEFT_RATIO**-0.5)
        self._shared[key] = _Kept(solved, now)
        return solved

    def _solve(
        self,
        forecaster: Forecaster,
        demand: Demand,
        left: float,
        slack: float,
        present: float | None = None,
    ) -> Solved:
        return solve_for(
            forecaster,
            demand.pools,
            step=demand.step,
            left=left,
            slack=slack,
            start=demand.start,
            demand=demand.demand,
            reversion=self.reversion,
            points=self.points,
            present=present,
            most=POOLS if self._few else _SHARED_POOLS,
        )


def _rounded(steps: float, ratio: float, size: float) -> float:
    """The next of `size`, `size` x ratio, `size` x ratio^2 ..."""
    while size < steps:
        size *= ratio
    return size


def _serves(solved: Solved, demand: Demand) -> bool:
    """Whether a table still answers for a market: same pools, overhead and about the same
    prices."""
    position = demand.position
    if solved.step != demand.step or abs(solved.start - demand.start) > 1e-9:
        return False
    if position.left > solved.table.steps + 1e-9 or position.free > solved.table.grid[-1] + 1e-9:
        return False
    if abs(demand.demand - solved.demand) > _MOVED * solved.demand:
        return False
    levels = {pool.offer: pool.level for pool in demand.pools}
    for offer, level in zip(solved.rank, solved.levels, strict=True):
        now = levels.get(offer)
        if now is None or abs(now - level) > _MOVED * level:
            return False
    return len(levels) == len(solved.rank) or len(solved.rank) == solved.most


def _shifted(solved: Solved, forecaster: Forecaster) -> bool:
    """Whether a pool's regime is another than the table was solved for."""
    for offer, then in zip(solved.rank[:_FIRST], solved.regimes, strict=False):
        now = forecaster.prior.clip(forecaster.regime(offer))
        back = now.back - then.back + now.surprise - then.surprise
        if abs(now.loss - then.loss) > _SHIFTED or abs(back) > _SHIFTED:
            return True
    return False
