"""Every engine gives the same rows, and a killed worker costs no row and doubles none."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweeps import die_always, die_once, small_grid
from treasury.domain.errors import BadValue, UserError
from treasury_simulations.sweep import (
    Results,
    Row,
    SweepEngine,
    make_engine,
    run_chunk,
    run_sweep,
)
from treasury_simulations.sweep.engines import Work
from treasury_simulations.sweep.engines.local import LocalEngine

Require = Callable[[object, str], None]


@pytest.fixture(params=["local", "dask", "ray"])
def engine(request: pytest.FixtureRequest, require: Require) -> Iterator[SweepEngine]:
    """Each engine with two workers; for Dask a cluster of its own is connected to."""
    name = request.param
    if name == "local":
        yield make_engine("local", workers=2)
        return
    library = {"dask": "distributed", "ray": "ray"}[name]
    if name == "ray":
        # 200 MB for an engine beside two others: it is tried where somebody has installed it.
        if find_spec(library) is None:
            pytest.skip("ray is not installed")
        yield make_engine("ray", workers=2)
        return
    require(find_spec(library), f"{library} is not installed")
    with dask_cluster() as address:
        yield make_engine("dask", scheduler=address)


@contextmanager
def dask_cluster() -> Iterator[str]:
    """A scheduler and two worker processes; yields the address."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def collected(engine: SweepEngine, work: Work, chunks: Sequence[Any]) -> list[Row]:
    """All rows an engine hands over."""
    return [row for rows in engine.run(work, chunks) for row in rows]


@pytest.mark.filterwarnings("default")
def test_rows_are_those_of_one_process(engine: SweepEngine, tmp_path: Path) -> None:
    """Whatever the engine and however cells are chunked, the rows are those a plain loop makes."""
    grid = small_grid(tmp_path)
    plain = [row for chunk in grid.chunks((), 100) for row in run_chunk(chunk)]
    assert len(plain) == len(grid.cells) == 9
    spread = collected(engine, run_chunk, grid.chunks((), 2))
    assert sorted(spread, key=lambda row: row.cell) == sorted(plain, key=lambda row: row.cell)


@pytest.mark.filterwarnings("default")
def test_a_killed_worker_loses_and_doubles_nothing(engine: SweepEngine, tmp_path: Path) -> None:
    """A worker that gets SIGKILL in the middle leaves each cell with exactly one row."""
    grid = small_grid(tmp_path, seeds=range(6))
    doomed = grid.cells[len(grid.cells) // 2].id
    work = partial(die_once, str(tmp_path), doomed)
    rows = collected(engine, work, grid.chunks((), 1))
    assert (tmp_path / "killed").exists()
    assert sorted(row.cell for row in rows) == sorted(cell.id for cell in grid.cells)


def test_a_killed_sweep_leaves_nobody_behind_and_goes_on(tmp_path: Path) -> None:
    """SIGKILL for the sweep itself: its workers leave as well, and going on completes it."""
    script = f"from tests.support.sweeps import sweep_until_killed as s; s({str(tmp_path)!r})"
    # Workers hold the pipes, too: that they reach their end shows that no worker is left.
    killed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    grid = small_grid(tmp_path)
    results = Results(tmp_path / "out", grid, resume=True, force=False)
    assert len(results.rows) < len(grid.cells)
    rows = run_sweep(grid, results, LocalEngine(2))
    assert rows == [row for chunk in grid.chunks((), 100) for row in run_chunk(chunk)]


def test_what_kills_every_worker_is_said(tmp_path: Path) -> None:
    """A chunk that no process survives ends the sweep with advice, and is not tried for ever."""
    grid = small_grid(tmp_path, seeds=[1], bound=0)
    with pytest.raises(UserError, match=r"died 3 times.*--resume"):
        collected(LocalEngine(1), die_always, grid.chunks((), 1)[:1])


def test_a_users_mistake_arrives_as_one(engine: SweepEngine, tmp_path: Path) -> None:
    """A trace that vanishes while it is swept is told with the cell's name, not as a traceback."""
    grid = small_grid(tmp_path, seeds=[1], bound=0)
    (tmp_path / "market.trace").unlink()
    with pytest.raises(UserError, match=r"greedy on trace .*no such file"):
        collected(engine, run_chunk, grid.chunks((), 1)[:1])


def test_addresses_belong_to_their_engines(require: Require) -> None:
    """An address beside the wrong engine, or one that nobody answers at, is a user's mistake."""
    with pytest.raises(BadValue, match="--engine dask beside it"):
        make_engine("local", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(BadValue, match="--engine ray beside it"):
        make_engine("dask", address="127.0.0.1:1")
    with pytest.raises(BadValue, match="one of local, dask, ray"):
        make_engine("spark")
