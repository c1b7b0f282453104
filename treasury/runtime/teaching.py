"""Teaching a strategy what an earlier one saw, while the rest of the daemon is at work already.

Metering, listing and giving back must not wait for it: a strategy may take as long to learn as it
took to decide.
"""

from functools import partial
from itertools import islice
from typing import Final

from treasury.domain.errors import Deposed, StoreError
from treasury.domain.plan import Snapshot
from treasury.domain.time import DAY, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Recollection
from treasury.ports import Clock, Offload, Store, Strategy
from treasury.runtime.observer import Observer

# How far back strategies are asked again what was asked before.
MEMORY: Final = 14 * DAY
# Turns read at once: commits wait for no more than these.
_AT_ONCE: Final = 500
_RETRY: Final = 5 * SECOND


class Teacher:
    """Reads the journal in the storage thread and asks in the planning thread, in turns.

    memory [ns]: questions that are older are not asked again.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        storage: Offload,
        planning: Offload,
        observer: Observer,
        memory: int = MEMORY,
    ) -> None:
        self._store, self._clock, self._memory = store, clock, memory
        self._storage, self._planning, self._observer = storage, planning, observer

    async def teach(self, strategy: Strategy, upto: int) -> Snapshot | None:
        """Ask what the journal's turns up to number `upto` asked: the question that is open there,
        if any, not yet asked. Raises Deposed."""
        pupil = Recollection(strategy, since=self._clock.now() - self._memory)
        while self._memory and pupil.book.seq < upto:
            after = pupil.book.seq
            try:
                entries = await self._storage.run(partial(self._read, after, upto - after))
            except Deposed:
                raise
            except StoreError as error:
                self._observer.broke("reading the journal for the strategy", error)
                await self._clock.sleep_until(self._clock.now() + _RETRY)
                continue
            await self._planning.run(partial(pupil.read, entries))
        return pupil.asked

    def _read(self, after: int, most: int) -> list[Entry]:
        """The turns that follow; not none, since those asked for were committed."""
        return list(islice(self._store.entries(after), min(_AT_ONCE, most)))
