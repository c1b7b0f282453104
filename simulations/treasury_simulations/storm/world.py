"""The world of one storm: clouds, machines, a broker and control nodes on one virtual loop, and the
misfortunes that befall them from outside."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from treasury.bus.topics import Topics
from treasury.domain.errors import StoreError
from treasury.domain.events import MachineNoticed
from treasury.domain.ids import LeaseId
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.storm.broker import MemoryBroker
from treasury_simulations.storm.checks import Checks, Violation
from treasury_simulations.storm.cloud import DUE_EVERY, MOVE_EVERY, Cloud, Machine
from treasury_simulations.storm.hosts import Control
from treasury_simulations.storm.loop import WORLD, Host, VirtualLoop
from treasury_simulations.storm.nodes import AGENT_DOWN, JobsTruth, Node, Truth
from treasury_simulations.storm.port import CloudPort
from treasury_simulations.storm.swarm import EPOCH, OWNER, Swarm, clouds
from treasury_simulations.storm.weather import OUTAGE, PAUSE, Weather

_LOOK: Final = 5 * MINUTE
_CLOCK_JUMP: Final = 26 * HOUR


class StormWorld:
    """Everything outside the daemons. nodes: by machine; ports: connections by control node."""

    def __init__(
        self,
        swarm: Swarm,
        weather: Weather,
        database: Path,
        make: Callable[["StormWorld"], Any],
        *,
        trace: bool = False,
    ) -> None:
        self.swarm, self.weather = swarm, weather
        self.loop = VirtualLoop(swarm.seed, trace=trace)
        self.clouds = clouds(swarm)
        self.broker = MemoryBroker(self.loop, weather)
        self.topics = Topics(OWNER)
        self.jobs = JobsTruth()
        self.nodes: dict[str, Node] = {}
        self.ports: dict[str, list[CloudPort]] = {}
        self.checks = Checks(
            self.clouds, self.jobs, database, self.now, swarm.settings.horizon + 2 * MOVE_EVERY
        )
        self.healthy_since: int | None = None
        for cloud in self.clouds:
            cloud.doubled = self.checks.doubled
        self.failed: asyncio.Future[None] = self.loop.create_future()
        for spec in swarm.jobs:
            self.jobs.jobs[spec.id] = Truth(
                spec.work, spec.start_overhead, spec.checkpoint_interval
            )
        run = make(self)
        self.controls = [
            Control(name, self.loop, weather, EPOCH, swarm.seed, database, swarm.lease, run)
            for name in ("left", "right")[: swarm.controls]
        ]
        if swarm.controls > 1:
            for control in self.controls:
                control.claimed = self._claimed
        for cloud in self.clouds:
            cloud.began.append(partial(self._began, cloud))
            cloud.ended.append(self._ended)

    def now(self) -> int:
        """The true time [ns]."""
        return EPOCH + self.loop.now_ns

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in the world; what it raises ends the storm."""
        self.loop.spawn(WORLD, self._told(work))

    async def _told(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - raised where the storm is awaited
            if not self.failed.done():
                self.failed.set_exception(error)

    def _claimed(self, who: str, what: str) -> None:
        if not self.checks.leads(who):
            self.checks.usurped.append(f"{who} called {what} and does not lead")

    # --- machines --------------------------------------------------------------------------------

    def _began(self, cloud: Cloud, machine: Machine) -> None:
        """A machine begins to boot; unless it never does, its agent speaks up."""
        if machine.by_hand or self.weather.strikes("node_never_boots"):
            return
        # The fuse of a machine that nobody extends: what is held at its request.
        fuse = self.swarm.settings.horizon
        node = Node(machine, cloud, self.broker, self.jobs, self.topics, self.loop, fuse, EPOCH)
        self.nodes[machine.name] = node
        at = machine.ready_at - EPOCH
        self.loop.call_at_ns(at, self._beat, node)

    def _beat(self, node: Node) -> None:
        """One heartbeat, and the next one."""
        node.tick()
        if node.machine.ended_at is None:
            following = self.loop.now_ns + self.swarm.heartbeat
            self.loop.call_at_ns(following, self._beat, node)

    def _ended(self, machine: Machine) -> None:
        node = self.nodes.pop(machine.name, None)
        if node is not None:
            node.lose()

    # --- what happens by itself ------------------------------------------------------------------

    def _maybe_kill(self, host: Host) -> None:
        """Kill a daemon before any of its steps: that is, at any of its awaits."""
        if host[0] != WORLD[0] and self.weather.strikes("killed"):
            for control in self.controls:
                if control.host == host:
                    control.kill()

    def begin(self) -> None:
        """Let everything begin."""
        if "killed" in self.weather.odds:
            self.loop.before_step = self._maybe_kill
        self.spawn(self._markets())
        self.spawn(self._endings())
        self.spawn(self._misfortunes())
        self.spawn(self._watch())
        for control in self.controls:
            control.boot()

    async def _markets(self) -> None:
        weather = self.weather
        while True:
            await asyncio.sleep(MOVE_EVERY / SECOND)
            for cloud in self.clouds:
                self._warn(cloud.move(self.now()))
                if weather.strikes("price_spike"):
                    pool = self._any(list(cloud.pools.values()))
                    pool.rate *= 10
                if weather.strikes("pool_taken"):
                    offer = self._any(list(cloud.pools))
                    self._warn(cloud.take_pool(offer, self.now()))
                living = list(cloud.machines.values())
                if living and weather.strikes("interrupted_without_notice"):
                    cloud.end(self._any(living), self.now(), "interrupted")
                if living and weather.strikes("foreign_delete"):
                    cloud.end(self._any(living), self.now(), "deleted")
                if weather.strikes("human_launch"):
                    cloud.by_hand(LeaseId(1), self.now())

    def _any(self, things: list[Any]) -> Any:
        return things[self.weather.pick(len(things))]

    def _warn(self, noticed: list[tuple[Machine, int]]) -> None:
        """Warnings go to every daemon that listens; some are lost, some come twice."""
        for machine, until in noticed:
            notice = MachineNoticed(machine.lease, self.now(), until)
            node = self.nodes.get(machine.name)
            if node is not None:
                node.warn(until)
            for ports in self.ports.values():
                for port in ports:
                    if port.name != machine.offer.provider:
                        continue
                    if self.weather.strikes("notice_lost"):
                        continue
                    port.warn(notice)
                    if self.weather.strikes("notice_twice"):
                        port.warn(notice)

    async def _endings(self) -> None:
        while True:
            await asyncio.sleep(DUE_EVERY / SECOND)
            for cloud in self.clouds:
                cloud.due(self.now())

    async def _misfortunes(self) -> None:
        """Once a minute, what befalls hosts, networks, brokers and clocks."""
        while True:
            await asyncio.sleep(60)
            for control in self.controls:
                self._befall(control)
            if self.weather.strikes("broker_down"):
                self.broker.fail(forget=self.weather.pick(2) == 0)
                later = self.loop.now_ns + self.weather.span(OUTAGE // 4)
                self.loop.call_at_ns(later, self.broker.rise)
            if self.weather.strikes("all_dead"):
                for control in self.controls:
                    control.down(self.weather.span(OUTAGE))
            for node in list(self.nodes.values()):
                if self.weather.strikes("node_dies"):
                    node.dead = True
                    node.dead_until = self.loop.now_ns + self.weather.span(AGENT_DOWN)

    def _befall(self, control: Control) -> None:
        weather = self.weather
        if weather.strikes("paused"):
            self.loop.pause(control.name, self.loop.now_ns + weather.span(PAUSE))
        if weather.strikes("cut_off"):
            control.cut_until = self.now() + weather.span(OUTAGE // 8)
        if weather.strikes("store_down"):
            until = self.now() + weather.span(OUTAGE)
            for each in self.controls:
                each.store_down_until = until
        if weather.strikes("clock_jump"):
            control.skew += weather.span(_CLOCK_JUMP) * (1 if weather.pick(2) else -1)

    async def _watch(self) -> None:
        """Look every few minutes; what is found ends the storm."""
        while True:
            await asyncio.sleep(_LOOK / SECOND)
            if self._healthy():
                if self.healthy_since is None:
                    self.healthy_since = self.now()
            else:
                self.healthy_since = None
            self.checks.look(self.now(), self.healthy_since)
            for control in self.controls:
                for error in control.crashes:
                    if not isinstance(error, StoreError):
                        raise Violation(f"a daemon ended with {type(error).__name__}: {error}")

    def _healthy(self) -> bool:
        """Whether some daemon leads, is at work and reaches everything."""
        for control in self.controls:
            process: Any = control.process
            well = control.alive and process is not None and process.ready.is_set()
            down = max(control.cut_until, control.store_down_until) > self.now()
            if well and not down and process.leadership.holds():
                return True
        return False

    def relent(self) -> None:
        """The storm is over: what is broken is mended."""
        self.weather.calm = True
        self.broker.rise()
        for control in self.controls:
            control.cut_until = control.store_down_until = 0
            control.boot()
        for node in self.nodes.values():
            node.dead = False
