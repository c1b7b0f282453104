"""The node agent: keeps the machine in the state its newest order wants.

Orders are levels, not events: each is the whole wish, and a lost one costs nothing once the next
has come. One thread decides here; the bus, the notices and the work have threads of their own and
hand in what they hear.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from treasury.bus.fields import MessageError, decode, encode, plain
from treasury.bus.messages import Ack, Log, NodeConfig, Order, Report, Secrets
from treasury.node.clock import NodeClock
from treasury.node.files import read_json, write_json
from treasury.node.fuse import Fuse
from treasury.node.link import Link
from treasury.node.metadata import MARKETS, Advice, Notice, NoticeFile, Watcher, watch
from treasury.node.spool import Spool
from treasury.node.standing import kept_order, standing
from treasury.node.tail import Tail
from treasury.node.usage import utilisation_ppm
from treasury.node.work import SECOND, Running, Surroundings, View

_TICK_S = 0.1
# How long the last reports may take to be acknowledged before the machine goes anyway.
_GOODBYE_NS = 10 * SECOND
_RESEND_NS = 5 * SECOND
_SHUTDOWN_NS = 30 * SECOND
# Reports sent ahead of their acknowledgement.
_WINDOW = 50
_LOGS_A_TICK = 5


class NodeAgent:
    """One machine's agent. `run` returns when the machine is to end."""

    def __init__(self, config: NodeConfig, boot: str, identity: str, clock: NodeClock) -> None:
        """boot: names this start of the machine; identity: this start of the agent."""
        self._config, self._clock = config, clock
        self._state = Path(config.state)
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._link = Link(config, identity)
        self._told: SimpleQueue[tuple[Watcher, Notice | Advice]] = SimpleQueue()
        self._spool_lock = threading.Lock()
        self._spool = Spool(self._state / "spool", lambda: identity)
        kept = read_json(self._state / "agent.json")
        kept = kept if isinstance(kept, dict) else {}
        now, wall = clock.boot(), clock.wall()
        self._fuse = Fuse.lit(boot, now, wall, config.fuse_ns, kept.get("fuse"))
        self._last = (int(kept.get("epoch", -1)), int(kept.get("number", -1)))
        self._starts = int(kept.get("starts", 0))
        # Why the machine starts nothing any more; empty while it may.
        self._latch = ""
        self._order: Order | None = None
        if isinstance(kept.get("order"), dict):
            self._order = kept_order(kept["order"])
        self._secrets: Secrets | None = None
        self._around = Surroundings(
            self._state, boot, clock, self._tell, config.checkpoint_every_ns, config.log_bytes
        )
        self._work: Running | None = None
        self._tail: Tail | None = None
        self._log_number = 0
        self._beat_at = self._resend_at = 0
        self._sent = 0
        self._usage: int | None = None
        self._leaving: int | None = None
        self._acknowledge: tuple[Watcher, str] | None = None
        self._terminated = threading.Event()

    # --- life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until the machine goes back, its fuse has blown, or SIGTERM has been obeyed."""
        self._adopt()
        for watcher in self._watchers():
            watch(watcher, lambda who, told: self._told.put((who, told)))
        threading.Thread(target=self._measure, daemon=True).start()
        self._link.start()
        self._report("hello")
        while not self._over():
            self._step()
        if self._work is not None:
            self._work.kill()
            self._work.join(5.0)
        self._link.close()
        self._power_off()

    def terminate(self) -> None:
        """The machine is going down: save the work, then leave. Safe in a signal handler."""
        self._terminated.set()

    def _watchers(self) -> list[Watcher]:
        found: list[Watcher] = []
        if self._config.metadata:
            make = MARKETS[self._config.metadata]
            found.append(make(self._clock.wall, self._config.metadata_url))
        if self._config.notice_file:
            found.append(NoticeFile(self._clock.wall, self._config.notice_file))
        return found

    def _adopt(self) -> None:
        work = Running.kept(self._around)
        if work is None:
            return
        self._follow(work)
        if work.view().reason not in ("", "ordered"):
            self._latch = work.view().reason
        work.adopt()

    def _follow(self, work: Running) -> None:
        self._work = work
        if self._tail is not None:
            self._tail.close()
        rate = self._config.log_lines_per_second
        self._tail = Tail(work.log, rate, self._clock.boot())

    def _step(self) -> None:
        self._hear()
        now = self._clock.boot()
        if self._terminated.is_set() and not self._latch:
            self._halt("shutdown", now + _SHUTDOWN_NS)
            self._report("notice", ends_at=self._clock.wall() + _SHUTDOWN_NS)
        if not self._latch and self._fuse.closing(now):
            self._halt("fuse", self._fuse.deadline)
            self._report("fuse")
        self._pursue()
        # What a program wrote goes before the word that it has ended.
        self._send_log(now)
        self._send(now)

    def _hear(self) -> None:
        """Take in what has come, waiting a moment for the first of it."""
        timeout: float | None = _TICK_S
        while True:
            try:
                channel, payload = self._link.inbox.get(timeout=timeout, block=timeout is not None)
            except Empty:
                break
            timeout = None
            self._take(channel, payload)
        while True:
            try:
                watcher, told = self._told.get_nowait()
            except Empty:
                return
            self._notice(watcher, told)

    # --- what is heard ----------------------------------------------------------------------------

    def _take(self, channel: str, payload: bytes) -> None:
        try:
            if channel == "up":
                self._sent = 0
                self._beat_at = 0
            elif channel == "ack":
                ack = decode(Ack, payload)
                with self._spool_lock:
                    self._spool.acked(ack.boot, ack.seq)
            elif channel == "secret":
                self._secrets = decode(Secrets, payload)
            elif channel == "order" and payload:
                self._obey(decode(Order, payload))
        except MessageError:
            # Somebody else's bytes, or a newer control's: the next order counts.
            return

    def _obey(self, order: Order) -> None:
        """Take an order as the present wish, unless a newer one has been taken before."""
        if order.lease != self._config.lease or (order.epoch, order.number) <= self._last:
            return
        self._last, self._order = (order.epoch, order.number), order
        self._fuse.extend(order.heard, order.fuse_ns, self._clock.boot())
        self._keep()
        # An answer at once: the control counts on what was said in the knowledge of its order.
        self._beat_at = 0

    def _keep(self) -> None:
        order = None if self._order is None else plain(self._order)
        write_json(
            self._state / "agent.json",
            {
                "epoch": self._last[0],
                "number": self._last[1],
                "order": order,
                "starts": self._starts,
                "fuse": self._fuse.kept(self._clock.boot(), self._clock.wall()),
            },
        )

    def _notice(self, watcher: Watcher, told: Notice | Advice) -> None:
        if isinstance(told, Advice):
            if self._work is not None:
                self._work.save_soon()
            return
        if told.event:
            self._acknowledge = (watcher, told.event)
        if self._latch:
            return
        left = max(0, told.ends_at - self._clock.wall())
        self._halt("notice", self._clock.boot() + left)
        self._report("notice", ends_at=told.ends_at)

    # --- what is done -----------------------------------------------------------------------------

    def _halt(self, reason: str, until: int) -> None:
        """Stop the work, start none any more."""
        self._latch = reason
        if self._work is not None:
            self._work.stop(reason, until)

    def _pursue(self) -> None:
        """Bring the work nearer to what the order wants."""
        work, order = self._work, self._order
        if self._acknowledge is not None and (work is None or work.done()):
            (watcher, event), self._acknowledge = self._acknowledge, None
            threading.Thread(target=_quietly, args=(watcher, event), daemon=True).start()
        if work is not None and work.done() and work.view().reason not in ("", "ordered"):
            self._latch = self._latch or work.view().reason
        if order is None or self._latch:
            return
        wanted = order.work
        if work is not None and work.view().phase == "gone":
            work = self._work = None
        live = work is not None and not work.done()
        if wanted is None or order.release or order.stop:
            if work is not None and live:
                work.stop("ordered")
            return
        if work is not None and work.work.placement != wanted.placement:
            if live:
                work.stop("ordered")
                return
        elif work is not None and (live or work.view().phase == "ended"):
            return
        if self._lacks() is None:
            self._starts += 1
            self._keep()
            self._follow(Running.fresh(self._around, wanted, self._starts))
            values = self._secrets.values if self._secrets and wanted.task.secrets else {}
            if self._work is not None:
                self._work.begin(values)

    def _lacks(self) -> int | None:
        """The placement whose secrets are needed and not here."""
        order = self._order
        wanted = order.work if order is not None else None
        if wanted is None or not wanted.task.secrets:
            return None
        known = self._secrets
        here = known is not None and known.placement == wanted.placement
        return None if here else wanted.placement

    def _over(self) -> bool:
        """Whether it is time to end: the machine goes back, or ends by itself."""
        now = self._clock.boot()
        if self._fuse.blown(now):
            return True
        released = self._order is not None and self._order.release
        if not released and self._latch not in ("shutdown", "fuse"):
            return False
        if self._work is not None and not self._work.done():
            return False
        if self._leaving is None:
            self._leaving = now + _GOODBYE_NS
        return not self._spool.waiting() or now >= self._leaving

    def _power_off(self) -> None:
        command = list(self._config.poweroff_command)
        if command and self._latch != "shutdown":
            subprocess.run(  # noqa: S603 - the operator's own command
                command, stdin=subprocess.DEVNULL, check=False
            )

    # --- what is said -----------------------------------------------------------------------------

    def _measure(self) -> None:
        pause = threading.Event()
        while True:
            self._usage = utilisation_ppm()
            pause.wait(max(5.0, self._config.heartbeat_ns / SECOND))

    def _standing(self, view: View | None) -> dict[str, Any]:
        dropped = self._tail.dropped if self._tail is not None else 0
        return standing(self._order, self._latch, self._work, view, dropped)

    def _tell(self, kind: str, view: View) -> None:
        """A report of the work's own thread."""
        self._report(kind, view)

    def _report(self, kind: str, view: View | None = None, **fields: Any) -> None:
        """Write down what must arrive. Durable on return; sent by the agent's own thread."""
        state = self._standing(view)
        with self._spool_lock:
            self._spool.add(lambda seq, base: self._made(kind, seq, base, {**state, **fields}))

    def _made(self, kind: str, seq: int, base: int, fields: dict[str, Any]) -> Report:
        return Report(
            lease=self._config.lease,
            boot=self._spool.boot,
            seq=seq,
            base=base,
            kind=kind,
            at=self._clock.wall(),
            pulse=self._fuse.pulse(self._clock.boot()),
            order=max(0, self._last[1]),
            address=self._link.address(),
            **fields,
        )

    def _send(self, now: int) -> None:
        if not self._link.up():
            return
        with self._spool_lock:
            waiting = self._spool.waiting()[:_WINDOW]
            base = self._spool.base
        fresh = [report for report in waiting if report.seq > self._sent]
        if not fresh and now >= self._resend_at:
            fresh = waiting
        for report in fresh:
            self._link.publish("report", encode(replace(report, base=base)))
            self._sent = report.seq
            self._resend_at = now + _RESEND_NS
        if now >= self._beat_at:
            self._beat_at = now + self._config.heartbeat_ns
            fields = {**self._standing(None), "utilisation_ppm": self._usage}
            fields["lacks"] = self._lacks()
            with self._spool_lock:
                beat = self._made("heartbeat", self._spool.seq, self._spool.base, fields)
            self._link.publish("report", encode(beat), qos=0)

    def _send_log(self, now: int) -> None:
        work, tail = self._work, self._tail
        if work is None or tail is None or not self._link.up():
            return
        for _ in range(_LOGS_A_TICK):
            lines = tail.lines(now)
            if not lines:
                return
            self._log_number += 1
            log = Log(
                lease=self._config.lease,
                placement=work.work.placement,
                rank=work.work.rank,
                number=self._log_number,
                lines=tuple(lines),
                dropped=tail.dropped,
            )
            self._link.publish("log", encode(log), qos=0)


def _quietly(watcher: Watcher, event: str) -> None:
    """Acknowledge; a market that does not take it begins at its own instant."""
    try:
        watcher.acknowledge(event)
    except (OSError, ValueError):
        return


def serve(config: NodeConfig, boot: str, identity: str, clock: NodeClock) -> None:
    """Run an agent in this process until its machine is to end; SIGTERM saves the work first."""
    agent = NodeAgent(config, boot, identity, clock)
    signal.signal(signal.SIGTERM, lambda *_: agent.terminate())
    signal.signal(signal.SIGINT, lambda *_: agent.terminate())
    agent.run()
