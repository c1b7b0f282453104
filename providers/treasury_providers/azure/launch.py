"""Making machines, giving them back, listing them.

A machine is a PUT by a name that follows from the token, and only if there is none of that name: a
repeated request finds the first one's machine. Azure accepts a PUT and decides later; the launch is
followed to that decision, up to a limit, after which the listing tells how it went on. A gang is
all or nothing by our own doing: if one machine is refused, the others are deleted.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import (
    Declined,
    LeaseUnknown,
    NoCapacity,
    NotPermitted,
    OutcomeUnknown,
    ProviderError,
    Throttled,
    Unreachable,
)
from treasury.domain.events import LeaseSeen
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.azure.client import Door
from treasury_providers.azure.errors import from_sdk, meaning_of
from treasury_providers.azure.machine import (
    describe,
    instant_of,
    lease_from_name,
    lease_from_vm,
)
from treasury_providers.azure.settings import Settings, seconds
from treasury_providers.common.departed import Departed
from treasury_providers.common.errors import tidy, translated
from treasury_providers.common.names import Making, machine_name
from treasury_providers.common.offers import read_offer
from treasury_providers.common.tags import read_tags

# How long a deletion is followed before the caller is told to ask again.
_DELETE_SECONDS: Final = 90.0
# A machine whose launch failed after the request was answered stays listed, as ended, this long
# [ns], so that nobody misses it; then what is left of it is deleted.
_FAILED_KEPT: Final = 5 * MINUTE


class Launcher:
    """Machines of one resource group."""

    def __init__(self, settings: Settings, site: Site, door: Door) -> None:
        self._settings, self._site, self._door = settings, site, door
        self.departed = Departed()
        # Machines we ask Azure to delete: their going is no news.
        self.leaving: set[str] = set()
        # Being made by a request that has no outcome yet: what becomes of them is not known.
        self._making = Making()
        self._sweeping: set[asyncio.Task[None]] = set()

    # --- making ----------------------------------------------------------------------------------

    async def acquire(self, request: Acquire) -> None:
        """Make all machines of a request or none. Raises ProviderError."""
        pool = read_offer(self._site.name, request.offer)
        if pool.region not in self._settings.subnets:
            raise NotPermitted(f"no subnet is configured in {pool.region}")
        count = len(request.leases)
        names = [machine_name(self._site.installation, request, index) for index in range(count)]
        bodies = [
            describe(self._settings, self._site, request, index, pool) for index in range(count)
        ]
        with self._making.these(names):
            outcomes = await asyncio.gather(
                *(self._make(name, body) for name, body in zip(names, bodies, strict=True)),
                return_exceptions=True,
            )
            await self._conclude(names, outcomes)

    async def _conclude(
        self, names: Sequence[str], outcomes: Sequence[BaseException | None]
    ) -> None:
        """Nothing when every machine is made or on its way; else the error of the whole gang."""
        errors = [outcome for outcome in outcomes if outcome is not None]
        for error in errors:
            if not isinstance(error, ProviderError):
                raise error
        refusal = next((error for error in errors if isinstance(error, Declined)), None)
        if refusal is not None:
            await asyncio.gather(
                *(
                    self._undo(name)
                    for name, outcome in zip(names, outcomes, strict=True)
                    if not isinstance(outcome, _NotOursError)
                )
            )
            if isinstance(refusal, _NotOursError):
                raise NotPermitted(str(refusal), until=self._now() + HOUR)
            raise refusal
        # Unknown before unsent: what may have happened must not be taken for what did not.
        for kind in (OutcomeUnknown, Throttled, ProviderError):
            for error in errors:
                if isinstance(error, kind):
                    raise error

    async def _make(self, name: str, body: dict[str, Any]) -> None:
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        machines = self._door.compute.virtual_machines
        poller: Any = None
        with translated(self._site.clock, from_sdk, changes=True):
            try:
                poller = await machines.begin_create_or_update(
                    self._settings.resource_group,
                    name,
                    body,
                    etag="*",
                    match_condition=MatchConditions.IfMissing,
                    polling_interval=seconds(self._settings.poll_every),
                )
            except HttpResponseError as error:
                if error.status_code != 412:
                    raise
        if poller is None:
            await self._adopt(name, body)
            return
        try:
            async with asyncio.timeout(seconds(self._settings.launch_wait)):
                await poller.result()
        except TimeoutError:
            return
        except HttpResponseError as error:
            # A 2xx carries Azure's verdict on the launch; anything else is about the asking, and
            # the listing will tell what became of the machine.
            if 200 <= int(error.status_code or 0) < 300:
                raise _verdict(error, self._now()) from None
        except Exception:  # noqa: BLE001 - the machine was accepted: only following it failed
            return

    async def _adopt(self, name: str, body: dict[str, Any]) -> None:
        """There is a machine of this name: an earlier sending of this request made it."""
        until = self._now() + self._settings.launch_wait
        while True:
            vm = await self._get(name)
            if vm is None:
                raise Throttled(f"{name} is being deleted", until=self._now() + 5 * SECOND)
            wanted = read_tags(self._site.installation, body["tags"])
            if read_tags(self._site.installation, vm.tags or {}) != wanted:
                raise _NotOursError(f"{name} is the name of somebody else's machine")
            state = (vm.properties.provisioning_state or "").lower()
            if state == "succeeded" or self._now() >= until:
                return
            if state == "failed":
                raise await self._cause(name)
            if state == "deleting":
                raise Throttled(f"{name} is being deleted", until=self._now() + 5 * SECOND)
            # A GET of one machine is allowed twelve times a minute.
            await self._site.clock.sleep_until(self._now() + 5 * SECOND)

    async def _undo(self, name: str) -> None:
        """Delete what a refused request may have left; what cannot be reached now is an orphan
        that reconciliation finds by its tags."""
        for _ in range(3):
            try:
                await self._delete(name, follow=False)
            except LeaseUnknown:
                return
            except Throttled as error:
                wait = error.until or self._now() + SECOND
                await self._site.clock.sleep_until(min(wait, self._now() + 10 * SECOND))
            except ProviderError:
                continue
            else:
                return

    async def _get(self, name: str) -> Any:
        group = self._settings.resource_group
        try:
            with translated(self._site.clock, from_sdk, changes=False):
                return await self._door.compute.virtual_machines.get(group, name)
        except LeaseUnknown:
            return None

    async def _cause(self, name: str) -> ProviderError:
        """Why a launch failed, from the machine's status codes."""
        group = self._settings.resource_group
        try:
            with translated(self._site.clock, from_sdk, changes=False):
                view = await self._door.compute.virtual_machines.instance_view(group, name)
        except LeaseUnknown:
            return NoCapacity(f"{name}: the launch failed and the machine is gone")
        for status in view.statuses or ():
            stage, _, rest = (status.code or "").partition("/")
            verdict, _, code = rest.partition("/")
            if stage == "ProvisioningState" and verdict == "failed":
                text = status.message or status.display_status or ""
                return _refusal(code, text, self._now())
        return NoCapacity(f"{name}: the launch failed, Azure does not say why")

    # --- giving back -----------------------------------------------------------------------------

    async def release(self, request: Release) -> None:
        """Delete a machine and follow it until it is gone. Raises ProviderError."""
        item = lease_from_name(self._site.installation, request.machine, 0)
        if item is None:
            # No name to go by: what carries the lease's tag.
            found = [seen for seen in await self._machines() if seen.lease == request.lease]
            if not found:
                return
            item = found[0]
        if self.departed.hides(item.machine, self._now()):
            return
        self.leaving.add(item.machine)
        try:
            ended_at = await self._delete(item.machine, follow=True)
        except LeaseUnknown:
            return
        self.departed.add(item, ended_at, "released")

    async def _delete(self, name: str, *, follow: bool) -> int:
        """The instant [ns] the deletion was over, by Azure's word where it gives one. Raises
        LeaseUnknown for what is gone already."""
        ends: list[int] = []
        missing: list[int] = []

        def note(answer: Any) -> None:
            response = answer.http_response
            if response.status_code == 204:
                missing.append(204)
            elif b'"endTime"' in (raw := _body(response)):
                ends.append(_end_time(raw))

        machines = self._door.compute.virtual_machines
        with translated(self._site.clock, from_sdk, changes=True):
            poller = await machines.begin_delete(
                self._settings.resource_group,
                name,
                force_deletion=True,
                polling=follow,
                polling_interval=seconds(self._settings.poll_every),
                raw_response_hook=note,
            )
            if follow:
                try:
                    async with asyncio.timeout(_DELETE_SECONDS):
                        await poller.result()
                except TimeoutError:
                    raise Unreachable(f"{name} is still being deleted") from None
        if missing:
            raise LeaseUnknown(f"{name}: there is no such machine")
        return ends[-1] if ends else self._now()

    # --- listing ---------------------------------------------------------------------------------

    async def leases(self) -> list[LeaseSeen]:
        """Every machine of ours, and those that ended lately. Raises ProviderError rather than
        telling half."""
        alive = await self._machines()
        return alive + self.departed.listed([item.machine for item in alive], self._now())

    async def states(self) -> list[tuple[LeaseSeen, str]]:
        """Our machines with their provisioning states, as Azure lists them."""
        listing = self._door.compute.virtual_machines.list(self._settings.resource_group)
        found = []
        async for vm in self._door.pages(listing):
            item = lease_from_vm(self._site.installation, vm)
            if item is not None:
                state = (vm.properties.provisioning_state or "").lower()
                found.append((item, state))
        return found

    async def _machines(self) -> list[LeaseSeen]:
        found = []
        for item, state in await self.states():
            if item.machine in self._making:
                continue
            if state == "failed":
                if item.machine not in self.departed:
                    self._bury(item, await self._cause(item.machine))
                self._sweep(item)
            elif not self.departed.hides(item.machine, self._now()):
                found.append(item)
        return found

    def _bury(self, item: LeaseSeen, cause: ProviderError) -> None:
        """A launch that failed after it was accepted: it never ran, so it cost nothing."""
        self.departed.add(item, item.granted_at, f"launch failed: {cause}")

    def _sweep(self, item: LeaseSeen) -> None:
        """Delete what is left of a failed launch once everybody has seen that it failed."""
        if self._now() - item.granted_at >= _FAILED_KEPT:
            task = asyncio.ensure_future(self._undo(item.machine))
            self._sweeping.add(task)
            task.add_done_callback(self._sweeping.discard)

    async def close(self) -> None:
        """Let clean-ups that have begun come to their end."""
        await asyncio.gather(*self._sweeping, return_exceptions=True)

    def _now(self) -> int:
        return self._site.clock.now()


class _NotOursError(NotPermitted):
    """A name is in use by a machine that this request did not make: it must not be deleted."""


def _verdict(error: Any, now: int) -> ProviderError:
    """The error of an operation that ended in failure."""
    model = error.error
    code = str(model.code) if model is not None and model.code else ""
    text = str(model.message or "") if model is not None else str(error)
    return _refusal(code, text, now)


def _refusal(code: str, text: str, now: int) -> ProviderError:
    """A launch failed for good, whatever the code: it is never repeated, so never a Throttled."""
    known = meaning_of(code, text)
    if known is not None and issubclass(known.error, Declined):
        return known.to_error(f"{code}: {text}", now)
    return NoCapacity(tidy(f"{code or 'failed'}: {text}"), until=now + 10 * MINUTE)


def _body(response: Any) -> bytes:
    """The body of an answer that was read already; nothing of one that is still to be streamed."""
    try:
        content = response.content
    except Exception:  # noqa: BLE001 - the SDK raises one of several classes for an unread body
        return b""
    return content if isinstance(content, bytes) else b""


def _end_time(raw: bytes) -> int:
    import json

    return instant_of(str(json.loads(raw)["endTime"]))
