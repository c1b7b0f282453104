"""A small sweep: a day of spot that comes and goes, two jobs, dice that refuse; and a worker that
is killed in the middle."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from treasury.domain.market import Tenure
from treasury.domain.time import DAY, HOUR, parse_instant
from treasury_simulations.sweep import Chunk, Grid, Results, Row, run_chunk, scenario_grid
from treasury_simulations.sweep.engines.local import LocalEngine
from treasury_simulations.sweep.overrides import Override, Template
from treasury_simulations.traces import MarketRow, Provenance, TraceHeader, make_pool, write_trace

START = parse_instant("2023-03-01T00:00:00Z")
CONFIG = """
[engine]
tick = "5m"
[provider.aws]
boot = "1m"
refusals = 400
[[budget]]
cost_centre = "team"
amount = "100 USD"
[[job]]
id = "a"
cost_centre = "team"
gpu = "V100"
work = "3h"
start_overhead = "5m"
[[job]]
id = "b"
cost_centre = "team"
gpu = "V100"
work = "2h"
submit_at = "+1h"
deadline = "+6h"
[simulation]
title = "A small one"
trace = "{trace}"
"""


def write_small(folder: Path, rate: int = 1_200_000_000) -> Path:
    """The trace and a configuration that names it; returns the configuration's path. rate: of spot
    once it is back [nano-USD/h]."""
    pools = tuple(
        make_pool("aws", "r", "z", "m", "V100", 1, tenure)
        for tenure in (Tenure.SPOT, Tenure.ON_DEMAND)
    )
    header = TraceHeader(
        name="market",
        kinds=("market",),
        provenance=Provenance(source="by hand", licence="CC0-1.0", attribution="nobody"),
        start=START,
        end=START + DAY,
        depth_kind="count",
        pools=pools,
    )
    rows = [
        MarketRow(START, 0, 1_000_000_000, 2),
        MarketRow(START, 1, 3_000_000_000, 8),
        MarketRow(START + 2 * HOUR, 0, 1_000_000_000, 0),
        MarketRow(START + 4 * HOUR, 0, rate, 2),
    ]
    write_trace(folder / "market.trace", header, rows)
    path = folder / "small.toml"
    path.write_text(CONFIG.format(trace=folder / "market.trace"))
    return path


def small_grid(
    folder: Path,
    *,
    strategies: Sequence[str] = ("greedy", "on_demand"),
    overrides: Sequence[Override] = (),
    seeds: Sequence[int] = (1, 2, 3),
    bound: int = HOUR,
) -> Grid:
    """Strategies and hindsight over the small market."""
    return scenario_grid(
        Template(write_small(folder)),
        strategies=strategies,
        overrides=overrides,
        seeds=seeds,
        bound=bound,
    )


def die_once(folder: str, doomed: str, chunk: Chunk) -> list[Row]:
    """`run_chunk` in a process that is killed when it comes to a cell for the first time."""
    if any(cell.id == doomed for cell in chunk.cells):
        mark = Path(folder) / "killed"
        if not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
    return run_chunk(chunk)


def kill_parent(doomed: str, chunk: Chunk) -> list[Row]:
    """`run_chunk`, until it comes to a cell: then whoever runs the sweep is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and any(cell.id == doomed for cell in chunk.cells):
        os.kill(parent.pid or 0, signal.SIGKILL)
    return run_chunk(chunk)


def sweep_until_killed(folder: str) -> None:
    """A sweep of the small market with two workers whose process is killed in the middle."""
    grid = small_grid(Path(folder))
    results = Results(Path(folder) / "out", grid, resume=False, force=False)
    work = partial(kill_parent, grid.cells[len(grid.cells) // 2].id)
    for rows in LocalEngine(2).run(work, grid.chunks((), 1)):
        results.append(rows)


def die_always(chunk: Chunk) -> list[Row]:
    """A chunk that no process survives."""
    os.kill(os.getpid(), signal.SIGKILL)
    return run_chunk(chunk)
