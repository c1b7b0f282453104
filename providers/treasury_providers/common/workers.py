"""Threads for SDKs that block: a pool of one's own, bounded, with a time limit on every call.

The pool of launches is apart from that of polling, or a slow region holds up a release.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from treasury.domain.errors import OutcomeUnknown, Unreachable

T = TypeVar("T")


class Workers:
    """At most `threads` calls at a time; those that are waiting can be called off."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._threads = name, threads
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    async def run(self, call: Callable[[], T], *, seconds: float, changes: bool) -> T:
        """The call's result or exception.

        After `seconds` the wait is over, though a thread cannot be stopped: give the SDK shorter
        limits of its own. A call that never began is Unreachable; one that began is OutcomeUnknown
        where it `changes` something, else Unreachable.
        """
        if self._closed:
            raise Unreachable(f"{self._name}: closed")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
        future = self._pool.submit(call)
        answer = asyncio.wrap_future(future)
        # Nobody waits for an answer that comes too late, and asyncio would complain of its error.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(seconds):
                # Shielded: a cancelled wait must not look like a call that was called off.
                return await asyncio.shield(answer)
        except TimeoutError as error:
            if future.cancel() or not changes:
                raise Unreachable(f"{self._name}: no answer in {seconds:g} s") from error
            raise OutcomeUnknown(f"{self._name}: no answer in {seconds:g} s") from error
        except asyncio.CancelledError:
            future.cancel()
            raise

    def close(self) -> None:
        """Take no more calls; those that run come to their own end. May be called again."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
