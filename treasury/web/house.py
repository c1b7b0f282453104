"""What the API needs of the daemon."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from treasury.domain.events import Input
from treasury.domain.ids import JobId
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.ports import Clock, Offload, Store


class Asked(Protocol):
    """The agent, as far as it is asked."""

    @property
    def book(self) -> Book:
        """The agent's state: read on the loop's thread, changed by nobody else."""
        ...

    async def submit(self, *inputs: Input) -> Entry:
        """Decide on inputs in one committed turn."""
        ...

    def watch(self, watcher: Callable[[Entry, Book], None], /) -> Callable[[], None]:
        """Be told of each committed turn; returns how to stop."""
        ...


async def _silent(_job: JobId, _follow: bool) -> AsyncIterator[str]:
    lines: tuple[str, ...] = ()
    for line in lines:
        yield line


@dataclass(frozen=True, kw_only=True)
class House:
    """A running daemon as the API sees it.

    agent: the turn loop. clock: the machine's. history: a second store of the same database, only
    read, and only through `offload`. state: the state directory. status: how the daemon is, `ready`
    (bool) and whatever else can be JSON. reload: read the configuration again; what changed, a line
    each; raises ConfigError. logs: what a job wrote, line by line without line breaks, and with the
    second argument what it writes until it ends. metrics: Prometheus' text format. bundle: the node
    agent as a zip application, empty where there is none.
    """

    agent: Asked
    clock: Clock
    history: Store
    offload: Offload
    state: Path
    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[Sequence[str]]]
    logs: Callable[[JobId, bool], AsyncIterator[str]] = _silent
    metrics: Callable[[], bytes] = bytes
    bundle: Callable[[], bytes] = bytes
