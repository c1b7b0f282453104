"""Making machines, giving them back, listing them.

A request is idempotent twice over: by a UUID that follows from its token, for as long as Google
remembers it, and by the machines' names for ever. An insertion is followed to its end: refusals
stand in the operation. Gangs are one bulk insertion that makes all machines or none.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import (
    BidTooLow,
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    ProviderError,
    Throttled,
    Unreachable,
)
from treasury.domain.events import LeaseSeen
from treasury.domain.money import format_rate
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.common.departed import Departed
from treasury_providers.common.names import Making, read_name
from treasury_providers.common.offers import Pool, read_offer
from treasury_providers.common.tags import OWNER, owner_value, read_tags
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.errors import refusal
from treasury_providers.gcp.machine import (
    gang,
    instant_of,
    lease_of,
    names,
    request_id,
    single,
)
from treasury_providers.gcp.settings import Settings

_PAGE: Final = 500
# How long a deletion is followed [ns] before the caller is told to ask again.
_DELETE_WAIT: Final = 100 * SECOND
# An operation older than this [ns] is an earlier sending's: what it made may be gone since.
_REPLAYED: Final = MINUTE
# Stopped by themselves or by the market: nothing but the disk is paid for.
_STOPPED: Final = ("TERMINATED", "STOPPED")


class Launcher:
    """Machines of one project. ceiling: what an offer asks now [nano-USD/h], 0 where unknown."""

    def __init__(self, settings: Settings, site: Site, door: Door, ceiling: Any) -> None:
        self._settings, self._site, self._door, self._ceiling = settings, site, door, ceiling
        self.departed = Departed()
        # Being made by a request that has no outcome yet: what becomes of them is not known.
        self._making = Making()
        self._sweeping: set[asyncio.Task[None]] = set()

    # --- making ----------------------------------------------------------------------------------

    async def acquire(self, request: Acquire) -> None:
        """Make all machines of a request or none. Raises ProviderError."""
        pool = read_offer(self._site.name, request.offer)
        if pool.region not in self._settings.regions:
            raise NotPermitted(f"{pool.region} is not among the regions")
        price = self._ceiling(request.offer)
        if price > request.bid:
            # The market takes no bids: it would simply be paid.
            raise BidTooLow(f"{request.offer} asks {format_rate(price)}")
        known = names(self._site, request)
        with self._making.these(known):
            await self._make(request, pool, known)

    async def _make(self, request: Acquire, pool: Pool, known: Sequence[str]) -> None:
        started = self._now()
        try:
            operation = await self._insert(request, pool)
        except _TakenError:
            await self._adopt(request, pool, known)
            return
        done = await self._followed(operation, pool.zone, self._settings.launch_wait)
        if done is None:
            return
        error = refusal(done, self._now())
        if error is not None:
            if any(str(item.code) == "RESOURCE_ALREADY_EXISTS" for item in done.error.errors):
                await self._adopt(request, pool, known)
                return
            raise error
        if instant_of(done.insert_time) < started - _REPLAYED:
            await self._adopt(request, pool, known)

    async def _insert(self, request: Acquire, pool: Pool) -> Any:
        sdk, settings, site = self._door.sdk, self._settings, self._site
        place = {"project": settings.project, "zone": pool.zone}
        key = request_id(request, "insert")
        if len(request.leases) == 1:
            body = sdk.Instance(single(settings, site, request, pool))
            call = sdk.InsertInstanceRequest(instance_resource=body, request_id=key, **place)
            method = "insert_unary"
        else:
            bulk = sdk.BulkInsertInstanceResource(gang(settings, site, request, pool))
            call = sdk.BulkInsertInstanceRequest(
                bulk_insert_instance_resource_resource=bulk, request_id=key, **place
            )
            method = "bulk_insert_unary"
        try:
            return await self._door.change("InstancesClient", method, call)
        except ProviderError as error:
            if str(error).startswith(("alreadyExists", "RESOURCE_ALREADY_EXISTS")):
                raise _TakenError from None
            if isinstance(error, LeaseUnknown):
                # What is not found is a zone, an image or a network: our settings are wrong.
                raise NotPermitted(str(error), until=self._now() + 60 * MINUTE) from None
            raise

    async def _adopt(self, request: Acquire, pool: Pool, known: Sequence[str]) -> None:
        """There are machines of these names: an earlier sending of this request made them."""
        for name in known:
            instance = await self._get(pool.zone, name)
            if instance is None or instance.status in _STOPPED:
                raise NoCapacity(f"{name} was made and is gone again")
            marked = read_tags(self._site.installation, dict(instance.labels))
            if marked is None or marked.token != request.token:
                raise NotPermitted(f"{name} is the name of somebody else's machine")
            if instance.status == "STOPPING":
                raise Throttled(f"{name} is being deleted", until=self._now() + 5 * SECOND)

    async def _get(self, zone: str, name: str) -> Any:
        call = self._door.sdk.GetInstanceRequest(
            project=self._settings.project, zone=zone, instance=name
        )
        try:
            return await self._door.follow("InstancesClient", "get", call)
        except LeaseUnknown:
            return None

    async def _followed(self, operation: Any, zone: str, wait: int) -> Any:
        """The operation when it is done; None when it is still going on after `wait` [ns], or when
        Google cannot be asked: the listing tells how it went on."""
        sdk, clock = self._door.sdk, self._site.clock
        until = self._now() + wait
        call = sdk.GetZoneOperationRequest(
            project=self._settings.project, zone=zone, operation=operation.name
        )
        while operation.status != sdk.Operation.Status.DONE:
            if self._now() >= until:
                return None
            await clock.sleep_until(self._now() + self._settings.poll_every)
            try:
                operation = await self._door.follow("ZoneOperationsClient", "get", call)
            except LeaseUnknown:
                return None
            except ProviderError as error:
                # The operation goes on whether we hear of it or not.
                await clock.sleep_until(min(until, error.until or self._now() + SECOND))
        return operation

    # --- giving back -----------------------------------------------------------------------------

    async def release(self, request: Release) -> None:
        """Delete a machine and follow it until it is gone. Raises ProviderError."""
        item = self._by_name(request)
        if item is None:
            found = [seen for seen in await self._machines() if seen.lease == request.lease]
            if not found:
                return
            item = found[0]
        if self.departed.hides(item.machine, self._now()):
            return
        ended_at = await self._delete(item)
        if ended_at is not None:
            self.departed.add(item, ended_at, "released")

    def _by_name(self, request: Release) -> LeaseSeen | None:
        marked = read_name(self._site.installation, request.machine.rpartition("/")[2])
        if marked is None or "/" not in request.machine:
            return None
        lease = marked.leases[0]
        return LeaseSeen(lease, marked.placement, request.machine, 0, 0, marked.token)

    async def _delete(self, item: LeaseSeen) -> int | None:
        """The instant [ns] at which the deletion was over; None for what was gone already."""
        zone, _, name = item.machine.rpartition("/")
        call = self._door.sdk.DeleteInstanceRequest(
            project=self._settings.project, zone=zone, instance=name
        )
        try:
            operation = await self._door.change("InstancesClient", "delete_unary", call)
        except LeaseUnknown:
            return None
        done = await self._followed(operation, zone, _DELETE_WAIT)
        if done is None:
            raise Unreachable(f"{name} is still being deleted")
        error = refusal(done, self._now())
        if error is not None:
            if any("NOT_FOUND" in str(problem.code) for problem in done.error.errors):
                return None
            raise Unreachable(f"{name} was not deleted: {error}")
        return instant_of(done.end_time) or self._now()

    # --- listing ---------------------------------------------------------------------------------

    async def leases(self) -> list[LeaseSeen]:
        """Every machine of ours, and those that ended lately. Raises ProviderError rather than
        telling half."""
        alive = await self._machines()
        return alive + self.departed.listed([item.machine for item in alive], self._now())

    async def _machines(self) -> list[LeaseSeen]:
        owner = owner_value(self._site.installation)
        call = self._door.sdk.AggregatedListInstancesRequest(
            project=self._settings.project, filter=f"labels.{OWNER}={owner}", max_results=_PAGE
        )
        found = []
        for page in await self._door.pages("InstancesClient", "aggregated_list", call):
            for scoped in dict(page.items).values():
                for instance in scoped.instances:
                    item = lease_of(self._site.installation, instance)
                    if item is not None and instance.name not in self._making:
                        found.extend(self._sorted_out(item, instance))
        return found

    def _sorted_out(self, item: LeaseSeen, instance: Any) -> list[LeaseSeen]:
        """The machine itself while it runs; one that has stopped is over, and deleted."""
        if instance.status in _STOPPED:
            stopped = instant_of(instance.last_stop_timestamp) or self._now()
            self.departed.add(item, stopped, "stopped")
            self._sweep(item)
            return []
        return [] if self.departed.hides(item.machine, self._now()) else [item]

    def _sweep(self, item: LeaseSeen) -> None:
        async def later() -> None:
            try:
                await self._delete(item)
            except ProviderError:
                # Still there with the next listing, and tried again then.
                return

        task = asyncio.ensure_future(later())
        self._sweeping.add(task)
        task.add_done_callback(self._sweeping.discard)

    async def close(self) -> None:
        """Call off clean-ups under way: the next life finds what is left."""
        for task in list(self._sweeping):
            task.cancel()
        await asyncio.gather(*self._sweeping, return_exceptions=True)

    def _now(self) -> int:
        return self._site.clock.now()


class _TakenError(Exception):
    """A name is in use."""
