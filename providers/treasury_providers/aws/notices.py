"""Interruption notices: EventBridge writes them to a queue a region, which is listened to here.

Delivery is at least once and best effort. A message is deleted when its notice was taken; copies
collapse. What concerns nobody's machine of ours is deleted unread.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from treasury.domain.errors import BadValue, ProviderError
from treasury.domain.events import MachineNoticed
from treasury.domain.time import MINUTE, SECOND, parse_instant
from treasury.ports import Site
from treasury_providers.aws.calls import Calls
from treasury_providers.aws.launch import Launch
from treasury_providers.aws.settings import Settings
from treasury_providers.common.polling import Feed, Source

WARNING: Final = "EC2 Spot Instance Interruption Warning"
_AHEAD: Final = 2 * MINUTE
# So many interruptions are remembered to know their copies again.
_REMEMBERED: Final = 10_000


class _Detail(msgspec.Struct):
    machine: str = msgspec.field(name="instance-id", default="")


class _Event(msgspec.Struct):
    kind: str = msgspec.field(name="detail-type", default="")
    source: str = ""
    time: str = ""
    detail: _Detail = msgspec.field(default_factory=_Detail)


class Received(NamedTuple):
    """A message of a queue. machine: empty where it is no warning."""

    region: str
    receipt: str
    machine: str
    at: int


class Notices:
    """The queues of all regions as one stream of notices."""

    def __init__(self, settings: Settings, site: Site, calls: Calls, launch: Launch) -> None:
        self._settings, self._site, self._calls, self._launch = settings, site, calls, launch
        self._told: dict[str, None] = {}
        sources = {
            region: Source(SECOND, partial(self._receive, region)) for region in settings.queues
        }
        self._feed = Feed(site, "notices", sources)

    async def stream(self) -> AsyncIterator[MachineNoticed]:
        """Notices as they come; silent for ever where no queue is set."""
        if not self._settings.queues:
            await asyncio.get_running_loop().create_future()
        async for message in self._feed.stream():
            notice = await self._notice(message)
            if notice is not None:
                yield notice
            # Only now, when whoever listens has come back for more.
            await self._delete(message)

    async def _notice(self, message: Received) -> MachineNoticed | None:
        machine = message.machine
        if not machine or machine in self._told:
            return None
        known = self._launch.known.get(machine)
        if known is None:
            known = await self._launch.find(message.region, machine)
        if known is None:
            return None
        self._told[machine] = None
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return MachineNoticed(known.lease, message.at, message.at + _AHEAD)

    async def _receive(self, region: str) -> Sequence[Received]:
        queue, wait = self._settings.queues[region], self._settings.poll_wait // SECOND

        def ask(sqs: Any) -> dict[str, Any]:
            answer: dict[str, Any] = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=min(20, wait)
            )
            return answer

        answer = await self._calls.run("sqs", region, ask, pool="listen")
        now = self._site.clock.now()
        return [
            read_message(region, item["ReceiptHandle"], item.get("Body", ""), now)
            for item in answer.get("Messages", ())
        ]

    async def _delete(self, message: Received) -> None:
        queue = self._settings.queues[message.region]
        try:
            await self._calls.run(
                "sqs",
                message.region,
                lambda sqs: sqs.delete_message(QueueUrl=queue, ReceiptHandle=message.receipt),
            )
        except ProviderError:
            # It will come again, and be known for a copy.
            return


def read_message(region: str, receipt: str, body: str, now: int) -> Received:
    """A message as EventBridge wrote it; anything else names no machine."""
    try:
        event = msgspec.json.decode(body, type=_Event)
        if event.source != "aws.ec2" or event.kind != WARNING:
            return Received(region, receipt, "", now)
        at = parse_instant(event.time)
    except (msgspec.MsgspecError, BadValue, UnicodeError):
        return Received(region, receipt, "", now)
    return Received(region, receipt, event.detail.machine, min(at, now))
