"""Ray: a cluster that is running, or one of this machine's processes for the while."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from treasury.domain.errors import UserError
from treasury_simulations.sweep.cells import Chunk, Row
from treasury_simulations.sweep.engines import ATTEMPTS, Batches, Work, killed, missing


class RayEngine:
    """address: of a cluster, such as `host:6379` or `auto`; without one `workers` processes are
    started."""

    def __init__(self, address: str = "", workers: int = 0) -> None:
        self.address = address
        self.workers = workers
        self._library: Any = _load()

    def run(self, work: Work, chunks: Sequence[Chunk]) -> Batches:
        """See `SweepEngine`. A worker that dies gives its chunk to another one."""
        library = self._library
        self._connect()
        try:
            remote = library.remote(max_retries=ATTEMPTS - 1)(_call)
            waiting = [remote.remote(work, chunk) for chunk in chunks]
            while waiting:
                (done, *_), waiting = library.wait(waiting, num_returns=1)
                yield _rows(library, done)
        finally:
            library.shutdown()

    def _connect(self) -> None:
        # Nobody is told that treasury is used.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        more: dict[str, Any] = {"address": self.address} if self.address else {"address": "local"}
        if not self.address:
            more |= {"num_cpus": self.workers or None, "include_dashboard": False}
        try:
            self._library.init(log_to_driver=False, logging_level="ERROR", **more)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--address {self.address}: {error}") from None


def _call(work: Work, chunk: Chunk) -> list[Row]:
    """Ray takes a plain function only; a chunk's work may be any callable."""
    return work(chunk)


def _rows(library: Any, done: Any) -> Any:
    """A finished chunk's rows, or what went wrong as itself."""
    try:
        return library.get(done)
    except library.exceptions.WorkerCrashedError:
        raise killed("ray") from None
    except library.exceptions.RayTaskError as error:
        raise error.cause from None


def _load() -> Any:
    try:
        return import_module("ray")
    except ImportError:
        raise missing("ray") from None
