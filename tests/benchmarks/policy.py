"""How much of the gap between Uniform Progress and the clairvoyant optimum the deadline policy
closes.

    TREASURY_SHARED=FOLDER python -m tests.benchmarks.policy [single | rolling | zones] ...

single    the prior is learned on the first 40 % of the development half of 2022, and what is scored
          starts after it (windows overlap, so nothing before the cut is scored)
rolling   each window's prior is learned on everything before the window, of all zones
others    as single, with each zone's prior learned from the other zones alone
blank     as single, without what came before the window in its zone
zones     several zones, 2023, prior from everything before the window

Prints costs, the share of the gap closed with a 90 % interval by block bootstrap over the windows'
start (windows overlap: they are resampled by the day they start in), runs that were late, and the
times a solve and a decision took. `--every N` scores every N-th window.
"""

import argparse
import csv
import gzip
import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from tests.benchmarks.policy_runs import Job, Run, Series, load, windows
from treasury.forecast.hazards import Prior
from treasury.forecast.learn import learn_prior

CUT = 0.4
# A window needs some past to learn a prior from: a day of 2022, about three weeks of 2023 at most.
ROLLING_FROM = {2022: 150, 2023: 600}
HISTORY = {2022: 400, 2023: 3000}
DAY = {2022: 144, 2023: 443}


class Task(NamedTuple):
    """One run. until: the prior is learned on ticks before this. without: a zone left out of it."""

    year: int
    scenario: str
    zones: tuple[str, ...]
    window: int
    first: int
    hours: int
    overhead: float
    until: int
    without: str
    history: bool


def shared() -> Path:
    """The folder with the traces. Leaves with a message where it is not named."""
    folder = os.environ.get("TREASURY_SHARED", "")
    if not folder:
        sys.exit("TREASURY_SHARED must name the folder that holds traces/cant_be_late")
    return Path(folder) / "traces" / "cant_be_late"


@lru_cache(maxsize=2)
def series(year: int) -> Series:
    """A year's series, once a process."""
    return load(shared(), year)


@lru_cache(maxsize=64)
def prior(year: int, until: int, without: str) -> Prior:
    """The prior of the ticks before `until`, on the hazards' own step."""
    data = series(year)
    every = 1 if year == 2022 else 3
    columns = range(0, until - data.first, every)
    return learn_prior(
        [[data.there[zone][at] for at in columns] for zone in data.there if zone != without]
    )


def run(task: Task) -> tuple[Task, Run]:
    """One job."""
    data = series(task.year)
    learned = prior(task.year, task.until, task.without)
    job = Job(learned, data, list(task.zones), task.hours, round(task.overhead * 3600))
    past = HISTORY[task.year] if task.history else 0
    return task, job.run(task.first - data.first, past)


def references(year: int) -> dict[tuple[str, str, int, int, float], float]:
    """(policy, zone or scenario, window, deadline, overhead) -> cost."""
    name = "reference_costs_dev_2022" if year == 2022 else "reference_costs_dev_2023_multi"
    key = "zone" if year == 2022 else "scenario"
    with gzip.open(shared() / f"{name}.csv.gz", "rt") as file:
        return {
            (
                row["policy"].removesuffix("_multi"),
                row[key],
                int(row["window"]),
                int(row["deadline_h"]),
                float(row["overhead_h"]),
            ): float(row["cost_usd"])
            for row in csv.DictReader(file)
        }


def tasks(kind: str, every: int) -> list[Task]:
    """What a kind of benchmark runs."""
    year = 2023 if kind == "zones" else 2022
    data, starts, known = series(year), windows(shared(), year), references(year)
    ticks = len(next(iter(data.there.values())))
    cut = data.first + round(CUT * ticks)
    rolling = kind in {"rolling", "zones"}
    least = ROLLING_FROM[year] if rolling else cut
    chosen = sorted({key[2] for key in known if starts[key[2]] >= least}, key=lambda w: starts[w])
    chosen = chosen[::every]
    zones_of = scenarios() if year == 2023 else {zone: (zone,) for zone in data.there}
    made = []
    for policy, name, window, hours, overhead in sorted(known):
        if policy == "uniform_progress" and window in chosen:
            first = starts[window]
            until = first if rolling else cut
            without = name if kind == "others" else ""
            made.append(
                Task(
                    year, name, zones_of[name], window, first, hours, overhead, until, without,
                    kind != "blank",
                )
            )  # fmt: skip
    return made


def scenarios() -> dict[str, tuple[str, ...]]:
    """Scenario -> its zones."""
    with gzip.open(shared() / "reference_costs_dev_2023_multi.csv.gz", "rt") as file:
        return {row["scenario"]: tuple(row["zones"].split("|")) for row in csv.DictReader(file)}


class Row(NamedTuple):
    """A run beside what it is measured by. block: the day its window starts in."""

    group: tuple[object, ...]
    block: int
    cost: float
    uniform: float
    best: float


def closed(rows: list[Row]) -> float:
    """Share of the gap closed [percent], over all rows together."""
    gap = sum(row.uniform - row.best for row in rows)
    return 100.0 * sum(row.uniform - row.cost for row in rows) / gap if gap else 0.0


def mean_closed(rows: list[Row]) -> float:
    """Mean over the groups (deadline and overhead) of the share closed."""
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    return mean(closed(part) for part in groups.values())


def interval(rows: list[Row], statistic: Callable[[list[Row]], float]) -> tuple[float, float]:
    """A 90 % interval by resampling whole days of starts."""
    blocks: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        blocks[row.block].append(row)
    keys, dice, found = sorted(blocks), random.Random(1), []
    for _ in range(500):
        drawn = [row for key in dice.choices(keys, k=len(keys)) for row in blocks[key]]
        found.append(statistic(drawn))
    found.sort()
    return found[25], found[-26]


def report(kind: str, done: list[tuple[Task, Run]]) -> None:
    """Print the table of a kind."""
    year = done[0][0].year
    known = references(year)
    rows = []
    for task, outcome in done:
        key = (task.scenario, task.window, task.hours, task.overhead)
        group: tuple[object, ...] = (task.scenario,)
        if year == 2022:
            group = (task.hours, task.overhead)
        block = task.first // DAY[year]
        uniform, best = known[("uniform_progress", *key)], known[("clairvoyant_optimum", *key)]
        rows.append(Row(group, block, outcome.cost, uniform, best))
    print(f"\n{kind}: {len({task.window for task, _ in done})} windows, {len(done)} runs")
    print(f"{'':34}{'deadline':>10}{'uniform':>10}{'optimum':>10}{'closed %':>10}   90 %")
    for group in sorted({row.group for row in rows}, key=str):
        part = [row for row in rows if row.group == group]
        low, high = interval(part, closed)
        name = " ".join(str(value) for value in group)
        print(
            f"{name:34}{mean(r.cost for r in part):10.2f}{mean(r.uniform for r in part):10.2f}"
            f"{mean(r.best for r in part):10.2f}{closed(part):10.1f}   [{low:.0f}, {high:.0f}]"
        )
    for name, statistic in (("mean of the rows above", mean_closed), ("all runs together", closed)):
        low, high = interval(rows, statistic)
        print(f"{name:64}{statistic(rows):10.1f}   [{low:.0f}, {high:.0f}]")
    solving = [seconds for _, outcome in done for seconds in outcome.solving]
    deciding = [seconds for _, outcome in done for seconds in outcome.deciding]
    print(
        f"late {sum(outcome.late for _, outcome in done)}; solve median "
        f"{1e3 * median(solving):.0f} ms; decision median {1e6 * median(deciding):.0f} us"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    kinds = ["single", "rolling", "others", "blank", "zones"]
    parser.add_argument(
        "kind", nargs="*", default=["single", "zones"], metavar="KIND", help=str(kinds)
    )
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    arguments = parser.parse_args()
    for kind in arguments.kind:
        if kind not in kinds:
            parser.error(f"{kind}: expected one of {', '.join(kinds)}")
        asked = tasks(kind, arguments.every)
        with ProcessPoolExecutor(arguments.workers) as pool:
            report(kind, list(pool.map(run, asked, chunksize=4)))


if __name__ == "__main__":
    main()
