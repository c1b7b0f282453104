"""What the benchmarks replay: Can't-Be-Late windows and a Philly-like fleet, real where
TREASURY_SHARED names the folder of reference traces, else drawn from a seed."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.time import DAY, HOUR, MINUTE, NEVER, SECOND
from treasury_simulations.cant_be_late import SPOT_RATE, TICK, WORK, Published, scenario
from treasury_simulations.scenario import MarketModel, Scenario
from treasury_simulations.traces import PoolInfo, make_pool
from treasury_simulations.traces.importers import read_dataset
from treasury_simulations.traces.importers.cant_be_late import ON_DEMAND_RATE


class Market:
    """A market in memory; `make` yields its rows afresh each time, so that none are kept."""

    def __init__(self, pools: tuple[PoolInfo, ...], make: Any, end: int = NEVER) -> None:
        self.pools = pools
        self.market = make
        self.end = end


def shared() -> Path | None:
    """The folder of reference traces, if there is one."""
    folder = os.environ.get("TREASURY_SHARED", "")
    return Path(folder) if folder and Path(folder).is_dir() else None


class Window(NamedTuple):
    """One job in one zone. available: 1 or 0 a tick from its start to its deadline."""

    scenario: Scenario
    available: list[int]
    deadline: int
    overhead: int


def windows(count: int) -> tuple[str, list[Window]]:
    """Up to `count` windows for one 48 h job, and where they come from."""
    folder, dice = shared(), Random("windows")
    if folder is None:
        made = []
        for _ in range(count):
            deadline, overhead = dice.choice((52, 70)) * HOUR, dice.choice((72, 720)) * SECOND
            made.append(_window(_drawn(dice, deadline // TICK), deadline, overhead, 0))
        return "drawn from a seed", made
    published = Published(folder)
    cases = [reference.case for reference in published.references()]
    dice.shuffle(cases)
    made = [
        _window(published.availability(c), c.deadline, c.overhead, published.start(c))
        for c in cases[:count]
    ]
    return "AWS, October 2022", made


def _drawn(dice: Random, ticks: int) -> list[int]:
    """Spot that comes and goes every few hours."""
    available: list[int] = []
    while len(available) < ticks:
        available += [1] * dice.randint(1, 36) + [0] * dice.randint(1, 36)
    return available[:ticks]


def _window(available: list[int], deadline: int, overhead: int, start: int) -> Window:
    given = scenario(available, deadline=deadline, overhead=overhead, start=start)
    # Metered once in six hours: one job needs no closer look.
    settings = msgspec.structs.replace(given.settings, accrual=6 * HOUR, horizon=12 * HOUR)
    return Window(msgspec.structs.replace(given, settings=settings), available, deadline, overhead)


def lean_greedy(window: Window) -> float:
    """Greedy as a bare loop over ticks, nothing but arithmetic [USD]: what Python itself takes."""
    left, overhead, mode, cost = WORK, 0, "", 0
    for tick, spot in enumerate(window.available):
        if left <= 0:
            break
        remaining = window.deadline - tick * TICK
        if mode == "on_demand" or remaining - TICK < left + window.overhead + TICK:
            wanted = "on_demand"
        else:
            wanted = "spot" if spot else ""
        if wanted != mode and wanted:
            overhead = window.overhead
        mode = wanted
        if not mode:
            continue
        cost += ON_DEMAND_RATE if mode == "on_demand" else SPOT_RATE
        burnt = min(overhead, TICK)
        overhead -= burnt
        left -= TICK - burnt
    return cost * TICK / HOUR / NANO


def fleet(jobs: int, days: int) -> tuple[str, Scenario]:
    """A fleet: `jobs` jobs of three cost centres over `days` days on 20 pools, and their source."""
    dice = Random("fleet")
    source, sizes = _sizes(jobs, days)
    specs = []
    for number, (at, work, gpus) in enumerate(sizes):
        nodes = max(1, gpus // 8)
        specs.append(
            JobSpec(
                id=f"job-{number:05d}",
                cost_centre=("red", "green", "blue")[number % 3],
                requirement=Requirement(
                    {"V100": 1_000, "A100-40GB": 2_200}, gpus=min(gpus, 8), nodes=nodes
                ),
                work=work,
                submitted_at=at,
                start_overhead=3 * MINUTE,
                checkpoint_interval=30 * MINUTE,
                deadline=at + 3 * work + HOUR if dice.random() < 0.3 else None,
                priority=dice.choice((0, 0, 0, 1)),
            )
        )
    specs.sort(key=lambda spec: (spec.submitted_at, spec.id))
    budgets = (
        Budget(cost_centre="lab", amount=10_000_000 * MICRO),
        *(Budget(cost_centre=c, parent="lab", amount=4_000_000 * MICRO) for c in _CENTRES),
    )
    capabilities = Capabilities(floating=True, notice_ns=2 * MINUTE, boot_ns=MINUTE)
    given = Scenario(
        settings=EngineSettings(tick=10 * MINUTE, accrual=6 * HOUR, horizon=12 * HOUR),
        budgets=budgets,
        jobs=tuple(specs),
        trace=_fleet_market(days),  # type: ignore[arg-type]
        markets={"aws": MarketModel(capabilities=capabilities, depth=-1)},
    )
    return source, given


_CENTRES = ("red", "green", "blue")


def _sizes(jobs: int, days: int) -> tuple[str, list[tuple[int, int, int]]]:
    """(submitted [ns], work [ns], GPUs) of each job; work of at most two days."""
    folder = shared()
    if folder is None:
        dice = Random("sizes")
        drawn = [
            (
                dice.randrange(days * DAY),
                min(2 * DAY, int(dice.lognormvariate(9, 1.6)) * SECOND + MINUTE),
                dice.choice((1, 1, 1, 1, 2, 4, 8, 16)),
            )
            for _ in range(jobs)
        ]
        return "drawn from a seed", sorted(drawn)
    # The last weeks: the first ones hold next to nothing.
    rows: list[Any] = list(read_dataset("philly_jobs", folder / "traces" / "philly_jobs").rows)
    first = rows[-1].at - days * DAY
    rows = [row for row in rows if row.at >= first]
    kept = [rows[i * len(rows) // jobs] for i in range(min(jobs, len(rows)))]
    made = [(r.at - first, min(2 * DAY, r.duration_ns), r.gpus * r.nodes) for r in kept]
    return "Microsoft Philly, 2017", made


def _fleet_market(days: int) -> Market:
    """Fourteen spot pools whose prices move hourly or so and which run dry now and then, and six
    on-demand pools."""
    shapes = (("V100", 1, 9), ("V100", 8, 70), ("A100-40GB", 1, 13), ("A100-40GB", 8, 105))
    pools, rates = [], []
    for index in range(20):
        gpu, gpus, rate = shapes[index % 4]
        spot = index < 14
        tenure = Tenure.SPOT if spot else Tenure.ON_DEMAND
        zone = f"z{index:02d}"
        pools.append(make_pool("aws", "us", zone, f"{gpu}x{gpus}", gpu, gpus, tenure))
        rates.append(rate * NANO // 10 * (1 if spot else 3))

    def rows() -> Iterator[tuple[int, int, int, int]]:
        dice = Random("fleet market")
        for index, rate in enumerate(rates):
            yield 0, index, rate, 40 if index < 14 else -1
        for at in range(30 * MINUTE, days * DAY, 30 * MINUTE):
            for index in range(14):
                if dice.random() < 0.3:
                    rate = rates[index] * dice.randint(70, 140) // 100
                    yield at, index, rate, dice.choice((0, 8, 40, 40, 40, 40))

    return Market(tuple(pools), rows, end=days * DAY)


def long_market(days: int, jobs: int) -> Scenario:
    """A market of any length that nobody keeps, with the same few jobs spread over it."""
    step = days * DAY // jobs
    specs = tuple(
        JobSpec(
            id=f"job-{number:03d}",
            cost_centre="lab",
            requirement=Requirement({"V100": 1_000}, tenures=("on_demand",)),
            work=HOUR,
            submitted_at=number * step,
        )
        for number in range(jobs)
    )
    return Scenario(
        settings=EngineSettings(tick=10 * MINUTE),
        budgets=(Budget(cost_centre="lab", amount=1_000_000 * MICRO),),
        jobs=specs,
        trace=_fleet_market(days),  # type: ignore[arg-type]
        markets={"aws": MarketModel(capabilities=Capabilities(floating=True), depth=-1)},
    )
