"""Pretend machines at work: each speaks the bus's protocol as the real node agent does, carries the
real fuse, and works on jobs whose true progress only the world knows.

A machine's agent may die without its machine, and a machine without notice.
"""

from dataclasses import dataclass, field
from typing import Final

from treasury.bus.fields import MessageError, decode, encode
from treasury.bus.messages import PPM, Ack, Order, Report, Work
from treasury.bus.topics import Topics
from treasury.domain.time import MINUTE, SECOND
from treasury.node.fuse import Fuse
from treasury_simulations.storm.broker import MemoryBroker, Session
from treasury_simulations.storm.cloud import Cloud, Machine
from treasury_simulations.storm.loop import VirtualLoop, outside

HEARTBEAT: Final = 30 * SECOND


@dataclass(slots=True)
class Truth:
    """What is true of one job. saved_ppm: its newest durable checkpoint; writer: the placement
    that wrote it.

    finished: how often it came to its end, which may be done again when nobody heard of it;
    running: placements at work on it now, by when they began [ns of the loop]. wrong: what must
    not have happened.
    """

    work: int
    overhead: int
    interval: int
    saved_ppm: int = 0
    writer: int = 0
    finished: int = 0
    running: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class JobsTruth:
    """The jobs of a storm as they truly stand."""

    def __init__(self) -> None:
        self.jobs: dict[str, Truth] = {}

    def begin(self, job: str, placement: int, resume_ppm: int, now: int) -> None:
        """A placement begins to work on a job."""
        truth = self.jobs[job]
        if resume_ppm > truth.saved_ppm:
            truth.wrong.append(f"resumed at {resume_ppm} ppm, saved were {truth.saved_ppm}")
        truth.running[placement] = now

    def save(self, job: str, placement: int, ppm: int) -> None:
        """A checkpoint is written; an older placement is refused: the store has a fence."""
        truth = self.jobs[job]
        if placement >= truth.writer:
            truth.writer, truth.saved_ppm = placement, max(truth.saved_ppm, ppm)

    def leave(self, job: str, placement: int) -> None:
        """A placement works on it no more."""
        self.jobs[job].running.pop(placement, None)

    def finish(self, job: str, placement: int) -> None:
        """It has come to its end."""
        truth = self.jobs[job]
        if placement >= truth.writer:
            truth.finished += 1
            truth.saved_ppm = PPM
        self.leave(job, placement)


class Node:
    """The agent on one machine. It acts once a heartbeat and whenever an order comes."""

    def __init__(
        self,
        machine: Machine,
        cloud: Cloud,
        broker: MemoryBroker,
        jobs: JobsTruth,
        topics: Topics,
        loop: VirtualLoop,
        fuse_ns: int,
        epoch: int,
    ) -> None:
        self.machine, self.cloud, self.jobs = machine, cloud, jobs
        self.connected = True
        self.dead = False
        self.dead_until = 0
        self._broker, self._topics, self._loop = broker, topics, loop
        self._epoch = epoch
        self._boot = format(abs(hash_name(machine.name)), "x")
        now = loop.now_ns
        self.fuse = Fuse.lit(self._boot, now, now, fuse_ns, None)
        self._session: Session | None = None
        self._seen = (-1, -1)
        self._seq = 0
        self._spool: list[Report] = []
        self._work: Work | None = None
        self._phase = "gone"
        self._began = 0
        self._base = 0
        self._useful = 0
        self._saved = 0
        self._saved_ns = 0
        self._over: int | None = None
        self._warned = False
        self._context = outside()
        self._arm()

    def _arm(self) -> None:
        """Look at the fuse when it is about to blow: the real agent looks all the time."""
        for before in (self.fuse.span // 4, 0):
            at = max(self._loop.now_ns, self.fuse.deadline - before)
            self._loop.call_at_ns(at, self._burn, context=self._context)

    def _burn(self) -> None:
        now = self._loop.now_ns
        if self.machine.ended_at is not None:
            return
        if self.fuse.blown(now):
            self._vanish()
            self.cloud.end(self.machine, now + self._epoch, "fuse")
        elif self.fuse.closing(now) and self._phase in {"starting", "running"} and not self.dead:
            self._labour(now)
            self._stop(now, "fuse")

    # --- life ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One heartbeat of a machine that lives."""
        now = self._loop.now_ns
        if self.machine.ended_at is not None:
            self._vanish()
            return
        if self.dead and now >= self.dead_until:
            self.dead = False
        self._labour(now)
        if self.dead:
            return
        self._talk(now)

    def warn(self, until: int) -> None:
        """The market's own warning, on the machine itself."""
        now = self._loop.now_ns
        if self.dead or self.machine.ended_at is not None:
            return
        self._warned = True
        self._heed(now, until)

    def _heed(self, now: int, until: int) -> None:
        self._labour(now)
        self._tell("notice", ends_at=until)
        if self._phase in {"starting", "running"}:
            self._stop(now, "notice")

    def _vanish(self) -> None:
        """The machine is no more, and whatever ran there."""
        if self._work is not None:
            if self._warned and not self.dead and self._phase == "running":
                truth = self.jobs.jobs[self._work.job]
                truth.wrong.append(f"{self.machine.name} was warned and did not save its work")
            self.jobs.leave(self._work.job, self._work.placement)
            self._work = None
        if self._session is not None:
            self._broker.drop(self._session)
            self._session = None

    def lose(self) -> None:
        """The machine is taken at this instant."""
        self._vanish()

    # --- work ------------------------------------------------------------------------------------

    def _labour(self, now: int) -> None:
        """Let the work be where it must be by now."""
        work = self._work
        if work is None or self._phase not in {"starting", "running"}:
            return
        truth = self.jobs.jobs[work.job]
        if self._phase == "starting" and now >= self._useful:
            self._phase = "running"
            self._tell("began")
        if self._phase != "running":
            return
        ppm = self._progress(now)
        if ppm >= PPM:
            self._phase = "ended"
            self.jobs.finish(work.job, work.placement)
            self._tell("ended", progress_ppm=PPM)
        elif truth.interval and now - max(self._saved, self._useful) >= truth.interval:
            self._save(now, ppm)
            self._tell("saved", progress_ppm=ppm, saved_ns=self._saved_ns)

    def _progress(self, now: int) -> int:
        truth = self.jobs.jobs[self._work.job] if self._work else None
        if truth is None:
            return 0
        done = max(0, now - self._useful) * PPM // truth.work
        return min(PPM, self._base + done)

    def _save(self, now: int, ppm: int) -> None:
        if self._work is not None:
            self.jobs.save(self._work.job, self._work.placement, ppm)
        self._saved, self._saved_ns = now, now - self._began

    def _stop(self, now: int, reason: str) -> None:
        """Checkpoint and stop."""
        work = self._work
        if work is None or self._phase not in {"starting", "running"}:
            return
        ppm = self._progress(now) if self._phase == "running" else self._base
        self._save(now, ppm)
        self._phase = "stopped"
        self.jobs.leave(work.job, work.placement)
        self._tell("stopped", progress_ppm=ppm, saved_ns=self._saved_ns, reason=reason)

    def _start(self, work: Work, now: int) -> None:
        truth = self.jobs.jobs[work.job]
        self._work, self._phase, self._began = work, "starting", now
        gang = [m for m in self.cloud.machines.values() if m.placement == work.placement]
        if any(m.ready_at > now + self._epoch for m in gang):
            truth.wrong.append(f"placement {work.placement} began before all of it had booted")
        self._base = self._durable(work)
        self._useful = now + truth.overhead
        self._saved = self._saved_ns = 0
        self.jobs.begin(work.job, work.placement, self._base, now)

    def _durable(self, work: Work) -> int:
        """What the checkpoint on disk holds [ppm], whatever the order says."""
        return self.jobs.jobs[work.job].saved_ppm

    # --- talk ------------------------------------------------------------------------------------

    def _talk(self, now: int) -> None:
        if self._session is None:
            self._connect()
        if self._session is None:
            return
        for report in list(self._spool):
            self._send(report)
        self._send(self._report("heartbeat", now))

    def _connect(self) -> None:
        session = Session(self._deliver, self._lost, lambda: self.connected and not self.dead)
        try:
            self._broker.connect(session)
        except ConnectionError:
            return
        self._session = session
        if not self._seq:
            self._tell("hello")
        lease = self.machine.lease
        for channel in ("order", "ack", "secret"):
            self._broker.subscribe(session, self._topics.node(lease, channel))

    def _lost(self) -> None:
        self._session = None

    def _tell(self, kind: str, **what: object) -> None:
        """Spool a report; it is sent until it is acknowledged."""
        self._seq += 1
        report = self._report(kind, self._loop.now_ns, seq=self._seq, **what)
        self._spool.append(report)
        if self._session is not None:
            self._send(report)

    def _report(self, kind: str, now: int, seq: int | None = None, **what: object) -> Report:
        work = self._work
        base = self._spool[0].seq if self._spool else self._seq + 1
        fields: dict[str, object] = {
            "lease": self.machine.lease,
            "boot": self._boot,
            "seq": self._seq if seq is None else seq,
            "base": base,
            "kind": kind,
            "at": now + self._epoch,
            "pulse": self.fuse.pulse(now),
            "phase": self._phase,
            "order": max(0, self._seen[1]),
            "address": self.machine.name,
        }
        if work is not None:
            fields |= {
                "placement": work.placement,
                "rank": work.rank,
                "base_ppm": self._base,
                "elapsed_ns": max(0, now - self._began),
            }
        return Report(**(fields | what))  # type: ignore[arg-type]

    def _send(self, report: Report) -> None:
        if self._session is None:
            return
        try:
            topic = self._topics.node(self.machine.lease, "report")
            self._broker.publish(self._session, topic, encode(report), retain=False)
        except ConnectionError:
            self._session = None

    def _deliver(self, topic: str, payload: bytes, _retained: bool) -> None:
        if self.dead or self.machine.ended_at is not None:
            return
        found = self._topics.parse(topic)
        try:
            if found is not None and found[1] == "ack":
                self._acknowledged(decode(Ack, payload))
            elif found is not None and found[1] == "order":
                self._obey(decode(Order, payload))
        except MessageError:
            return

    def _acknowledged(self, ack: Ack) -> None:
        if ack.boot == self._boot:
            self._spool = [report for report in self._spool if report.seq > ack.seq]

    def _obey(self, order: Order) -> None:
        now = self._loop.now_ns
        if (order.epoch, order.number) <= self._seen or order.lease != self.machine.lease:
            return
        self._seen = (order.epoch, order.number)
        if self.fuse.extend(order.heard, order.fuse_ns, now):
            self._arm()
        self._labour(now)
        wanted = order.work
        running = self._work if self._phase in {"starting", "running"} else None
        if running is not None and (
            wanted is None or order.stop or order.release or wanted.placement != running.placement
        ):
            self._stop(now, "")
        if wanted is None or order.stop or order.release:
            return
        done = self._work is not None and self._work.placement == wanted.placement
        if not done:
            self._start(wanted, now)


def hash_name(name: str) -> int:
    """A number for a machine's name that is the same in every process."""
    value = 0
    for letter in name.encode():
        value = (value * 257 + letter) % (2**61 - 1)
    return value


# The longest a machine's agent is dead before its supervisor has it up again.
AGENT_DOWN: Final = 5 * MINUTE
