"""One job on recorded availability, tick by tick: the rules of the public "Can't Be Late"
evaluators.

At each tick a job takes spot where it is there, on-demand, or nothing. A tick is billed whole; a
start (also after an interruption, or in another zone) sets an overhead to be burnt before work
counts; the job ends at the first tick boundary at which all work is done. Durations are whole
seconds, so that costs compare to the published ones exactly.
"""

import csv
import gzip
import json
import time
from pathlib import Path
from typing import NamedTuple

from treasury.domain.ids import OfferId
from treasury.domain.time import SECOND
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import Prior
from treasury_strategies.deadline_policy import (
    PoolTerms,
    Position,
    Solved,
    solve_for,
    step_of,
    weigh,
)

ON_DEMAND = 3.06
WORK = 48 * 3600
REVERSION, REFRESH, POINTS = 0.005, 12.0, 32


class Series(NamedTuple):
    """Zones over time. first: the tick of column 0. seconds: a tick. prices: USD/h by zone and
    tick."""

    first: int
    seconds: int
    there: dict[str, list[int]]
    prices: dict[str, list[float]]


class Run(NamedTuple):
    """One job's outcome: cost [USD], whether it was late, starts, and seconds spent in solving and
    in deciding (each time)."""

    cost: float
    late: bool
    starts: int
    solving: list[float]
    deciding: list[float]


def load(folder: Path, year: int) -> Series:
    """The development half of a year's series."""
    name = folder / f"aws_{year}_availability.csv.gz"
    with gzip.open(name, "rt") as file:
        rows = list(csv.DictReader(file))
    zones = [zone for zone in rows[0] if zone != "tick"]
    first = int(rows[0]["tick"])
    there = {zone: [int(row[zone]) for row in rows] for zone in zones}
    if year == 2022:
        return Series(first, 600, there, {zone: [0.9731] * len(rows) for zone in zones})
    changes: dict[str, dict[int, float]] = {zone: {} for zone in zones}
    with gzip.open(folder / "aws_2023_p3.2xlarge_spot_price.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            changes[row["zone"]][int(row["tick"])] = float(row["usd_per_hour"])
    prices: dict[str, list[float]] = {}
    for zone in zones:
        price, of_zone = 0.0, []
        for at in range(len(rows)):
            price = changes[zone].get(first + at, price)
            of_zone.append(price)
        prices[zone] = of_zone
    return Series(first, 195, there, prices)


def windows(folder: Path, year: int) -> dict[int, int]:
    """Window -> first tick."""
    text = (folder / f"windows_{year}.json").read_text()
    return {int(key): int(at) for key, at in json.loads(text)["windows_start_tick"].items()}


class Job:
    """The evaluator's state and the policy's, for one run."""

    def __init__(
        self, prior: Prior, series: Series, zones: list[str], hours: int, start: int
    ) -> None:
        self.series, self.zones, self.overhead = series, zones, start
        self.offers = {zone: OfferId(zone) for zone in zones}
        self.forecaster = Forecaster(prior, {})
        self.ticks = hours * 3600 // series.seconds
        self.step = step_of(series.seconds * SECOND)
        self.per_step = self.step // SECOND
        self.work, self.pending, self.cost, self.starts = WORK, 0, 0.0, 0
        self.on = ""
        self.solved: Solved | None = None
        self.solving: list[float] = []
        self.deciding: list[float] = []

    def see(self, at: int) -> list[str]:
        """Show the forecaster one tick; returns the zones with capacity."""
        series, open_ = self.series, []
        now = at * series.seconds * SECOND
        for zone in self.zones:
            there = bool(series.there[zone][at]) if at < len(series.there[zone]) else False
            self.forecaster.see_pool(self.offers[zone], now, there, self.price(zone, at))
            if there:
                open_.append(zone)
        return open_

    def price(self, zone: str, at: int) -> int:
        """A zone's rate [nano-USD/h]."""
        prices = self.series.prices[zone]
        return round(prices[min(at, len(prices) - 1)] * 1e9)

    def choose(self, at: int, open_: list[str], left: int, lost: bool) -> str:
        """What the policy takes: a zone, "demand" or "" for nothing."""
        of_step = self.per_step / 3600
        pools = [
            PoolTerms(
                offer,
                self.price(zone, at) / 1e9 * of_step,
                self.forecaster.level(offer, 0) / 1e9 * of_step,
                1.0,
            )
            for zone, offer in self.offers.items()
        ]
        remaining, start = left / self.per_step, self.overhead / self.per_step
        free = (left - self.work) / self.per_step
        kept = free - (self.pending / self.per_step if self.on else 0.0)
        began = time.perf_counter()
        solved = self.solved
        since = 0.0 if solved is None else solved.left - remaining
        if solved is None or since >= REFRESH or (lost and since >= 1.0):
            solved = self.solved = solve_for(
                self.forecaster,
                pools,
                step=self.step,
                left=remaining,
                slack=free,
                start=start,
                demand=ON_DEMAND * of_step,
                reversion=REVERSION,
                points=POINTS,
            )
            self.solving.append(time.perf_counter() - began)
        held = self.offers.get(self.on)
        position = Position(remaining, free, kept, held, self.on == "demand")
        now = at * self.series.seconds * SECOND
        began = time.perf_counter()
        costs = weigh(
            solved, self.forecaster, now, position, pools, [self.offers[z] for z in open_]
        )
        self.deciding.append(time.perf_counter() - began)
        seconds = self.series.seconds
        choices = [(costs.demand, "demand")]
        if not self.on and self.work + self.overhead <= left - seconds:
            choices.append((costs.wait, ""))
        for zone in open_:
            pending = self.pending if zone == self.on else self.overhead
            after = self.work - max(seconds - pending, 0)
            if after <= 0 or after + self.overhead <= left - seconds:
                choices.append((costs.spot.get(self.offers[zone], 1e9), zone))
        return min(choices, key=lambda choice: choice[0])[1]

    def run(self, first: int, history: int) -> Run:
        """The job from column `first` on, with so many ticks of history before it."""
        seconds = self.series.seconds
        for at in range(max(0, first - history), first):
            self.see(at)
        for tick in range(self.ticks):
            at = first + tick
            open_ = self.see(at)
            lost = bool(self.on) and self.on != "demand" and self.on not in open_
            if lost:
                self.on = ""
            chosen = self.choose(at, open_, (self.ticks - tick) * seconds, lost)
            if chosen and chosen != self.on:
                self.pending, self.starts = self.overhead, self.starts + 1
            if chosen:
                useful = max(seconds - self.pending, 0)
                self.pending -= seconds - useful
                self.work -= useful
                rate = ON_DEMAND if chosen == "demand" else self.price(chosen, at) / 1e9
                self.cost += rate * seconds / 3600
            self.on = chosen
            if self.work <= 0:
                return Run(self.cost, False, self.starts, self.solving, self.deciding)
        return Run(self.cost, True, self.starts, self.solving, self.deciding)
