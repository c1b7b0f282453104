"""The orders that stand: what each machine is wanted to do, and the task that publishes it.

An order is retained and whole. It is published when the wish changes, when the money held for a
machine reaches further, when the machine is first heard, and all of them after each connect.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from treasury.bus.client import BusClient
from treasury.bus.fields import MessageError, encode
from treasury.bus.messages import Order
from treasury.bus.orders import Wanted, wanted
from treasury.bus.topics import Topics
from treasury.bus.views import NodeView
from treasury.domain.ids import LeaseId
from treasury.domain.time import NEVER, SECOND
from treasury.engine.book import Book
from treasury.ports import Clock

_RETRY: Final = SECOND
_CHUNK: Final = 200


class OrderBoard:
    """Orders by lease. machines: what is known of each, shared with who listens to them."""

    def __init__(
        self,
        client: BusClient,
        topics: Topics,
        clock: Clock,
        epoch: int,
        fail: Callable[[LeaseId, str], None],
    ) -> None:
        """epoch: of our leadership. fail: called when an order cannot be said at all."""
        self.machines: dict[LeaseId, NodeView] = {}
        self.wanted: dict[LeaseId, Wanted] = {}
        self._client, self._topics, self._clock = client, topics, clock
        self._epoch, self._fail = epoch, fail
        self._dirty: dict[LeaseId, None] = {}
        self._gone: dict[LeaseId, None] = {}
        self._wake = asyncio.Event()
        self._number = 0

    @property
    def unsent(self) -> int:
        """Orders that the broker has not taken yet."""
        return len(self._dirty) + len(self._gone)

    def publish_soon(self, leases: Sequence[LeaseId]) -> None:
        """Publish these machines' orders, where they have one."""
        for lease in leases:
            if lease in self.wanted:
                self._dirty[lease] = None
        self._wake.set()

    def dismiss(self, lease: LeaseId) -> None:
        """Tell the machine of a lease that is over, and leave nothing of it on the broker."""
        self._gone[lease] = None
        self._wake.set()

    def look_at(self, book: Book, lease_id: LeaseId) -> None:
        """Find out what a machine is wanted to do, by the book as it is committed."""
        lease = book.leases.get(lease_id)
        if lease is None:
            if self.wanted.pop(lease_id, None) is not None:
                self.dismiss(lease_id)
            self._dirty.pop(lease_id, None)
            self.machines.pop(lease_id, None)
            return
        wish = wanted(book, lease, self.address)
        if wish is None or wish == self.wanted.get(lease_id):
            return
        self.wanted[lease_id] = wish
        view = self.machines.get(lease_id)
        if view is not None and _state(wish) != view.state:
            # What it says from now on counts once it has heard of the change.
            view.stated = NEVER
        self.publish_soon([lease_id])

    def address(self, lease: LeaseId) -> str:
        """Where a machine's gang reaches it; empty before it has said so."""
        view = self.machines.get(lease)
        return "" if view is None or view.report is None else view.report.address

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._client.up_since is not None and (self._dirty or self._gone):
                leases = list(self._dirty)[:_CHUNK]
                for lease in leases:
                    del self._dirty[lease]
                gone = list(self._gone)[:_CHUNK]
                for lease in gone:
                    del self._gone[lease]
                sent = await asyncio.gather(
                    *[self._send_order(lease) for lease in leases],
                    *[self._send_farewell(lease) for lease in gone],
                )
                if not all(sent):
                    self._again(leases, gone, sent)
                    await self._clock.sleep_until(self._clock.now() + _RETRY)

    def _again(self, leases: list[LeaseId], gone: list[LeaseId], sent: list[bool]) -> None:
        ok = dict(zip([*leases, *gone], sent, strict=True))
        self.publish_soon([lease for lease in leases if not ok[lease]])
        self._gone |= dict.fromkeys(lease for lease in gone if not ok[lease])

    async def _send_order(self, lease: LeaseId) -> bool:
        wish = self.wanted.get(lease)
        if wish is None or not wish.complete:
            return True
        view = self.machines.get(lease)
        if view is not None:
            self._restate(view, wish)
        order = self._order(lease, wish, view)
        try:
            payload = encode(order)
        except MessageError as error:
            self._fail(lease, f"the order is too large to be sent: {error}")
            return True
        return await self._client.publish(self._topics.node(lease, "order"), payload, retain=True)

    def _restate(self, view: NodeView, wish: Wanted) -> None:
        """Remember since which order the machine is wanted as it is now."""
        if _state(wish) != view.state or view.stated == NEVER:
            view.state, view.stated = _state(wish), self._next_number() + 1

    def _next_number(self) -> int:
        return max(self._number, self._clock.now())

    def _order(self, lease: LeaseId, wish: Wanted, view: NodeView | None) -> Order:
        # The clock keeps numbers rising over restarts; the machine refuses what does not rise.
        self._number = self._next_number() + 1
        heard, fuse = None, 0
        if view is not None and view.pulse is not None:
            heard, fuse = view.pulse, max(0, wish.fuse_at - view.pulse_at)
        return Order(
            epoch=self._epoch,
            number=self._number,
            lease=lease,
            fuse_ns=fuse,
            heard=heard,
            work=wish.work,
            stop=wish.stop,
            release=wish.release,
        )

    async def _send_farewell(self, lease: LeaseId) -> bool:
        """A lease that is over: tell its machine, should it live, and leave nothing behind."""
        wish = Wanted(None, stop=True, release=True, fuse_at=0)
        order = self._topics.node(lease, "order")
        told = await self._client.publish(order, encode(self._order(lease, wish, None)))
        cleared = [
            await self._client.publish(self._topics.node(lease, channel), b"", retain=True)
            for channel in ("order", "ack")
        ]
        return told and all(cleared)


def _state(wish: Wanted) -> tuple[int | None, bool]:
    """What of a wish makes an earlier word of the machine void."""
    return None if wish.work is None else wish.work.placement, wish.stop
