"""The processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from treasury_simulations.sweep.cells import Chunk
from treasury_simulations.sweep.engines import ATTEMPTS, Batches, Work, killed


class LocalEngine:
    """A pool of processes. workers: how many, 0 for one a core."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, work: Work, chunks: Sequence[Chunk]) -> Batches:
        """See `SweepEngine`. A pool that lost a process is thrown away; its unfinished chunks start
        again in a new one."""
        left = dict(enumerate(chunks))
        context = _context()
        deaths = 0
        while left:
            before = len(left)
            pool = ProcessPoolExecutor(
                min(self.workers, len(left)), context, initializer=_live_and_die_with_parent
            )
            others = {child.pid for child in multiprocessing.active_children()}
            try:
                futures = {pool.submit(work, chunk): number for number, chunk in left.items()}
                for future in as_completed(futures):
                    rows = future.result()
                    del left[futures[future]]
                    yield rows
            except BrokenProcessPool:
                deaths = deaths + 1 if len(left) == before else 1
                if deaths >= ATTEMPTS:
                    raise killed("local") from None
            finally:
                _stop(pool, others, abandon=bool(left))


def _context() -> BaseContext:
    """Fresh processes, not copies of this one: a copy may inherit a lock that nobody will open."""
    methods: list[str] = multiprocessing.get_all_start_methods()
    if "forkserver" not in methods:
        return multiprocessing.get_context("spawn")
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["treasury_simulations.sweep.cells"])
    server: BaseContext = context
    return server


def _live_and_die_with_parent() -> None:
    """What a worker does first. Ctrl-C reaches every process of the terminal, and what happens then
    is the parent's business; when that is killed, nobody else would end its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stop(pool: ProcessPoolExecutor, others: set[int | None], *, abandon: bool) -> None:
    """End a pool; one that is abandoned does not finish what it is at."""
    pool.shutdown(wait=not abandon, cancel_futures=True)
    if abandon:
        for child in multiprocessing.active_children():
            if child.pid not in others:
                child.terminate()
        pool.shutdown(wait=True)
