"""The published single-zone benchmark "Can't Be Late", replayed through the production engine.

One job of 48 h, one zone whose spot machine comes and goes as it did in October 2022, on-demand at
any time, a hard deadline, an overhead at every start. `python -m treasury_simulations.cant_be_late
FOLDER` compares what our strategies cost with the published reference, and our clairvoyant bound
with the published optimum.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import click
import msgspec

from treasury.domain.budget import Budget
from treasury.domain.errors import BadValue, TraceError, UserError
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Tenure
from treasury.domain.money import MICRO, format_money
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR
from treasury.ports import Strategy
from treasury_simulations.clairvoyant import clairvoyant_cost
from treasury_simulations.record import RunRecord
from treasury_simulations.scenario import MarketModel, Scenario
from treasury_simulations.simulate import simulate
from treasury_simulations.traces import MarketRow, PoolInfo, make_pool
from treasury_simulations.traces.importers.cant_be_late import (
    CAMPAIGNS,
    ON_DEMAND_RATE,
    tick_instant,
)

YEAR: Final = 2022
TICK: Final = CAMPAIGNS[YEAR].resolution_ns
SPOT_RATE: Final = CAMPAIGNS[YEAR].spot
WORK: Final = 48 * HOUR
OPTIMUM: Final = "clairvoyant_optimum"
_JOB: Final = JobId("job")
_PAYER: Final = CostCentre("benchmark")


class Case(NamedTuple):
    """One run of the benchmark. deadline, overhead: ns; window: its published number."""

    window: str
    zone: str
    deadline: int
    overhead: int


class Reference(NamedTuple):
    """The published figures of a case: policy -> cost [micro-USD]."""

    case: Case
    costs: dict[str, int]


class OneZone:
    """A market in memory: spot as the series says, on-demand always."""

    name = "cant-be-late"

    def __init__(self, start: int, availability: Sequence[int]) -> None:
        self.pools: tuple[PoolInfo, ...] = (
            make_pool("aws", "us-west-2", "a", "p3.2xlarge", "V100", 1, Tenure.SPOT),
            make_pool("aws", "us-west-2", "", "p3.2xlarge", "V100", 1, Tenure.ON_DEMAND),
        )
        self._start = start
        self._availability = availability

    def market(self) -> Iterator[MarketRow]:
        """Changes of spot's availability; beyond the series there is none."""
        yield MarketRow(self._start, 1, ON_DEMAND_RATE, -1)
        before = None
        for tick, there in enumerate((*self._availability, 0)):
            if there != before:
                yield MarketRow(self._start + tick * TICK, 0, SPOT_RATE, there)
            before = there


def scenario(
    availability: Sequence[int], *, deadline: int, overhead: int, work: int = WORK, start: int = 0
) -> Scenario:
    """One job in one zone as the production engine replays it: nothing is delayed or announced, and
    each started tick is paid whole. availability: 1 or 0 a tick; durations and `start` in ns."""
    spec = JobSpec(
        id=_JOB,
        cost_centre=_PAYER,
        requirement=Requirement({"V100": 1_000}),
        work=work,
        submitted_at=start,
        start_overhead=overhead,
        deadline=start + deadline,
    )
    capabilities = Capabilities(billing_step_ns=TICK, billing_minimum_ns=TICK)
    return Scenario(
        settings=EngineSettings(origin=start, tick=TICK),
        budgets=(Budget(cost_centre=_PAYER, amount=10_000 * MICRO),),
        jobs=(spec,),
        trace=cast(str, OneZone(start, availability)),
        markets={"aws": MarketModel(capabilities=capabilities)},
        title="Can't Be Late",
    )


class Published:
    """The published data in a folder: availability a tick, windows, reference costs."""

    def __init__(self, folder: Path) -> None:
        below = folder / "traces" / "cant_be_late"
        self.folder = below if below.is_dir() else folder
        self._ticks: dict[int, dict[str, int]] = {
            int(row["tick"]): {zone: int(value) for zone, value in row.items() if zone != "tick"}
            for row in self._rows(f"aws_{YEAR}_availability.csv.gz", ("tick",))
        }
        path = self.folder / f"windows_{YEAR}.json"
        try:
            windows = json.loads(path.read_text(encoding="utf-8"))
            self._windows: dict[str, int] = dict(windows["windows_start_tick"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TraceError(f"{path}: cannot be read as windows: {error}") from error

    def references(self) -> list[Reference]:
        """Every case with its published costs, in the file's order."""
        found: dict[Case, dict[str, int]] = {}
        columns = ("deadline_h", "overhead_h", "zone", "window", "policy", "cost_usd")
        for row in self._rows(f"reference_costs_dev_{YEAR}.csv.gz", columns):
            case = Case(
                row["window"],
                row["zone"],
                round(float(row["deadline_h"]) * HOUR),
                round(float(row["overhead_h"]) * HOUR),
            )
            found.setdefault(case, {})[row["policy"]] = round(float(row["cost_usd"]) * MICRO)
        return [Reference(case, costs) for case, costs in found.items()]

    def start(self, case: Case) -> int:
        """The instant [ns] of a case's first tick. Raises TraceError for an unknown window."""
        return tick_instant(YEAR, self._first_tick(case))

    def availability(self, case: Case) -> list[int]:
        """1 or 0 for each tick from the job's start to its deadline."""
        first = self._first_tick(case)
        nothing: dict[str, int] = {}
        return [
            self._ticks.get(first + tick, nothing).get(case.zone, 0)
            for tick in range(case.deadline // TICK)
        ]

    def _first_tick(self, case: Case) -> int:
        if case.window not in self._windows:
            raise TraceError(f"{self.folder}: no window {case.window!r} in windows_{YEAR}.json")
        return self._windows[case.window]

    def _rows(self, name: str, columns: Iterable[str]) -> Iterator[dict[str, str]]:
        path = self.folder / name
        try:
            with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                missing = set(columns) - set(reader.fieldnames or ())
                if missing:
                    raise TraceError(f"{path}: no column {', '.join(sorted(missing))}")
                yield from reader
        except (OSError, EOFError, ValueError) as error:
            raise TraceError(f"{path}: cannot be read: {error}") from error


def replay(published: Published, case: Case, strategy: Strategy) -> RunRecord:
    """One case with one strategy through the production engine."""
    return simulate(
        scenario(
            published.availability(case),
            deadline=case.deadline,
            overhead=case.overhead,
            start=published.start(case),
        ),
        strategy,
    )


def optimum(published: Published, case: Case) -> int:
    """The clairvoyant bound of a case [micro-USD]."""
    return clairvoyant_cost(
        published.availability(case),
        tick_ns=TICK,
        work_ns=WORK,
        deadline_ns=case.deadline,
        overhead_ns=case.overhead,
        spot_rate=SPOT_RATE,
        on_demand_rate=ON_DEMAND_RATE,
    ).cost_micros


class Agreement(msgspec.Struct):
    """How a policy of ours compares with its reference over some cases. Money in micro-USD."""

    policy: str
    runs: int = 0
    cost: int = 0
    reference: int = 0
    referred: int = 0
    furthest: int = 0
    late: int = 0

    def add(self, cost: int, reference: int | None, *, late: bool = False) -> None:
        """Take one run into account."""
        self.runs += 1
        self.cost += cost
        self.late += late
        if reference is not None:
            self.referred += 1
            self.reference += reference
            self.furthest = max(self.furthest, abs(cost - reference))

    @property
    def deviation(self) -> float:
        """Our mean over the reference's, less one."""
        return self.cost / self.reference - 1 if self.reference else 0.0


def compare(
    published: Published, references: Sequence[Reference], strategies: Sequence[str]
) -> list[Agreement]:
    """Replay cases with strategies, by name, and with hindsight."""
    from treasury.registry import load_strategy

    agreements = []
    for name in strategies:
        agreement = Agreement(name)
        for case, costs in references:
            record = replay(published, case, load_strategy(name, {}))
            (job,) = record.jobs
            late = job.late or job.state != "finished"
            agreement.add(record.waste.paid, costs.get(name), late=late)
        agreements.append(agreement)
    hindsight = Agreement(OPTIMUM)
    for case, costs in references:
        hindsight.add(optimum(published, case), costs.get(OPTIMUM))
    return [*agreements, hindsight]


def sample(references: Sequence[Reference], count: int) -> list[Reference]:
    """`count` cases spread evenly over all of them; 0 for all."""
    if count < 0:
        raise BadValue("sample", count, "a number of cases, 0 for all")
    if count == 0 or count >= len(references):
        return list(references)
    return [references[index * len(references) // count] for index in range(count)]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--sample", "count", default=0, help="Replay this many cases, spread evenly.")
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=("greedy", "uniform_progress"),
    show_default=True,
    help="What to replay; may be given several times.",
)
def main(folder: Path, count: int, strategies: tuple[str, ...]) -> None:
    """Compare strategies with the published costs of "Can't Be Late" in FOLDER."""
    try:
        published = Published(folder)
        found = compare(published, sample(published.references(), count), strategies)
    except UserError as error:
        raise click.UsageError(str(error)) from error
    line = "{:22} {:>6} {:>12} {:>12} {:>9} {:>12} {:>5}"
    click.echo(
        line.format("policy", "runs", "mean cost", "reference", "differs", "at most", "late")
    )
    for one in found:
        click.echo(line.format(*_cells(one)))


def _cells(one: Agreement) -> list[Any]:
    known = one.referred == one.runs and one.runs > 0
    return [
        one.policy,
        one.runs,
        format_money(one.cost // max(1, one.runs), places=4),
        format_money(one.reference // one.runs, places=4) if known else "-",
        f"{one.deviation:+.4%}" if known else "-",
        format_money(one.furthest, places=4) if known else "-",
        one.late,
    ]


if __name__ == "__main__":
    main()
