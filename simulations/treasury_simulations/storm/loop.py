"""A deterministic asyncio loop: time is virtual and jumps, scheduling is drawn from a seed.

The same seed gives the same order of every step. Sockets, processes and threads are refused, and
"nothing scheduled" is an error. Tasks belong to hosts: a host can be killed, whose tasks then never
run again, not even their `finally`, or paused, whose tasks run late.

It stands on private parts of asyncio (`PINNED`); a test looks at each of them on every Python.
"""

import asyncio
import contextvars
import hashlib
from asyncio import Handle, TimerHandle
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NoReturn

from treasury.domain.time import SECOND

Host = tuple[str, int]

# Which host a callback belongs to: (name, incarnation). What is set up outside belongs to nobody.
WORLD: Final[Host] = ("world", 0)
HOST: Final = contextvars.ContextVar("host", default=WORLD)
# What of asyncio is private and used here, by class.
PINNED: Final = {
    asyncio.BaseEventLoop: ("_run_once", "_timer_handle_cancelled"),
    Handle: ("_run",),
    asyncio: ("_set_running_loop",),
}


class Stuck(RuntimeError):
    """Nothing is scheduled: the program would wait for ever."""


class Escaped(RuntimeError):
    """The program reached for something that is outside the simulation."""


class VirtualLoop(asyncio.BaseEventLoop):
    """One simulated world of hosts. now_ns: virtual time [ns] since the loop was made; steps: how
    many callbacks have run; complaints: exceptions that nobody awaited.

    seed: None runs callbacks in the order asyncio would. trace: keeps `digest()` of every step.
    """

    def __init__(self, seed: int | None = None, *, trace: bool = False) -> None:
        super().__init__()
        self.now_ns = 0
        self.steps = 0
        # Called with the host before each of its steps: where a fault may strike.
        self.before_step: Callable[[Host], None] | None = None
        self._dice = None if seed is None else Random(seed)  # noqa: S311 - seeded: repeatable
        self._hash = hashlib.blake2b(digest_size=16) if trace else None
        self._timers: list[tuple[int, int, TimerHandle]] = []
        self._serial = 0
        self._dead: set[Host] = set()
        self._paused: dict[str, int] = {}
        self.complaints: list[str] = []
        self.set_exception_handler(self._complain)
        # Killed tasks are kept: collecting them would run their `finally` blocks.
        self._graveyard: list[Any] = []

    def _complain(self, _loop: object, context: dict[str, Any]) -> None:
        """What nobody awaited; that the dead left something undone is no news."""
        if "destroyed" not in context["message"]:
            self.complaints.append(f"{context['message']}: {context.get('exception')!r}")

    # --- time and scheduling ---------------------------------------------------------------------

    def time(self) -> float:
        """Virtual time in seconds, as asyncio wants it."""
        return self.now_ns / SECOND

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> TimerHandle:
        """As asyncio's; `when` is rounded to whole nanoseconds."""
        return self.call_at_ns(round(when * SECOND), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> TimerHandle:
        """As asyncio's."""
        at = self.now_ns + round(delay * SECOND)
        return self.call_at_ns(at, callback, *args, context=context)

    def call_at_ns(
        self,
        at: int,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> TimerHandle:
        """Run a callback at a virtual instant [ns]."""
        handle = TimerHandle(at / SECOND, callback, args, self, context)
        self._push(at, handle)
        return handle

    def _push(self, at: int, handle: TimerHandle) -> None:
        self._serial += 1
        heappush(self._timers, (at, self._serial, handle))

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        if not ready:
            while timers and timers[0][2].cancelled():
                heappop(timers)
            if not timers:
                raise Stuck(f"nothing is scheduled at {self.now_ns} ns")
            self.now_ns = max(self.now_ns, timers[0][0])
        while timers and timers[0][0] <= self.now_ns:
            timer = heappop(timers)[2]
            if not timer.cancelled():
                ready.append(timer)
        if not ready:
            return
        if self._dice is not None and len(ready) > 1:
            index = self._dice.randrange(len(ready))
            ready[0], ready[index] = ready[index], ready[0]
        self._step(ready.popleft())

    def _step(self, handle: Any) -> None:
        if handle.cancelled():
            return
        host: Host = handle._context.get(HOST, WORLD)  # noqa: SLF001
        if host in self._dead:
            self._graveyard.append(handle)
            return
        until = self._paused.get(host[0], 0)
        if until > self.now_ns:
            self._push(until, handle)
            return
        if self.before_step is not None:
            self.before_step(host)
            if host in self._dead:
                self._graveyard.append(handle)
                return
        self.steps += 1
        if self._hash is not None:
            name = getattr(handle._callback, "__qualname__", "")  # noqa: SLF001
            self._hash.update(f"{self.now_ns}|{host[0]}|{host[1]}|{name}\n".encode())
        handle._run()  # noqa: SLF001

    def digest(self) -> str:
        """Names the whole course so far: equal for equal seeds. Only with `trace`."""
        if self._hash is None:
            raise RuntimeError("the loop was made without trace=True")
        return self._hash.hexdigest()

    # --- hosts -----------------------------------------------------------------------------------

    def spawn(self, host: Host, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task of a host; what it starts belongs to the host, too."""
        context = contextvars.copy_context()
        context.run(HOST.set, host)
        task = self.create_task(work, context=context)
        self._graveyard.append(task)
        return task

    def kill(self, host: Host) -> None:
        """As kill -9: nothing of this incarnation ever runs again."""
        self._dead.add(host)

    def pause(self, name: str, until: int) -> None:
        """As SIGSTOP until a virtual instant [ns], then SIGCONT."""
        self._paused[name] = max(until, self._paused.get(name, 0))

    def bury(self) -> None:
        """End everything that is left: call it when what `finally` blocks could reach is gone. They
        run now, and what they raise is nobody's business any more."""
        self._dead.clear()
        asyncio._set_running_loop(self)  # noqa: SLF001 - for their `get_running_loop`
        try:
            for task in asyncio.all_tasks(self):
                work: Any = task.get_coro()
                with suppress(BaseException):
                    work.close()
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001
        self._graveyard.clear()
        self._ready.clear()  # type: ignore[attr-defined]
        self._timers.clear()
        self.run_until_complete(self.shutdown_asyncgens())

    # --- what is outside -------------------------------------------------------------------------

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector that would have to be woken."""

    def _process_events(self, event_list: object) -> None:
        """There is no selector."""


def outside() -> contextvars.Context:
    """A context that is no host's: what it runs is not killed or paused with anybody."""
    context = contextvars.copy_context()
    context.run(HOST.set, WORLD)
    return context


# What would leave the simulation: a thread's, a socket's or a process's timing is not ours to draw.
_OUTSIDE: Final = {
    "run_in_executor": "a thread (the Offload port runs blocking functions)",
    "create_connection": "a connection",
    "create_server": "a server",
    "create_unix_connection": "a connection",
    "create_unix_server": "a server",
    "create_datagram_endpoint": "a datagram endpoint",
    "getaddrinfo": "a name's address",
    "subprocess_exec": "a process",
    "subprocess_shell": "a shell",
    "add_signal_handler": "a signal",
}


def _refused(what: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise Escaped(f"the simulated program asked for {what}")

    return refuse


for _name, _what in _OUTSIDE.items():
    setattr(VirtualLoop, _name, _refused(_what))
