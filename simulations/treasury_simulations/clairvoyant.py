"""The clairvoyant bound: what one job in one zone costs with the whole future known.

Exact, by dynamic programming over (tick, what runs, start overhead still to burn, time lost so
far). The rules are those of the "Can't Be Late" benchmark: in each tick the job has spot (where
there is any), on-demand or nothing; a started tick is paid whole; every start, also after an
interruption, burns the overhead before work counts; the job ends at the first tick boundary at
which all work is done. No policy can do better.

Instead of progress the state holds the *deficit*, the time that was not work: idling and overhead.
It never exceeds the slack, so the table is as narrow as the deadline is tight.
"""

from collections.abc import Sequence
from math import gcd
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from treasury.domain.errors import BadValue
from treasury.domain.money import RATE_NS_PER_MICRO

# Above any cost, and far enough below the largest int64 that adding to it cannot overflow.
_NEVER: Final = 2**61
# Deficits in units of what tick and overhead have in common; more of them would take minutes.
_UNITS_MAX: Final = 50_000

IDLE, SPOT, ON_DEMAND = "-", "s", "d"

_Costs = NDArray[np.int64]
_Origins = NDArray[np.uint8]


class Bound(msgspec.Struct, frozen=True):
    """The least a job can cost. cost_micros: micro-USD. schedule: one letter a tick until the job
    ends: `s` spot, `d` on-demand, `-` nothing."""

    cost_micros: int
    schedule: str


class _Table:
    """States of a job at a tick's boundary: rows are (nothing), spot and on-demand by how far their
    start has come; columns are deficits in units."""

    def __init__(self, tick: int, overhead: int, slack: int) -> None:
        self.unit = gcd(tick, overhead)
        if slack // self.unit > _UNITS_MAX:
            raise BadValue(
                "restart overhead",
                f"{overhead} ns",
                f"a duration whose largest common divisor with the tick ({tick} ns) is at least "
                f"{-(-slack // _UNITS_MAX)} ns",
            )
        self.width = slack // self.unit + 1
        self.idle = tick // self.unit
        # Time lost in the tick of a start, and then what is left to burn after each further tick.
        self.first = min(overhead, tick) // self.unit
        left = max(0, overhead - tick)
        self.burn: list[int] = []
        while left > 0:
            self.burn.append(min(left, tick) // self.unit)
            left -= min(left, tick)
        self.burn.append(0)
        self.stages = len(self.burn)
        self.rows = 1 + 2 * self.stages
        self.costs: _Costs = np.full((self.rows, self.width), _NEVER, np.int64)
        self.costs[0, 0] = 0

    def running(self, mode: str) -> range:
        """The rows of spot or on-demand, by stage of the start."""
        start = 1 if mode == SPOT else 1 + self.stages
        return range(start, start + self.stages)

    def step(self, spot: int | None, on_demand: int) -> _Origins:
        """One tick. spot: its rate, None where there is none. Returns the row each state came
        from."""
        new: _Costs = np.full_like(self.costs, _NEVER)
        came: _Origins = np.zeros(self.costs.shape, np.uint8)
        self._relax(new, came, 0, self._least(range(self.rows)), self.idle, 0)
        for mode, rate in ((SPOT, spot), (ON_DEMAND, on_demand)):
            if rate is None:
                # What ran on spot was taken; from its rows only idling and on-demand lead on.
                continue
            rows = self.running(mode)
            others = [row for row in range(self.rows) if row not in rows]
            self._relax(new, came, rows[0], self._least(others), self.first, rate)
            for stage, row in enumerate(rows):
                into = rows[min(stage + 1, self.stages - 1)]
                self._relax(new, came, into, (self.costs[row], row), self.burn[stage], rate)
        self.costs = new
        return came

    def _least(self, rows: Sequence[int]) -> tuple[_Costs, _Origins]:
        """For each deficit the cheapest of some rows, and which it is; of equals the first."""
        best = self.costs[rows[0]].copy()
        origin: _Origins = np.full(self.width, rows[0], np.uint8)
        for row in rows[1:]:
            better = self.costs[row] < best
            np.copyto(best, self.costs[row], where=better)
            np.copyto(origin, np.uint8(row), where=better)
        return best, origin

    def _relax(
        self,
        new: _Costs,
        came: _Origins,
        into: int,
        source: tuple[_Costs, _Origins | int],
        lost: int,
        rate: int,
    ) -> None:
        """Take a way into a row where it is cheaper than those before."""
        if lost >= self.width:
            return
        costs, origin = source
        offered = costs[: self.width - lost] + rate
        better = offered < new[into, lost:]
        np.copyto(new[into, lost:], offered, where=better)
        rows = np.uint8(origin) if isinstance(origin, int) else origin[: self.width - lost]
        np.copyto(came[into, lost:], rows, where=better)

    def lost_by(self, into: int, origin: int) -> int:
        """The deficit that the tick from one row to another added."""
        if into == 0:
            return self.idle
        rows = self.running(SPOT if into <= self.stages else ON_DEMAND)
        return self.burn[origin - rows.start] if origin in rows else self.first


def clairvoyant_cost(
    availability: Sequence[int],
    *,
    tick_ns: int,
    work_ns: int,
    deadline_ns: int,
    overhead_ns: int,
    spot_rate: int | Sequence[int],
    on_demand_rate: int,
) -> Bound:
    """The least cost of a job in one zone, and a schedule that has it.

    availability: 1 where spot could be had, a value for each tick from the job's start; what is
    missing counts as 0. work_ns, deadline_ns: of the job, the deadline counted from its start.
    overhead_ns: burnt by every start. Rates in nano-USD/h, spot's one for all ticks or one for
    each. Raises BadValue when the job cannot be done in time even on on-demand, or its durations
    have no grid in common.
    """
    ticks = deadline_ns // tick_ns
    slack = ticks * tick_ns - work_ns
    if work_ns <= 0 or slack < overhead_ns:
        raise BadValue(
            "deadline", f"{deadline_ns} ns", f"at least {work_ns + overhead_ns} ns in whole ticks"
        )
    table = _Table(tick_ns, overhead_ns, slack)
    history: list[_Origins] = []
    best, best_at = _NEVER, (0, 0, 0)
    for tick in range(ticks):
        there = tick < len(availability) and availability[tick]
        rate = spot_rate if isinstance(spot_rate, int) else spot_rate[tick] if there else 0
        history.append(table.step(rate if there else None, on_demand_rate))
        done = (tick + 1) * tick_ns - work_ns
        if done >= 0:
            finished = table.costs[:, : done // table.unit + 1]
            row, column = divmod(int(np.argmin(finished)), finished.shape[1])
            if finished[row, column] < best:
                best, best_at = int(finished[row, column]), (tick + 1, row, column)
            finished[:] = _NEVER
    cost = -(-best * tick_ns // RATE_NS_PER_MICRO)
    return Bound(cost, _schedule(table, history, best_at))


def _schedule(table: _Table, history: list[_Origins], end: tuple[int, int, int]) -> str:
    """Walk back from the cheapest end."""
    tick, row, column = end
    letters = []
    while tick > 0:
        tick -= 1
        letters.append(IDLE if row == 0 else SPOT if row <= table.stages else ON_DEMAND)
        origin = int(history[tick][row, column])
        column -= table.lost_by(row, origin)
        row = origin
    return "".join(reversed(letters))
