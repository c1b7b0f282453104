"""The file of results: torn lines, going on, other sweeps' results, and runs that end early."""

import os
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from tests.support.sweeps import small_grid
from treasury.domain.errors import NotFound, UserError
from treasury_simulations.sweep import Chunk, Grid, Results, Row, run_chunk, run_sweep
from treasury_simulations.sweep.engines import Batches, Work
from treasury_simulations.sweep.overrides import Override
from treasury_simulations.sweep.results import RUNS, open_results, read_rows


class Here:
    """An engine that runs chunks in this process, the last one first. most: chunks after which it
    is interrupted, as by Ctrl-C."""

    def __init__(self, most: int = 1_000) -> None:
        self.most = most
        self.ran = 0
        self.closed = False

    def run(self, work: Work, chunks: Sequence[Chunk]) -> Batches:
        """See `SweepEngine`."""
        return self._run(work, chunks)

    def _run(self, work: Work, chunks: Sequence[Chunk]) -> Generator[list[Row], None, None]:
        try:
            for chunk in reversed(chunks):
                if self.ran == self.most:
                    raise KeyboardInterrupt
                self.ran += 1
                yield work(chunk)
        finally:
            self.closed = True


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """Two strategies, three seeds and the bound."""
    return small_grid(tmp_path)


def test_going_on_runs_what_is_missing_and_nothing_else(grid: Grid, tmp_path: Path) -> None:
    """After an interruption the rest runs, and the rows are those of a sweep in one go."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    rows = run_sweep(grid, Results(whole, grid, resume=False, force=False), Here())
    first = Here(most=4)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(grid, Results(out, grid, resume=False, force=False), first)
    assert first.closed
    assert len(read_rows(out / RUNS)[0]) == 4
    second = Here()
    seen: list[int] = []
    results = Results(out, grid, resume=True, force=False)
    again = run_sweep(grid, results, second, progress=seen.append)
    assert (second.ran, sum(seen)) == (len(grid.cells) - 4, len(grid.cells) - 4)
    assert again == rows == open_results(out)[1]
    assert [row.cell for row in rows] == [cell.id for cell in grid.cells]


@pytest.mark.parametrize("torn", [b"", b"{", b'{"cell":"x","variant"'])
def test_a_torn_last_line_is_cut_off_and_its_cell_runs_again(
    grid: Grid, tmp_path: Path, torn: bytes
) -> None:
    """Whatever a crash leaves of the last line, the file is whole after going on."""
    out = tmp_path / "out"
    rows = run_sweep(grid, Results(out, grid, resume=False, force=False), Here())
    content = (out / RUNS).read_bytes()
    lines = content.splitlines(keepends=True)
    (out / RUNS).write_bytes(b"".join(lines[:-1]) + torn)
    engine = Here()
    assert run_sweep(grid, Results(out, grid, resume=True, force=False), engine) == rows
    assert engine.ran == 1
    assert sorted((out / RUNS).read_bytes().splitlines()) == sorted(content.splitlines())


def test_every_cut_of_the_file_is_mended(grid: Grid, tmp_path: Path) -> None:
    """Cut off after any number of bytes, the file opens with exactly its whole lines."""
    out = tmp_path / "out"
    run_sweep(grid, Results(out, grid, resume=False, force=False), Here())
    content = (out / RUNS).read_bytes()
    for length in range(0, len(content), 97):
        (out / RUNS).write_bytes(content)
        os.truncate(out / RUNS, length)
        results = Results(out, grid, resume=True, force=False)
        assert len(results.rows) == content[:length].count(b"\n")
        assert (out / RUNS).read_bytes() == content[: content[:length].rfind(b"\n") + 1]


def test_a_row_that_comes_twice_is_written_once(grid: Grid, tmp_path: Path) -> None:
    """A cell's second row, and one that nobody asked for, change nothing."""
    results = Results(tmp_path / "out", grid, resume=False, force=False)
    rows = run_chunk(grid.chunks((), 1)[0])
    assert results.append(rows) == 1
    content = results.path.read_bytes()
    assert results.append(rows) == 0
    strangers = small_grid(tmp_path, seeds=[99], bound=0)
    assert results.append(run_chunk(strangers.chunks((), 1)[0])) == 0
    assert results.path.read_bytes() == content


def test_another_configurations_results_are_refused(grid: Grid, tmp_path: Path) -> None:
    """A changed key makes other cells: the folder is refused, unchanged, until force drops them."""
    out = tmp_path / "out"
    run_sweep(grid, Results(out, grid, resume=False, force=False), Here())
    content = (out / RUNS).read_bytes()
    changed = small_grid(tmp_path, overrides=[Override("provider.aws.boot", ("3m",))])
    with pytest.raises(UserError, match=r"9 of its 9 results are of another sweep.*--force"):
        Results(out, changed, resume=True, force=False)
    with pytest.raises(UserError, match="--resume goes on"):
        Results(out, grid, resume=False, force=False)
    assert (out / RUNS).read_bytes() == content
    assert Results(out, changed, resume=True, force=True).rows == {}
    assert (out / RUNS).read_bytes() == b""


def test_a_wider_sweep_keeps_what_it_shares(grid: Grid, tmp_path: Path) -> None:
    """More seeds and strategies go on with the results of fewer; the other way is refused."""
    out = tmp_path / "out"
    run_sweep(grid, Results(out, grid, resume=False, force=False), Here())
    wider = small_grid(tmp_path, seeds=range(1, 6), strategies=("greedy", "on_demand", "optimal"))
    results = Results(out, wider, resume=True, force=False)
    assert len(results.rows) == len(grid.cells)
    with pytest.raises(UserError, match="of another sweep"):
        Results(out, small_grid(tmp_path, seeds=[1]), resume=True, force=False)


def test_strangers_files_and_broken_lines_are_said(grid: Grid, tmp_path: Path) -> None:
    """A folder of somebody else's, a folder without a sweep, a line that is no result."""
    out = tmp_path / "out"
    out.mkdir()
    (out / RUNS).write_text("mine\n")
    with pytest.raises(UserError, match="no sweep wrote"):
        Results(out, grid, resume=True, force=True)
    with pytest.raises(NotFound, match="no sweep there"):
        open_results(out)
    (out / RUNS).unlink()
    Results(out, grid, resume=False, force=False)
    (out / RUNS).write_text('{"cell":"x"}\n')
    with pytest.raises(UserError, match=rf"{RUNS}:1: cannot be read as a result"):
        Results(out, grid, resume=True, force=False)
