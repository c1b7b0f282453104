"""What strategies pay for a fleet of 2,000 jobs on a mixed market, and what hindsight would have.

    TREASURY_SHARED=/path/to/shared python tests/benchmarks/fleet.py [--jobs N] [--strategy S,...]

See fleet_market.py for the market and the jobs. Residual waste is what a run paid above the bound
on the cost of what it delivered. A budget is exceeded where what its cost centre spent and held was
ever above its amount.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from fleet_market import CENTRES, fleet_scenario

from treasury.domain.errors import NotFound, PluginError
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, parse_duration
from treasury.registry import load_strategy
from treasury_simulations.bound import delivered, fleet_bound
from treasury_simulations.record import RunRecord
from treasury_simulations.simulate import simulate

STRATEGIES = ("on_demand", "greedy", "uniform_progress", "optimal", "deadline")
# USD of each cost centre: two are scarce, and taking on-demand machines alone uses them up.
BUDGETS = (9_000, 9_000, 9_000)


def main() -> None:
    """Replay every strategy that is there and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--strategy", default=",".join(STRATEGIES))
    parser.add_argument("--without", default="", help="accelerators that no job takes")
    parser.add_argument("--step", default="1h", help="of the bound")
    arguments = parser.parse_args()
    shared = os.environ.get("TREASURY_SHARED", "")
    if not shared:
        sys.exit("TREASURY_SHARED is unset: it names the folder of reference traces")
    without = tuple(filter(None, arguments.without.split(",")))
    scenario = fleet_scenario(Path(shared) / "traces", BUDGETS, arguments.jobs, without)
    step = parse_duration(arguments.step)
    began = time.perf_counter()
    bound = fleet_bound(scenario, step=step)
    gpu_hours = sum(job.work * job.requirement.nodes for job in scenario.jobs) / HOUR
    print(
        f"{len(scenario.jobs):,} jobs, {gpu_hours:,.0f} GPU-hours of an A100-40GB; fleet bound "
        f"{bound.cost_micros / MICRO:,.2f} USD ({bound.columns:,} columns, "
        f"{time.perf_counter() - began:.0f} s; the solver said {bound.solver_micros / MICRO:,.2f})"
    )
    print(
        f"{'strategy':<18}{'paid USD':>11}{'of on_dem':>10}{'bound':>11}{'waste':>8}"
        f"{'finished':>10}{'late':>6}{'interr':>8}{'moves':>7}{'restart':>9}{'lost':>8}"
        f"{'idle':>8}{'errors':>7}{'s':>6}  budgets (most used)"
    )
    yardstick = 0
    for name in arguments.strategy.split(","):
        try:
            strategy = load_strategy(name, {})
        except (NotFound, PluginError) as error:
            print(f"{name:<18}not here: {error}")
            continue
        began = time.perf_counter()
        record = simulate(scenario, strategy)
        took = time.perf_counter() - began
        yardstick = record.waste.paid if name == "on_demand" else yardstick
        done = all(job.state == "finished" and not job.late for job in record.jobs)
        own = bound if done else fleet_bound(scenario, step=step, until=delivered(scenario, record))
        report(name, record, own.cost_micros, yardstick, took)


def report(name: str, record: RunRecord, bound: int, yardstick: int, took: float) -> None:
    """One line of the table."""
    waste, jobs = record.waste, record.jobs
    finished = sum(job.state == "finished" for job in jobs)
    of = f"{waste.paid / yardstick:.1%}" if yardstick else "-"
    used = ", ".join(f"{centre} {share:.0%}" for centre, share in budget_use(record).items())
    print(
        f"{name:<18}{waste.paid / MICRO:>11,.2f}{of:>10}{bound / MICRO:>11,.2f}"
        f"{(waste.paid - bound) / waste.paid:>8.1%}{finished:>10,}"
        f"{sum(job.late for job in jobs):>6}{sum(job.interruptions for job in jobs):>8,}"
        f"{sum(job.migrations + job.preemptions for job in jobs):>7,}"
        f"{waste.restart / MICRO:>9,.0f}{waste.lost_work / MICRO:>8,.0f}"
        f"{(waste.idle + waste.unallocated) / MICRO:>8,.0f}"
        f"{record.refusals.get('strategy error', 0):>7}{took:>6.0f}  {used}",
        flush=True,
    )


def budget_use(record: RunRecord) -> dict[str, float]:
    """The most each cost centre had spent and held at once, relative to its budget."""
    return {
        series.cost_centre: max(
            (spent + held) / series.limit
            for spent, held in zip(series.spent, series.held, strict=True)
        )
        for series in record.budgets
        if series.cost_centre in CENTRES
    }


if __name__ == "__main__":
    main()
