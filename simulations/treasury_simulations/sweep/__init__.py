"""Sweeps: strategies x parameters x markets x seeds, on all cores or a cluster, and what they say.

Lives here: the grid, what a worker runs for one cell of it, engines that spread cells over
processes and machines, the file of results, statistics over it, the report. May not live here:
how a run is replayed, and anything whose numbers depend on how many workers there are.
"""

from treasury_simulations.sweep.cells import Cell, Chunk, Row, Variant, run_chunk
from treasury_simulations.sweep.engines import SweepEngine, make_engine
from treasury_simulations.sweep.grid import Grid, scenario_grid
from treasury_simulations.sweep.results import Manifest, Results, read_manifest
from treasury_simulations.sweep.runner import run_sweep
from treasury_simulations.sweep.windows import window_grid

__all__ = [
    "Cell",
    "Chunk",
    "Grid",
    "Manifest",
    "Results",
    "Row",
    "SweepEngine",
    "Variant",
    "make_engine",
    "read_manifest",
    "run_chunk",
    "run_sweep",
    "scenario_grid",
    "window_grid",
]
