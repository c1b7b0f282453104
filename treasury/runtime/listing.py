"""Asking providers what they hold for us: at start, on a timer, soon after something changed."""

import asyncio
from collections.abc import Sequence
from typing import Final

from treasury.budget.guard import stop
from treasury.domain.commands import Release
from treasury.domain.errors import OutcomeUnknown, StoreError
from treasury.domain.events import AcquireUnknown, Input, LeaseSeen, SeeLeases
from treasury.domain.ids import LeaseId, PlacementId, ProviderName
from treasury.domain.lease import LeaseState
from treasury.domain.time import MINUTE, SECOND
from treasury.engine import Book
from treasury.ports import Clock, Provider
from treasury.runtime.agent import Agent
from treasury.runtime.breaker import adoption, doubt, has_news
from treasury.runtime.dispatch import Dispatcher
from treasury.runtime.observer import Observer

# How often machines are listed when nothing is expected to change, and when something is.
CALM: Final = MINUTE
EAGER: Final = 2 * SECOND
# After a poke: a provider need not be asked twice for what happens at once.
_SOON: Final = SECOND // 2
# Listings may use up this part of the calls a provider allows: the rest is for deeds.
_SHARE: Final = 4
LIST_LIMIT: Final = MINUTE
# A machine that was given back and is still listed after this is given back again.
AGAIN: Final = MINUTE
# A machine that said that it ends is looked for eagerly for so long.
_LEAVING: Final = 5 * MINUTE
# A request that was taken and granted nothing is given up by then, the market's own delay besides.
_GRANT_LIMIT: Final = 5 * MINUTE


class Listing:
    """What one provider holds under our tag.

    halted: why its listings are not believed, "" while they are; then nothing is taken or given
    back there. looked_at: when the last complete listing was begun [ns], None before the first.
    adopt: believe the first listing whatever it says, because a person has looked.
    """

    def __init__(
        self,
        name: ProviderName,
        provider: Provider,
        agent: Agent,
        dispatcher: Dispatcher,
        clock: Clock,
        observer: Observer,
        *,
        adopt: bool = False,
    ) -> None:
        self.halted = ""
        self.looked_at: int | None = None
        self._name, self._provider = name, provider
        self._agent, self._dispatcher, self._clock = agent, dispatcher, clock
        self._observer, self._adopt = observer, adopt
        self._poked = asyncio.Event()
        # When a machine was last given back: (lease, machine) to instant.
        self._returned: dict[tuple[LeaseId, str], int] = {}
        # Until when a machine's end is expected [ns].
        self._leaving: dict[LeaseId, int] = {}
        per_minute = max(1, provider.capabilities.calls_per_minute // _SHARE)
        self._least = max(EAGER, MINUTE // per_minute)

    def poke(self) -> None:
        """Look soon: something has changed."""
        self._poked.set()

    def expect_end(self, lease: LeaseId) -> None:
        """Look soon and often: a machine says that it is about to end, and it costs money until the
        listing tells."""
        self._leaving[lease] = self._clock.now() + _LEAVING
        self.poke()

    async def run(self) -> None:
        """List until cancelled."""
        while True:
            await self._pause()
            await self.look()

    async def _pause(self) -> None:
        began = self._clock.now()
        wait = self._least if self._eager() else max(CALM, self._least)
        try:
            async with asyncio.timeout(wait / SECOND):
                await self._poked.wait()
        except TimeoutError:
            pass
        else:
            soon = _SOON if self._least == EAGER else self._least
            await self._clock.sleep_until(began + soon)
        self._poked.clear()

    def _eager(self) -> bool:
        """Whether a listing is expected to tell something new."""
        now, leases = self._clock.now(), self._agent.book.leases
        self._leaving = {
            lease: until
            for lease, until in self._leaving.items()
            if lease in leases and now < until
        }
        return bool(self._leaving) or any(
            lease.provider == self._name
            and (lease.state is not LeaseState.READY or lease.missing_since)
            for lease in leases.values()
        )

    async def look(self) -> bool:
        """One listing, into the book; False where there was none to be had or to be believed."""
        began = self._clock.now()
        try:
            async with asyncio.timeout(LIST_LIMIT / SECOND):
                seen = tuple(await self._provider.leases())
        except Exception as error:  # noqa: BLE001 - an incomplete listing proves nothing
            self._observer.failed(self._name, "leases", error)
            return False
        self._observer.called(self._name, "leases", self._clock.now() - began)
        book = self._agent.book
        first = self.looked_at is None
        inputs: list[Input] = []
        if self._adopt and first:
            raised = adoption(book, self._name, seen)
            inputs += [] if raised is None else [raised]
        else:
            why = doubt(book, seen)
            if why != self.halted:
                self.halted = why
                if why:
                    self._observer.halted(self._name, why)
            if why:
                return False
        seen = self._without_returned(book, seen)
        if has_news(book, self._name, seen):
            inputs.append(SeeLeases(self._name, seen, began))
        inputs += self._overdue(book)
        if inputs:
            try:
                await self._agent.submit(*inputs)
            except StoreError:
                # The database takes no turns now: the next listing tells the same.
                return False
        self.looked_at = began
        self._release_again(seen)
        return True

    def _without_returned(self, book: Book, seen: Sequence[LeaseSeen]) -> tuple[LeaseSeen, ...]:
        """A listing without the orphans that are being given back: markets take their time."""
        now, kept = self._clock.now(), []
        for item in seen:
            lease, key = book.leases.get(item.lease), (item.lease, item.machine)
            ours = lease is not None and lease.machine in ("", item.machine)
            if not ours and item.ended_at is None:
                if now - self._returned.get(key, -AGAIN) < AGAIN:
                    continue
                self._returned[key] = now
            kept.append(item)
        listed = {(item.lease, item.machine) for item in seen}
        self._returned = {key: at for key, at in self._returned.items() if key in listed}
        return tuple(kept)

    def _release_again(self, seen: Sequence[LeaseSeen]) -> None:
        """Give back once more what is still there although it was given back."""
        now, book = self._clock.now(), self._agent.book
        for item in seen:
            lease, key = book.leases.get(item.lease), (item.lease, item.machine)
            if (
                lease is None
                or lease.state is not LeaseState.RELEASING
                or item.ended_at is not None
            ):
                continue
            since = self._returned.setdefault(key, now)
            if now - since >= AGAIN and not self._dispatcher.releasing(*key):
                self._returned[key] = now
                stays = OutcomeUnknown(f"{item.machine} was given back and is still there")
                self._observer.failed(self._name, "release", stays)
                again = Release(self._name, item.lease, item.machine)
                self._dispatcher.send(None, stop(again))

    def _overdue(self, book: Book) -> list[Input]:
        """Requests that were taken long ago and granted nothing: what became of them is unknown."""
        now = self._clock.now()
        overdue: dict[PlacementId, Input] = {}
        for lease in book.leases.values():
            if lease.provider != self._name or lease.state is not LeaseState.REQUESTED:
                continue
            able = book.offers[lease.offer].offer.capabilities
            limit = _GRANT_LIMIT + 2 * able.grant_delay_ns + 2 * able.listing_lag_ns
            late = now - book.placements[lease.placement].requested_at > limit
            if late and not self._dispatcher.asking(lease.placement):
                overdue[lease.placement] = AcquireUnknown(lease.placement, now)
        return list(overdue.values())
