"""Tasks that live as long as the daemon: the first that fails ends it.

Not `asyncio.TaskGroup`: it cancels in the order of a set, and what is seen then must not depend on
that.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Crew:
    """Tasks in the order in which they were started. Make it on the loop."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Run something beside the rest; it may end, but it may not fail."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def until(self, told: asyncio.Event) -> None:
        """Return when an event is set; raise what the first task that failed raised."""
        waiter = self.start(told.wait(), "until told")
        waiter.add_done_callback(self._told)
        await asyncio.shield(self._failed)

    def _told(self, waiter: "asyncio.Task[Any]") -> None:
        if not waiter.cancelled() and not self._failed.done():
            self._failed.set_result(None)

    async def stop(self) -> None:
        """Cancel all, in the order in which they were started, and wait for each."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            # What it raises now is of no use to anybody: the reason to stop came before.
            await asyncio.wait([task])
        if not self._failed.done():
            self._failed.cancel()
