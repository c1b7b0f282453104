"""The control's end of the bus: a runner, and what machines say as inputs.

    book, after each commit -> what each machine is wanted to do -> retained orders
    reports -> what they tell beyond the book -> inputs -> committed -> acknowledged

The broker may be absent, forget everything or say things twice: orders are whole and republished
after each connect, reports are repeated by the machines, inputs are guarded by the engine. Nothing
is published of a turn before its commit, so that a fuse never burns beyond what is held.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from treasury.bus.board import OrderBoard
from treasury.bus.broadcast import Broadcast
from treasury.bus.client import BusClient
from treasury.bus.fields import MessageError, decode
from treasury.bus.logs import LogBook
from treasury.bus.messages import Ack, Log, Order, Report, Secrets, Status
from treasury.bus.topics import Topics
from treasury.bus.views import BY_ITSELF, NodeView, differences
from treasury.domain import events as e
from treasury.domain.commands import StartWork, StopWork
from treasury.domain.errors import UserError
from treasury.domain.ids import JobId, LeaseId
from treasury.domain.lease import LeaseState
from treasury.domain.time import MINUTE, SECOND
from treasury.domain.turn import Entry
from treasury.engine.book import Book
from treasury.ports import Clock

# A machine that is not heard for so long, while the broker is there, counts as out of reach.
SILENCE_LIMIT: Final = 5 * MINUTE
_LOOK: Final = 5 * SECOND
_JOBS_KEPT: Final = 10_000

Signature = tuple[str, int | str, int]


class AgentPort(Protocol):
    """What of the agent this needs."""

    @property
    def book(self) -> Book:
        """Read on the loop's thread only."""
        ...

    def put(self, event: e.Input, committed: Callable[[], None] | None = None) -> None:
        """A fact from the world; `committed` is called once its turn is."""
        ...

    def watch(self, watcher: Callable[[Entry, Book], None]) -> Callable[[], None]:
        """Be told of each committed turn."""
        ...


def _no_secrets(names: Sequence[str]) -> Mapping[str, str]:
    return dict.fromkeys(names, "")


class BusRunner:
    """A `Runner` for every market whose machines boot the node agent, and a part with `run()`.

    Make it on the loop before the agent's first turn: the book it finds counts as committed.
    """

    def __init__(
        self,
        agent: AgentPort,
        client: BusClient,
        topics: Topics,
        clock: Clock,
        *,
        epoch: int = 0,
        secrets: Callable[[Sequence[str]], Mapping[str, str]] = _no_secrets,
        silence_limit: int = SILENCE_LIMIT,
    ) -> None:
        """epoch: of our leadership. secrets: the values of secret variables by name; raises
        UserError where one is missing. silence_limit [ns]. leaving, an attribute: called with the
        lease of a machine that says that it is about to end by itself."""
        self.leaving: Callable[[LeaseId], None] = lambda _lease: None
        self.client, self.topics = client, topics
        self.refused = 0
        self._agent, self._clock, self._epoch = agent, clock, epoch
        self._secrets, self._silence_limit = secrets, silence_limit
        self._logs = LogBook()
        self._broadcast = Broadcast(client, topics, epoch)
        self._board = OrderBoard(client, topics, clock, epoch, self._fail)
        self.machines = self._board.machines
        self._flying: dict[Signature, None] = {}
        self._job_of: OrderedDict[LeaseId, tuple[JobId, int]] = OrderedDict()
        self._watched_from = clock.now()
        for lease in agent.book.leases:
            self._board.look_at(agent.book, lease)
        agent.watch(self._committed)

    # --- Runner ----------------------------------------------------------------------------------

    async def start(self, request: StartWork) -> None:
        """Have the machines told; the order is in the book already."""
        self._board.publish_soon(request.leases)

    async def stop(self, request: StopWork) -> None:
        """Have the machines told; the order is in the book already."""
        self._board.publish_soon(request.leases)

    # --- for others ------------------------------------------------------------------------------

    def logs(self, job: JobId, *, follow: bool = False) -> AsyncIterator[str]:
        """A job's newest lines, oldest first; with `follow` also those to come, until it ends."""
        return self._logs.read(job, follow=follow)

    def status(self) -> dict[str, object]:
        """How the bus is: for health checks. fault: "" while connected."""
        return {
            "connected": self.client.up_since is not None,
            "fault": self.client.fault,
            "machines": len(self.machines),
            "unsent": self._board.unsent,
            "refused": self.refused,
        }

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. The broker may come and go."""
        subscriptions = [
            (self.topics.nodes("report"), 1),
            (self.topics.nodes("log"), 0),
            (self.topics.nodes("order"), 1),
            (self.topics.status, 1),
        ]
        async with asyncio.TaskGroup() as group:
            group.create_task(self.client.run(subscriptions, self._came_up, self._heard))
            group.create_task(self._board.run())
            group.create_task(self._listen_for_silence())
            group.create_task(self._broadcast.run())

    def _came_up(self) -> None:
        """The broker is there, and believed to know nothing."""
        self._watched_from = self._clock.now()
        self._broadcast.say(self.topics.status, self._status(), retain=True)
        self._board.publish_soon(list(self._board.wanted))

    def _status(self) -> Status:
        return Status(self._epoch, online=True, at=self._clock.now())

    # --- after a commit --------------------------------------------------------------------------

    def _committed(self, entry: Entry, book: Book) -> None:
        touched: dict[LeaseId, None] = {}
        for fact in entry.facts:
            lease, placement = getattr(fact, "lease", None), getattr(fact, "placement", None)
            if lease is not None:
                touched[lease] = None
            if placement in book.placements:
                touched |= dict.fromkeys(book.placements[placement].leases)
            if isinstance(fact, e.JobEnded):
                self._logs.end(fact.job)
        for lease in touched:
            self._board.look_at(book, lease)
            self._judge(lease)
        self._broadcast.committed(entry, book)

    # --- what is heard ---------------------------------------------------------------------------

    def _heard(self, topic: str, payload: bytes) -> None:
        try:
            if topic == self.topics.status:
                self._heard_status(payload)
                return
            place = self.topics.parse(topic)
            if place is None:
                return
            lease = LeaseId(place[0])
            if place[1] == "order":
                self._heard_order(lease, payload)
            elif place[1] == "report":
                self._heard_report(lease, decode(Report, payload))
            elif place[1] == "log":
                self._heard_log(lease, decode(Log, payload))
        except MessageError:
            self.refused += 1

    def _heard_status(self, payload: bytes) -> None:
        """The last will of the leader before us may come after our first word."""
        if payload and decode(Status, payload).epoch < self._epoch:
            self._broadcast.say(self.topics.status, self._status(), retain=True)

    def _heard_order(self, lease: LeaseId, payload: bytes) -> None:
        """Our own, or one that was retained for a lease that is over."""
        book = self._agent.book
        if not payload or lease in book.leases or lease > book.last_lease:
            return
        order = decode(Order, payload)
        if order.epoch == self._epoch and order.release:
            # The echo of our own farewell: one more would have an echo, too.
            return
        self._board.dismiss(lease)

    def _heard_report(self, lease_id: LeaseId, report: Report) -> None:
        book, now = self._agent.book, self._clock.now()
        if report.lease != lease_id:
            raise MessageError("report: of another lease than its topic")
        lease = book.leases.get(lease_id)
        if lease is None:
            # One of ours that is over is told so. One we never gave out belongs to another book.
            if lease_id <= book.last_lease:
                self._board.dismiss(lease_id)
                # Nobody needs what it has still to say.
                farewell = Ack(report.boot, report.seq)
                self._broadcast.say(self.topics.node(lease_id, "ack"), farewell)
            return
        self._job_of[lease_id] = lease.job, len(book.placements[lease.placement].leases)
        while len(self._job_of) > _JOBS_KEPT:
            self._job_of.popitem(last=False)
        view = self.machines.get(lease_id)
        fresh = view is None or view.pulse is None or view.boot != report.boot
        if view is None:
            view = self.machines[lease_id] = NodeView(lease_id, now)
        address = self._board.address(lease_id)
        news = view.take(report, now)
        if fresh or address != self._board.address(lease_id):
            # It has a pulse now that its fuse can count from, and an address its gang waits for.
            for rank in book.placements[lease.placement].leases:
                self._board.look_at(book, rank)
            self._board.publish_soon([lease_id])
        if news and report.kind == "notice" and report.ends_at is not None:
            self._put(lease_id, e.MachineNoticed(lease_id, now, report.ends_at))
        if news and (report.kind == "fuse" or report.reason in BY_ITSELF):
            self.leaving(lease_id)
        if report.lacks is not None:
            self._hand_over_secrets(lease_id, report.lacks)
        if news:
            self._judge(lease_id)
        self._acknowledge(lease_id, report.base)

    def _heard_log(self, lease: LeaseId, log: Log) -> None:
        known = self._job_of.get(lease)
        if known is not None and log.lease == lease:
            self._logs.take(known[0], known[1], log)

    # --- inputs ----------------------------------------------------------------------------------

    def _judge(self, lease_id: LeaseId, *, besides: Signature | None = None) -> None:
        lease = self._agent.book.leases.get(lease_id)
        if lease is None:
            return
        now = self._clock.now()
        for event in list(differences(self._agent.book, lease, self.machines, now)):
            if _signature(event) != besides:
                self._put(lease_id, event)

    def _put(self, lease: LeaseId, event: e.Input) -> None:
        signature = _signature(event)
        if signature in self._flying:
            return
        self._flying[signature] = None
        view = self.machines.get(lease)
        if view is not None:
            view.pending += 1
        self._agent.put(event, partial(self._taken, lease, signature))

    def _taken(self, lease: LeaseId, signature: Signature) -> None:
        """An input is committed: what it said may be forgotten by the machine."""
        del self._flying[signature]
        view = self.machines.get(lease)
        if view is None:
            return
        view.pending -= 1
        # What came meanwhile; the same again only with the machine's next word.
        self._judge(lease, besides=signature)
        self._acknowledge(lease)

    def _acknowledge(self, lease: LeaseId, base: int = 0) -> None:
        """Let a machine forget what is committed; `base`: the first it has not forgotten."""
        view = self.machines.get(lease)
        if view is None or view.pending or base > view.handled:
            return
        ack = Ack(view.boot, view.handled)
        self._broadcast.say(self.topics.node(lease, "ack"), ack, retain=True)

    def _hand_over_secrets(self, lease: LeaseId, placement: int) -> None:
        """Send what the machine needs to start, once more each time it asks."""
        wish = self._board.wanted.get(lease)
        if wish is None or wish.work is None or wish.work.placement != placement:
            return
        try:
            values = dict(self._secrets(wish.work.task.secrets))
            message = Secrets(placement, values)
            self._broadcast.say(self.topics.node(lease, "secret"), message)
        except (UserError, MessageError) as error:
            self._fail(lease, str(error))

    def _fail(self, lease_id: LeaseId, error: str) -> None:
        """A job that cannot be told to its machine fails, rather than cost money for nothing."""
        lease = self._agent.book.leases.get(lease_id)
        if lease is not None:
            now = self._clock.now()
            self._put(lease_id, e.WorkEnded(lease.job, lease.placement, now, error))

    async def _listen_for_silence(self) -> None:
        """Tell the engine of machines that should report and do not, while they could."""
        while True:
            await self._clock.sleep_until(self._clock.now() + _LOOK)
            if self.client.up_since is None:
                continue
            since = self._clock.now() - self._silence_limit
            if self._watched_from > since:
                continue
            for lease in list(self._agent.book.leases.values()):
                view = self.machines.get(lease.id)
                heard = view.heard_at if view is not None else self._watched_from
                if lease.state is LeaseState.READY and heard < since:
                    self._put(lease.id, e.MachineSilent(lease.id, self._clock.now()))


def _signature(event: Any) -> Signature:
    """What an input says, without its instant."""
    subject = getattr(event, "placement", getattr(event, "lease", None))
    if subject is None:
        subject = event.job
    value = getattr(event, "work_done", getattr(event, "ends_at", 0))
    return type(event).__name__, subject, value
