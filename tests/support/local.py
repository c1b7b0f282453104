"""The market on this host for tests: a site with real time, and what is left of its machines."""

from pathlib import Path
from typing import Any

import msgspec

from treasury.domain.commands import Acquire
from treasury.domain.time import SECOND
from treasury.ports import Boot, Clock, Dice, Offload
from treasury.runtime.clocks import SystemClock, SystemDice, ThreadOffload
from treasury_providers.local import Local
from treasury_providers.local_processes import belonging
from treasury_providers.local_settings import LocalSettings
from treasury_providers.local_state import State


def sleeps(_request: Acquire, _index: int) -> str:
    """A start script whose machine does nothing until it is ended."""
    return "#!/bin/sh\nexec sleep 1000000\n"


class LocalSite(msgspec.Struct, kw_only=True):
    """What an adapter is made with, in real time."""

    state: Path
    name: str = "here"
    installation: str = "test"
    clock: Clock = msgspec.field(default_factory=SystemClock)
    dice: Dice = msgspec.field(default_factory=lambda: SystemDice(1))
    offload: Offload = msgspec.field(default_factory=lambda: ThreadOffload(4, "test-local"))
    boot: Boot = sleeps


def market(state: Path, boot: Boot = sleeps, **settings: Any) -> Local:
    """A market on this host whose prices stand still for a second, with short notices."""
    settings = {"tick": SECOND, "notice": 2 * SECOND, "squeezes": 0, **settings}
    return Local(LocalSettings(**settings), LocalSite(state=state, boot=boot))


def processes(state: Path) -> list[int]:
    """Living processes of all machines of a market."""
    return [pid for machine in State(state).machines() for pid in belonging(machine.folder)]


def request(lease: int, *more: int, offer: str = "here/host/a/slot/spot", **fields: Any) -> Acquire:
    """A request for one machine or more, at any price."""
    bid = fields.pop("bid", 10**15)
    return Acquire("here", offer, lease, (lease, *more), bid, f"token{lease}", **fields)


__all__ = ["LocalSite", "market", "processes", "request", "sleeps"]
