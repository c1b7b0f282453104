"""Interruptions as Azure's control plane tells them.

The warning itself, half a minute ahead, reaches only the machine (scheduled events), and the node
agent passes it on. Here is the second source: the health annotations of Resource Graph, and a
machine that is being deleted though nobody of ours asked for it. Resource Graph also remembers when
a machine went that left nothing else behind.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from treasury.domain.errors import BadValue, NotPermitted
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.time import MINUTE, format_instant
from treasury.ports import Site
from treasury_providers.azure.capacity import graph
from treasury_providers.azure.client import Door
from treasury_providers.azure.launch import Launcher
from treasury_providers.azure.machine import instant_of, lease_from_name
from treasury_providers.azure.settings import Settings
from treasury_providers.common.names import read_name

# How far back annotations are asked for: longer than they are ever late.
_BACK: Final = 30 * MINUTE


class Evictions:
    """What Azure took from us."""

    def __init__(
        self, settings: Settings, site: Site, door: Door, launcher: Launcher, notice: int
    ) -> None:
        self._settings, self._site, self._door = settings, site, door
        self._launcher, self._notice = launcher, notice
        self._told: dict[str, int] = {}

    async def departed(self) -> list[tuple[LeaseSeen, int, str]]:
        """Machines of ours that are gone: with the instant [ns] it was over, and why. Raises
        ProviderError."""
        since = format_instant(self._site.clock.now() - _BACK)
        query = (
            "ResourceChanges | where properties.changeType in~ ('Create', 'Delete') "
            "| where properties.targetResourceType =~ 'microsoft.compute/virtualmachines' "
            f"| where todatetime(properties.changeAttributes.timestamp) > datetime({since}) "
            "| project id = tostring(properties.targetResourceId), "
            "change = tostring(properties.changeType), "
            "at = tostring(properties.changeAttributes.timestamp)"
        )
        taken = await self.preempted()
        began: dict[str, int] = {}
        ended = dict(taken)
        for row in await graph(self._door, query, [self._settings.subscription]):
            read = self._read(row)
            if read is not None:
                (began if row.get("change") == "Create" else ended)[read[0]] = read[1]
        found = []
        for name, at in sorted(ended.items()):
            # Where nobody wrote down when it began, what was never listed cost nothing.
            item = lease_from_name(self._site.installation, name, min(at, began.get(name, at)))
            if item is not None:
                found.append((item, at, "interrupted" if name in taken else "deleted"))
        return found

    async def preempted(self) -> Mapping[str, int]:
        """Our machines that were evicted lately -> when [ns]. Raises ProviderError."""
        since = format_instant(self._site.clock.now() - _BACK)
        query = (
            "HealthResources | where type =~ 'microsoft.resourcehealth/resourceannotations' "
            "| where properties.annotationName =~ 'VirtualMachinePreempted' "
            f"| where todatetime(properties.occurredTime) > datetime({since}) "
            "| project id = tostring(properties.targetResourceId), "
            "at = tostring(properties.occurredTime)"
        )
        rows = await graph(self._door, query, [self._settings.subscription])
        found: dict[str, int] = {}
        for row in rows:
            read = self._read(row)
            if read is not None:
                name, at = read
                found[name] = max(at, found.get(name, 0))
        return found

    def _read(self, row: Mapping[str, Any]) -> tuple[str, int] | None:
        # Resource Graph writes ids in lower case, as our names are anyway.
        parts = str(row.get("id", "")).lower().split("/")
        group = self._settings.resource_group.lower()
        name = parts[-1]
        if group not in parts or read_name(self._site.installation, name) is None:
            return None
        try:
            return name, instant_of(str(row.get("at", "")))
        except BadValue:
            return None

    async def fetch(self) -> list[MachineNoticed]:
        """Interruptions not told of before. Raises ProviderError."""
        now = self._site.clock.now()
        found = []
        for item, state in await self._launcher.states():
            if state == "deleting" and item.machine not in self._launcher.leaving:
                found.append((item.machine, now))
        # Without the right to Resource Graph there is still the machine's own word.
        with suppress(NotPermitted):
            found.extend((await self.preempted()).items())
        notices = []
        for name, at in found:
            marked = read_name(self._site.installation, name)
            if marked is not None and name not in self._told:
                self._told[name] = now
                lease = marked.leases[0]
                notices.append(MachineNoticed(lease, at, at + self._notice))
        self._forget(now)
        return notices

    def _forget(self, now: int) -> None:
        for name in [name for name, told in self._told.items() if told < now - 2 * _BACK]:
            del self._told[name]
