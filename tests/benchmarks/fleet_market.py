"""The fleet benchmark's market and jobs, from recorded data, the same every time.

Market, from 2025-10-19T21:01:58Z for 20 days, 55 pools of one-accelerator machines:

* 35 pools of the Prime Intellect market: the recorded lowest price of each provider and model, half
  hour by half hour; a pool holds as many machines as it had offers, at most 12. The recording says
  nothing of interruptions, so the pools are taken for spot.
* 16 spot pools of Google Cloud: for each of four machine types the four regions that are cheapest
  at the end of the recorded price history, at the prices of its last 20 days, moved to this span.
* 4 on-demand pools of Google Cloud in us-central1, one a machine type, without limit.
* Each spot pool is up or down as one of the nine zones of "Can't Be Late" 2023 was, from a drawn
  tick on, round and round; while down it holds nothing, and what we hold there is interrupted.
* Each Google spot pool holds an eighth of the size of one of four recorded spot fleets, from a
  drawn minute on, round and round: where the fleet shrank, machines are interrupted.

Jobs: 2,000 of the Philly jobs of the fourteen days before 2017-10-21T22:37:58Z, evenly spread,
moved to the market's start; work between 5 min and 48 h; one accelerator a machine. Deadline: one
hour plus 1.3 to 3.0 times (start + work) after the submission. Priority 0, 1 or 2 with odds of 7,
2 and 1. The cost centre goes with the virtual cluster. Every draw is a hash of its purpose.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from treasury.domain.budget import Budget
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND
from treasury_simulations.demand import draw
from treasury_simulations.scenario import MarketModel, Scenario
from treasury_simulations.traces import MarketRow, PoolInfo, make_pool
from treasury_simulations.traces.importers import read_dataset

SEED = 1
SPAN = 20 * DAY
CENTRES = ("search", "speech", "vision")
# Throughput relative to an A100 with 40 GB, in thousandths.
SPEEDS = {
    "L4": 330,
    "A100-40GB": 1_000,
    "A100-80GB": 1_080,
    "H100": 1_900,
    "GH200": 1_900,
    "H200": 2_000,
    "B200": 2_900,
}
GOOGLE_TYPES = ("g2-standard-4", "a2-highgpu-1g", "a2-ultragpu-1g", "a3-highgpu-1g")
FLEETS = (
    "bamboo_gcp_a100_us-east1-b",
    "bamboo_gcp_v100_us-east1-c",
    "bamboo_aws_p3_64",
    "bamboo_aws_g4dn",
)
OFFERS_MOST, FLEET_SHARE, REGIONS = 12, 8, 4
START_OVERHEAD, CHECKPOINT = 5 * MINUTE, 30 * MINUTE

# (since the span's start [ns], value), instants rising.
Steps = list[tuple[int, int]]


class MixedMarket:
    """The market in memory. end [ns]: after which nothing is sold."""

    name = "mixed-gpu-market"

    def __init__(self, pools: list[PoolInfo], rows: list[MarketRow], end: int) -> None:
        self.pools = tuple(pools)
        self.end = end
        self._rows = rows

    def market(self) -> Iterator[MarketRow]:
        """Its rows."""
        return iter(self._rows)


def fleet_scenario(
    traces: Path, budgets: tuple[int, int, int], jobs: int = 2_000, without: tuple[str, ...] = ()
) -> Scenario:
    """The scenario. budgets [USD] of the three cost centres; without: accelerators that no job
    takes."""
    market, start = _market(traces)
    speeds = {gpu: speed for gpu, speed in SPEEDS.items() if gpu not in without}
    specs = _jobs(traces, start, jobs, speeds)
    total = sum(budgets)
    capabilities = Capabilities(
        floating=True, notice_ns=30 * SECOND, grant_delay_ns=20 * SECOND, boot_ns=MINUTE
    )
    model = MarketModel(capabilities=capabilities, depth=-1)
    return Scenario(
        settings=EngineSettings(origin=start, tick=5 * MINUTE, accrual=HOUR, horizon=2 * HOUR),
        budgets=(
            Budget(cost_centre=CostCentre("lab"), amount=total * MICRO),
            *(
                Budget(
                    cost_centre=CostCentre(name), parent=CostCentre("lab"), amount=amount * MICRO
                )
                for name, amount in zip(CENTRES, budgets, strict=True)
            ),
        ),
        jobs=specs,
        trace=market,  # type: ignore[arg-type]
        markets={pool.provider: model for pool in market.pools},
        seed=SEED,
        title="2,000 Philly jobs on a mixed market",
    )


def _market(traces: Path) -> tuple[MixedMarket, int]:
    draft = read_dataset("primeintellect_gpu_market", traces / "primeintellect_gpu_market")
    start = draft.header.start
    zones, fleets = _zones(traces), _fleets(traces)
    pools: list[PoolInfo] = []
    rows: list[MarketRow] = []

    def add(pool: PoolInfo, prices: Steps, depths: Steps) -> None:
        number = len(pools)
        pools.append(pool)
        if pool.tenure is Tenure.SPOT:
            zone = zones[number % len(zones)]
            up = _turned(zone, draw(SEED, "zone", pool.id, SPAN))
            depths = _merged(depths, up, lambda depth, is_up: depth if is_up else 0)
        for at, rate, depth in _joined(prices, depths):
            rows.append(MarketRow(start + at, number, rate, depth))

    for index, pool in enumerate(draft.header.pools):
        own = [row for row in draft.rows if isinstance(row, MarketRow) and row.pool == index]
        spot = make_pool(pool.provider, "", "", pool.instance, pool.gpu, 1, Tenure.SPOT)
        prices = [(row.at - start, row.rate) for row in own if row.rate > 0]
        depths = [(row.at - start, min(OFFERS_MOST, max(0, row.depth))) for row in own]
        add(spot, prices, depths)
    for pool, prices in _google(traces):
        fleet = fleets[draw(SEED, "fleet", pool.id, len(fleets))]
        turned = _turned(fleet, draw(SEED, "minute", pool.id, SPAN))
        spot = pool.tenure is Tenure.SPOT
        add(pool, prices, turned if spot else [(0, -1)])
    rows.sort(key=lambda row: (row.at, row.pool))
    return MixedMarket(pools, rows, start + SPAN), start


def _google(traces: Path) -> list[tuple[PoolInfo, Steps]]:
    """Spot in the cheapest regions, on-demand in one, with the prices of the last 20 days."""
    draft = read_dataset("gcp_gpu_price_history", traces / "gcp_gpu_price_history")
    first = draft.header.end - SPAN
    prices: dict[int, Steps] = {}
    for row in draft.rows:
        if isinstance(row, MarketRow) and row.rate > 0:
            steps = prices.setdefault(row.pool, [])
            if row.at <= first:
                steps.clear()
            steps.append((max(0, row.at - first), row.rate))
    chosen = []
    for instance in GOOGLE_TYPES:
        own = [(i, p) for i, p in enumerate(draft.header.pools) if p.instance == instance]
        spot = [(prices[i][-1][1], p.id, i) for i, p in own if p.tenure is Tenure.SPOT]
        chosen += [i for _, _, i in sorted(spot)[:REGIONS]]
        chosen += [i for i, p in own if p.tenure is Tenure.ON_DEMAND and p.region == "us-central1"]
    return [(draft.header.pools[i], prices[i]) for i in chosen]


def _zones(traces: Path) -> list[Steps]:
    """Whether spot could be had in each of the nine zones, over the recording."""
    draft = read_dataset("cant_be_late", traces / "cant_be_late", year=2023)
    return _series(draft)


def _fleets(traces: Path) -> list[Steps]:
    """An eighth of the size of each recorded fleet, over its recording."""
    folder = traces / "spot_fleet_counts"
    found = []
    for name in FLEETS:
        (steps,) = _series(read_dataset("spot_fleet_counts", folder / f"{name}.csv"))
        found.append([(at, size // FLEET_SHARE) for at, size in steps])
    return found


def _series(draft: Any) -> list[Steps]:
    """Depth over time of each spot pool; the last point is the recording's end."""
    start, end = draft.header.start, draft.header.end
    rows = [row for row in draft.rows if isinstance(row, MarketRow)]
    found = []
    for index, pool in enumerate(draft.header.pools):
        if pool.tenure is Tenure.SPOT:
            own = [(r.at - start, r.depth) for r in rows if r.pool == index]
            found.append([*own, (end - start, own[-1][1])])
    return found


def _turned(steps: Steps, by: int) -> Steps:
    """A recording from a later instant on, round and round, for the whole span."""
    length = steps[-1][0]
    by %= length
    found: Steps = []
    for turn in itertools.count():
        offset = turn * length - by
        if offset >= SPAN:
            break
        for at, value in steps[:-1]:
            if offset + at <= 0:
                found[:] = [(0, value)]
            elif offset + at < SPAN:
                found.append((offset + at, value))
    return found


def _merged(left: Steps, right: Steps, of: Any) -> Steps:
    """Two step functions as one."""
    return [(at, of(*values)) for at, *values in _joined(left, right)]


def _joined(left: Steps, right: Steps) -> list[tuple[int, int, int]]:
    """Both values at each instant at which one changes, once both are known."""
    changes = sorted([(at, 0, value) for at, value in left] + [(at, 1, v) for at, v in right])
    now: list[int | None] = [None, None]
    found: dict[int, tuple[int, int]] = {}
    for at, side, value in changes:
        now[side] = value
        if now[0] is not None and now[1] is not None:
            found[at] = (now[0], now[1])
    kept: list[tuple[int, int, int]] = []
    for at, (one, other) in found.items():
        if not kept or kept[-1][1:] != (one, other):
            kept.append((at, one, other))
    return kept


def _jobs(traces: Path, start: int, count: int, speeds: dict[str, int]) -> tuple[JobSpec, ...]:
    rows: list[Any] = list(read_dataset("philly_jobs", traces / "philly_jobs").rows)
    first = rows[-1].at - 14 * DAY
    rows = [row for row in rows if row.at >= first]
    picked = [rows[i * len(rows) // count] for i in range(count)]
    return tuple(_job(row, start + row.at - first, speeds) for row in picked)


def _job(row: Any, at: int, speeds: dict[str, int]) -> JobSpec:
    work = min(48 * HOUR, max(5 * MINUTE, row.duration_ns))
    slack = 1_300 + draw(SEED, "slack", row.id, 1_701)
    ticket = draw(SEED, "priority", row.id, 10)
    centre = CENTRES[draw(SEED, "centre", row.group, len(CENTRES))]
    return JobSpec(
        id=JobId(row.id),
        cost_centre=CostCentre(centre),
        requirement=Requirement(throughput=speeds, gpus=1, nodes=row.gpus * row.nodes),
        work=work,
        submitted_at=at,
        start_overhead=START_OVERHEAD,
        checkpoint_interval=CHECKPOINT,
        deadline=at + HOUR + (START_OVERHEAD + work) * slack // 1_000,
        priority=0 if ticket < 7 else 1 if ticket < 9 else 2,
    )
