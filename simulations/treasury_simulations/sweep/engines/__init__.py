"""Engines that spread a sweep's chunks over processes and machines; all give the same rows.

Lives here: one adapter an engine. May not live here: what a chunk does. An engine runs each chunk
until it has its rows, however many workers die, and hands each chunk's rows over once.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol

from treasury.domain.errors import BadValue, UserError
from treasury_simulations.sweep.cells import Chunk, Row

Work = Callable[[Chunk], list[Row]]
Batches = Generator[list[Row], None, None]

ENGINES: Final = ("local", "dask", "ray")
# A chunk whose workers died this often is what kills them.
ATTEMPTS: Final = 3


class SweepEngine(Protocol):
    """How chunks are run."""

    def run(self, work: Work, chunks: Sequence[Chunk]) -> Batches:
        """The rows of each chunk, in whatever order they get done. work: a function of a module, so
        that other processes find it. Closing the iterator stops the workers. Raises what `work`
        raises, and UserError when workers keep dying."""
        ...


def make_engine(
    name: str = "local", *, workers: int = 0, scheduler: str = "", address: str = ""
) -> SweepEngine:
    """An engine by name. workers: processes on this machine, 0 for one a core. scheduler: of a
    running Dask cluster; address: of a running Ray cluster. Raises BadValue, UserError for an
    engine that is not installed."""
    if scheduler and name != "dask":
        raise BadValue("--scheduler", scheduler, "--engine dask beside it")
    if address and name != "ray":
        raise BadValue("--address", address, "--engine ray beside it")
    if name == "local":
        from treasury_simulations.sweep.engines.local import LocalEngine

        return LocalEngine(workers)
    if name == "dask":
        from treasury_simulations.sweep.engines.dask import DaskEngine

        return DaskEngine(scheduler, workers)
    if name == "ray":
        from treasury_simulations.sweep.engines.ray import RayEngine

        return RayEngine(address, workers)
    raise BadValue("--engine", name, f"one of {', '.join(ENGINES)}")


def missing(engine: str) -> UserError:
    """What to say where an engine's library is not installed."""
    return UserError(f"--engine {engine} needs its library: pip install 'spot-treasury[{engine}]'")


def killed(engine: str) -> UserError:
    """What to say when workers die again and again."""
    return UserError(
        f"workers of the {engine} engine died {ATTEMPTS} times over the same chunks (out of "
        "memory?); what was finished is kept: fewer --workers, then --resume"
    )
