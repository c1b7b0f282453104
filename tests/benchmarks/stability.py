"""What `optimal` gains over `greedy` in replay, how often it moves jobs, and what deciding costs.

    TREASURY_SHARED=/path/to/shared python tests/benchmarks/stability.py [--jobs 2000] [--seeds 1,2]
    python tests/benchmarks/stability.py --bundled [--strategy greedy,optimal] [--set key=value ...]

The fleet is that of fleet.py; `--bundled` takes the sample that is shipped. Value: work that was
finished in time, each hour worth a quarter more than the cheapest on-demand offer asks for it at
first, doubled by each step of priority. Moves: migrations and preemptions; a job-day is a day from
a job's submission to its end. Returns: moves to an offer the job had left within two hours. The
decider's share is of processor time, so that it repeats on a machine that is shared.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from fleet_market import fleet_scenario

from treasury.config import load_config
from treasury.domain.job import JobSpec
from treasury.domain.money import MICRO
from treasury.domain.time import DAY, HOUR, parse_duration
from treasury.registry import load_strategy
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import Scenario, build_scenario
from treasury_simulations.simulate import simulate

BUDGETS = (9_000, 9_000, 9_000)
BACK = 2 * HOUR


def main() -> None:
    """Replay and print a line for each strategy and seed, and one for all seeds."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--strategy", default="greedy,optimal")
    ask.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of optimal")
    ask.add_argument("--seeds", default="1,2")
    ask.add_argument("--jobs", type=int, default=2_000)
    ask.add_argument("--bundled", action="store_true")
    given = ask.parse_args()
    base = scenario(given.jobs, bundled=given.bundled)
    print(
        f"{'strategy':<12}{'seed':>5}{'paid USD':>11}{'value USD':>12}{'late':>6}{'wait h':>8}"
        f"{'interr':>8}{'moves':>7}{'a job-day':>11}{'returns':>9}{'share':>7}{'cpu s':>7}"
    )
    for name in given.strategy.split(","):
        rows = []
        for seed in given.seeds.split(","):
            parameters = settings(given.set) if name == "optimal" else {}
            rows.append(measure(msgspec.structs.replace(base, seed=int(seed)), name, parameters))
            show(name, seed, rows[-1])
        if len(rows) > 1:
            show(name, "mean", [sum(column) / len(rows) for column in zip(*rows, strict=True)])


def scenario(jobs: int, *, bundled: bool) -> Scenario:
    """The shipped sample, or the fleet of fleet.py."""
    if bundled:
        return build_scenario(load_config(None), "", "")
    shared = os.environ.get("TREASURY_SHARED", "")
    if not shared:
        sys.exit("TREASURY_SHARED is unset: it names the folder of reference traces; or --bundled")
    return fleet_scenario(Path(shared) / "traces", BUDGETS, jobs, ())


def settings(pairs: list[str]) -> dict[str, Any]:
    """Parameters: whole numbers, or durations with their unit."""
    out: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        out[key] = int(text) if text.lstrip("-").isdigit() else parse_duration(text)
    return out


def measure(given: Scenario, name: str, parameters: dict[str, Any]) -> list[float]:
    """One replay: the columns of the table."""
    strategy = load_strategy(name, parameters)
    spent = [0.0]
    inner = strategy.propose

    def propose(snapshot: Any) -> Any:
        began = time.process_time()
        plan = inner(snapshot)
        spent[0] += time.process_time() - began
        return plan

    strategy.propose = propose  # type: ignore[method-assign]
    began = time.process_time()
    record = simulate(given, strategy)
    took = time.process_time() - began
    jobs = record.jobs
    ends = [(job.ended_at or record.ended_at) - job.submitted_at for job in jobs]
    moves = sum(job.migrations + job.preemptions for job in jobs)
    return [
        record.waste.paid / MICRO,
        value(record, given.jobs),
        sum(job.late for job in jobs),
        sum(job.waited for job in jobs) / len(jobs) / HOUR,
        sum(job.interruptions for job in jobs),
        moves,
        moves / (sum(ends) / DAY),
        returns(record),
        100 * spent[0] / took,
        took,
    ]


def value(record: RunRecord, specs: tuple[JobSpec, ...]) -> float:
    """What the work finished in time is worth [USD]."""
    firm = {
        series.offer.split("/")[-2]: next((rate for rate in series.rate if rate >= 0), 0)
        for series in record.prices
        if series.offer.endswith("on_demand")
    }
    known = {lease.offer.split("/")[-2]: lease.gpu for lease in record.leases}
    done = {job.id for job in record.jobs if job.state == "finished" and not job.late}
    total = 0.0
    for spec in specs:
        if spec.id not in done:
            continue
        speeds = spec.requirement.throughput
        prices = [
            rate * 1_000 / speeds[known[instance]]
            for instance, rate in firm.items()
            if speeds.get(known.get(instance, ""), 0) and rate
        ]
        hours = spec.work / HOUR * spec.requirement.nodes
        total += hours * 1.25 * min(prices, default=0) / 1e9 * 2**spec.priority
    return total


def returns(record: RunRecord) -> int:
    """Moves to an offer that the job had left of our own will within two hours."""
    placements: dict[str, dict[int, Any]] = {}
    for lease in record.leases:
        placements.setdefault(lease.job, {})[lease.placement] = lease
    back = 0
    for stays in placements.values():
        ordered = [stays[number] for number in sorted(stays)]
        for at, stay in enumerate(ordered):
            back += any(
                former.offer == stay.offer
                and former.end_cause in ("migrated", "preempted")
                and 0 <= stay.granted_at - former.ended_at <= BACK
                for former in ordered[:at]
            )
    return back


def show(name: str, seed: str, row: list[float]) -> None:
    """Print a line."""
    paid, worth, late, wait, interruptions, moves, daily, back, share, took = row
    print(
        f"{name:<12}{seed:>5}{paid:>11,.2f}{worth:>12,.0f}{late:>6.0f}{wait:>8.2f}"
        f"{interruptions:>8,.0f}{moves:>7,.0f}{daily:>11.2f}{back:>9.0f}{share:>6.0f}%{took:>7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
