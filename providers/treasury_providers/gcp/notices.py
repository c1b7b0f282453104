"""Interruptions as Google's control plane tells them.

The warning itself reaches only the machine (its metadata, then ACPI), and the node agent passes it
on. Here is the second source: the operations that preemptions leave behind, which are also how the
end of a machine is known that is deleted when it is preempted.
"""

from typing import Any, Final

from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Site
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.machine import instant_of, lease_from_link
from treasury_providers.gcp.settings import Settings

PREEMPTED: Final = "compute.instances.preempted"
# How long operations matter to us: longer than a restart of the agent takes.
_BACK: Final = 30 * MINUTE
_PAGE: Final = 500


class Preemptions:
    """What Google took from us, and what else was deleted."""

    def __init__(self, settings: Settings, site: Site, door: Door, notice: int) -> None:
        self._settings, self._site, self._door, self._notice = settings, site, door, notice
        self._told: dict[str, int] = {}

    async def _operations(self, *types: str) -> list[Any]:
        """Operations of some types, of the last half hour. Google keeps them for weeks: the newest
        come first, and the first page of old ones is the last."""
        sdk, since = self._door.sdk, self._site.clock.now() - _BACK
        call = sdk.AggregatedListGlobalOperationsRequest(
            project=self._settings.project,
            filter=" OR ".join(f'(operationType="{kind}")' for kind in types),
            order_by="creationTimestamp desc",
            max_results=_PAGE,
        )

        def old(page: Any) -> bool:
            times = [instant_of(operation.insert_time) for operation in _all_of(page)]
            return bool(times) and max(times) < since

        pages = await self._door.pages("GlobalOperationsClient", "aggregated_list", call, old)
        return [
            operation
            for page in pages
            for operation in _all_of(page)
            if instant_of(operation.insert_time) >= since
        ]

    async def fetch(self) -> list[MachineNoticed]:
        """Preemptions not told of before. Raises ProviderError."""
        now = self._site.clock.now()
        notices = []
        for operation in await self._operations(PREEMPTED):
            item = lease_from_link(self._site.installation, operation.target_link, 0)
            if item is not None and item.machine not in self._told:
                self._told[item.machine] = now
                at = instant_of(operation.insert_time)
                notices.append(MachineNoticed(item.lease, at, at + self._notice))
        for name in [name for name, told in self._told.items() if told < now - 2 * _BACK]:
            del self._told[name]
        return notices

    async def departed(self) -> list[tuple[LeaseSeen, int, str]]:
        """Machines of ours that are gone: with the instant [ns] it was over, and why. Raises
        ProviderError."""
        began: dict[str, int] = {}
        ended: dict[str, tuple[int, str]] = {}
        for operation in await self._operations(PREEMPTED, "delete", "insert"):
            link = operation.target_link
            ended_at = instant_of(operation.end_time)
            if operation.operation_type == "insert":
                began[link] = instant_of(operation.insert_time)
            elif ended_at and not operation.error.errors:
                taken = operation.operation_type == PREEMPTED
                end = (ended_at, "interrupted" if taken else "deleted")
                ended[link] = min(end, ended.get(link, end))
        found = []
        for link, (at, cause) in sorted(ended.items()):
            # Where nobody wrote down when it began, what was never listed cost nothing.
            granted_at = min(at, began.get(link, at))
            item = lease_from_link(self._site.installation, link, granted_at)
            if item is not None:
                found.append((item, at, cause))
        return found


def _all_of(page: Any) -> list[Any]:
    return [operation for scoped in dict(page.items).values() for operation in scoped.operations]


# ACPI's soft-off and what may come before it, at best.
NOTICE: Final = 30 * SECOND
