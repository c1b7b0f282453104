"""A sweep from its grid to its results: chunks go to an engine, rows come back to the file."""

from collections.abc import Callable
from contextlib import closing

from treasury_simulations.sweep.cells import Row, run_chunk
from treasury_simulations.sweep.engines import SweepEngine
from treasury_simulations.sweep.grid import Grid
from treasury_simulations.sweep.results import Results, ordered


def run_sweep(
    grid: Grid,
    results: Results,
    engine: SweepEngine,
    *,
    per_chunk: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Run what is not in the results yet; all rows in the grid's order.

    progress: called with the number of cells each chunk added. Whatever ends it early, Ctrl-C
    included, leaves every chunk that came back on the disk and the engine's workers stopped.
    Raises UserError for a cell that cannot be run.
    """
    chunks = grid.chunks(results.rows, per_chunk)
    if chunks:
        with closing(engine.run(run_chunk, chunks)) as batches:
            for rows in batches:
                added = results.append(rows)
                if progress is not None:
                    progress(added)
    return ordered([cell.id for cell in grid.cells], results.rows)
