"""A schedule that could have been carried out: what the fleet bound leaves out, in money.

    TREASURY_SHARED=/path/to/shared python tests/benchmarks/fleet_hindsight.py [--rounds N]

Job by job, the largest first, each gets the schedule that is cheapest for it on the machines the
others have left, with all prices and interruptions known: whole gangs in one pool, each start paid
and waited for. In later rounds each job is planned again around all others. The sum is what some
schedule would have paid, so that hindsight's optimum is between the fleet bound and it.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fleet_market import SPEEDS, START_OVERHEAD, fleet_scenario

from treasury.domain.job import JobSpec
from treasury.domain.time import HOUR, MINUTE, SECOND

# Grant, boot and start are two ticks; the grant is not paid.
TICK = 190 * SECOND
START_TICKS, START_PAID = 2, 1.9
NEVER = 1e9
PRICES = 14


class Market:
    """Cost [USD] of a machine and machines left, by tick and pool; speed by pool."""

    def __init__(self, scenario: Any) -> None:
        trace = scenario.trace
        rows = list(trace.market())
        self.start = rows[0].at
        self.ticks = int((trace.end - self.start) // TICK)
        self.cost = np.zeros((self.ticks, len(trace.pools)))
        self.free = np.full(self.cost.shape, 10**6)
        self.speed = np.array([SPEEDS[pool.gpu] / 1_000 for pool in trace.pools])
        known = np.zeros(self.cost.shape)
        for index in range(len(trace.pools)):
            own = [row for row in rows if row.pool == index]
            ends = [*(row.at for row in own[1:]), trace.end]
            for row, end in zip(own, ends, strict=True):
                room = 0 if row.rate <= 0 else 10**6 if row.depth < 0 else row.depth
                for at, part in self._parts(row.at, end):
                    self.cost[at, index] += part / HOUR * max(row.rate, 0) / 1e9
                    self.free[at, index] = min(self.free[at, index], room)
                    known[at, index] += part
        self.free[known < TICK] = 0

    def _parts(self, since: int, until: int) -> Iterator[tuple[int, int]]:
        """(tick, ns of it) of a span."""
        at = since - self.start
        while at < min(until - self.start, self.ticks * TICK):
            upto = min((at // TICK + 1) * TICK, until - self.start)
            yield at // TICK, upto - at
            at = upto


def cheapest(market: Market, job: JobSpec) -> tuple[float, int, np.ndarray] | None:
    """(USD, first tick, pool or -1 by tick) of the cheapest schedule that is found for a job.

    For a price of work, dynamic programming finds the schedule that gains most; the price is halved
    in on until the schedule does just the work.
    """
    nodes, deadline = job.requirement.nodes, job.deadline
    assert deadline is not None
    first = -(-(job.submitted_at - market.start) // TICK)
    last = min((deadline - market.start) // TICK, market.ticks)
    cost = market.cost[first:last] * nodes
    room = market.free[first:last] >= nodes
    low, high, best = 0.0, nodes * 20.0, None
    for _ in range(PRICES):
        price = (low + high) / 2
        path, done, paid = schedule(cost, room, market.speed * TICK / HOUR, job.work / HOUR, price)
        if done:
            high = price
            if best is None or paid < best[0]:
                best = paid, first, path
        else:
            low = price
    return best


def schedule(
    cost: np.ndarray, room: np.ndarray, work: np.ndarray, wanted: float, price: float
) -> tuple[np.ndarray, bool, float]:
    """(pool or -1 by tick, whether all work is done, USD) at a price of work [USD/reference h].
    work: reference hours a tick, by pool."""
    ticks, pools = cost.shape
    idle, busy = np.zeros(ticks + 3), np.zeros((ticks + 3, pools))
    start, leave = np.full(ticks, -1), np.zeros((ticks, pools), bool)
    running = np.where(room, cost - work * price, NEVER)
    starting = np.where(room, cost * START_PAID / START_TICKS, NEVER)
    for at in range(ticks - 1, -1, -1):
        if at + 1 < ticks:
            begun = starting[at] + starting[at + 1] + busy[at + START_TICKS]
            best = int(begun.argmin())
            idle[at] = min(idle[at + 1], begun[best])
            if begun[best] < idle[at + 1]:
                start[at] = best
        stays = running[at] + busy[at + 1]
        leave[at] = stays > idle[at]
        busy[at] = np.where(leave[at], idle[at], stays)
    path, done, paid, at, on = np.full(ticks, -1), 0.0, 0.0, 0, -1
    while at < ticks and done < wanted - 1e-9:
        if on >= 0 and not leave[at, on]:
            part = min(1.0, (wanted - done) / work[on])
            path[at], paid, done = on, paid + cost[at, on] * part, done + work[on] * part
            at += 1
        elif start[at] >= 0:
            on = int(start[at])
            path[at : at + START_TICKS] = on
            paid += float(cost[at : at + START_TICKS, on].sum()) * START_PAID / START_TICKS
            at += START_TICKS
        else:
            on, at = -1, at + 1
    return path, done >= wanted - 1e-9, paid


def main() -> None:
    """Plan the fleet and print what each round pays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    shared = os.environ.get("TREASURY_SHARED", "")
    if not shared:
        sys.exit("TREASURY_SHARED is unset: it names the folder of reference traces")
    assert START_OVERHEAD + MINUTE + 20 * SECOND == START_TICKS * TICK
    scenario = fleet_scenario(Path(shared) / "traces", (9_000, 9_000, 9_000), arguments.jobs)
    market = Market(scenario)
    jobs = sorted(scenario.jobs, key=lambda job: -job.work * job.requirement.nodes)
    plans: dict[str, tuple[float, int, np.ndarray]] = {}
    for turn in range(arguments.rounds):
        for job in jobs:
            if job.id in plans:
                take(market, plans[job.id], -job.requirement.nodes)
            plan = cheapest(market, job)
            if plan is None:
                sys.exit(f"{job.id} finds no machines in time")
            plans[job.id] = plan
            take(market, plan, job.requirement.nodes)
        assert (market.free >= 0).all()
        paid = sum(plan[0] for plan in plans.values())
        print(f"round {turn + 1}: {len(plans):,} jobs in time for {paid:,.2f} USD", flush=True)


def take(market: Market, plan: tuple[float, int, np.ndarray], machines: int) -> None:
    """Take machines off a market, or give them back."""
    _, first, path = plan
    at = np.flatnonzero(path >= 0)
    market.free[first + at, path[at]] -= machines


if __name__ == "__main__":
    main()
