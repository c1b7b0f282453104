"""Dask: a cluster that is running, or one of this machine's processes for the while."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Final

from treasury.domain.errors import UserError
from treasury_simulations.sweep.cells import Chunk
from treasury_simulations.sweep.engines import ATTEMPTS, Batches, Work, killed, missing

# A cluster that does not answer for so long [s] is taken for absent.
_PATIENCE: Final = 15
# Distributed's own count is of tries after the first.
_RETRIES: Final = ATTEMPTS - 1


class DaskEngine:
    """scheduler: address such as `tcp://host:8786`; without one `workers` processes are started."""

    def __init__(self, scheduler: str = "", workers: int = 0) -> None:
        self.scheduler = scheduler
        self.workers = workers
        # Untyped in parts: what is used of it is named here and nowhere else.
        self._library: Any = _load()

    def run(self, work: Work, chunks: Sequence[Chunk]) -> Batches:
        """See `SweepEngine`. A worker that dies gives its chunks back to the scheduler."""
        library = self._library
        with ExitStack() as cleanup:
            client = self._connect(cleanup)
            # Not pure: the same chunk of another sweep must not be answered from memory.
            futures = client.map(work, list(chunks), pure=False, retries=_RETRIES)
            done = library.as_completed(futures, loop=client.loop, with_results=True)
            try:
                for _, rows in done:
                    yield rows
            except library.KilledWorker:
                raise killed("dask") from None
            finally:
                client.cancel(futures)

    def _connect(self, cleanup: ExitStack) -> Any:
        """A client; it and what was started for it end with `cleanup`."""
        place: Any = self.scheduler
        if not place:
            place = cleanup.enter_context(
                self._library.LocalCluster(
                    n_workers=self.workers or None,
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = self._library.Client(place, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(f"--scheduler {self.scheduler}: {error}") from None
        return cleanup.enter_context(client)


def _load() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise missing("dask") from None
