"""A market on this host: machines are slots, their work is real processes.

Prices move and machines are taken back as on a spot market, by a seed; whoever has nothing but a
laptop can run the whole of treasury against it. A machine is a process of its own that survives the
daemon (`local_machine`), its truth is in files (`local_state`), and what it costs can be read from
those without the daemon (`local_meter`).
"""

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import BidTooLow, NoCapacity, OfferGone, Unreachable
from treasury.domain.events import LeaseSeen, MachineNoticed
from treasury.domain.hardware import Shape, gpu_memory_gib, normalise_gpu
from treasury.domain.market import Capabilities, Offer, Quote, Tenure, offer_id
from treasury.domain.money import parse_rate
from treasury.domain.time import NEVER, SECOND
from treasury.ports import Site
from treasury_providers import local_processes
from treasury_providers.local_market import PricePath, life
from treasury_providers.local_settings import ZONES, LocalSettings
from treasury_providers.local_state import MARK, Ended, Grant, Machine, State

T = TypeVar("T")

REGION: Final = "host"
# How often the notices that machines have got are looked for.
_LOOK: Final = SECOND
# From the order to the first process, generously: an interpreter has to start.
_START_SECONDS: Final = 60.0


class Local:
    """The market. Nothing is started or written while it is made."""

    Settings = LocalSettings

    def __init__(self, settings: LocalSettings, site: Site) -> None:
        self.name = site.name
        self.capabilities = Capabilities(
            bids=True,
            honours_tokens=True,
            notice_ns=settings.notice,
            boot_ns=SECOND,
            billing_step_ns=settings.billing_step,
            billing_minimum_ns=settings.billing_minimum,
            gang_max=settings.slots,
        )
        self._settings, self._site = settings, site
        self._path = PricePath(
            seed=settings.seed,
            on_demand=parse_rate(settings.on_demand),
            spot=settings.spot,
            volatility=settings.volatility,
            squeezes=settings.squeezes,
            tick=settings.tick,
            origin=settings.origin,
        )
        zones = (*ZONES[: settings.zones], "")
        self._offers = {offer.id: offer for offer in map(self._offer, zones)}
        # One order at a time: a machine is not listed while it is being ended.
        self._order = threading.Lock()
        self._gone: dict[str, LeaseSeen] = {}

    def _offer(self, zone: str) -> Offer:
        """The spot pool of a zone; without one, the pool on demand."""
        gpu = normalise_gpu(self._settings.gpu)
        tenure = Tenure.SPOT if zone else Tenure.ON_DEMAND
        return Offer(
            id=offer_id(self.name, REGION, zone, "slot", tenure),
            provider=self.name,
            region=REGION,
            zone=zone,
            shape=Shape(gpu, self._settings.gpus, gpu_memory_gib(gpu), "slot"),
            tenure=tenure,
            capabilities=self.capabilities,
        )

    # --- the market ------------------------------------------------------------------------------

    async def offers(self) -> Sequence[Offer]:
        """A spot pool a zone, and one on demand."""
        return tuple(self._offers.values())

    async def quotes(self) -> AsyncIterator[Quote]:
        """The rates of all pools, again whenever they may have changed."""
        clock = self._site.clock
        while True:
            now = clock.now()
            since = self._path.next_change(now) - self._path.tick
            for offer in self._offers.values():
                yield Quote(offer.id, self._rate(offer, now), self._settings.slots, since, now)
            await clock.sleep_until(self._path.next_change(now))

    def _rate(self, offer: Offer, at: int) -> int:
        return self._path.spot_rate(offer.zone, at) if offer.zone else self._path.on_demand

    async def notices(self) -> AsyncIterator[MachineNoticed]:
        """The market's warnings, each once."""
        clock = self._site.clock
        told: set[str] = set()
        while True:
            for notice, name in await self._do(self._noticed):
                if name not in told:
                    told.add(name)
                    yield notice
            await clock.sleep_until(clock.now() + _LOOK)

    def _noticed(self) -> list[tuple[MachineNoticed, str]]:
        found = []
        for machine in self._state().machines():
            ends_at = None if machine.name in self._gone else machine.noticed()
            if ends_at is not None:
                at = ends_at - machine.grant.notice
                found.append((MachineNoticed(machine.lease, at, ends_at), machine.name))
        return found

    # --- machines --------------------------------------------------------------------------------

    async def acquire(self, request: Acquire) -> None:
        """Start machines, or go on starting those that a token has been granted before."""
        await self._do(partial(self._acquire, request))

    def _acquire(self, request: Acquire) -> None:
        with self._order:
            state = self._state()
            grant = state.grant(request.token)
            if grant is None:
                grant = self._grant(request, state)
                state.write(grant)
            for index in range(len(grant.request.leases)):
                self._start(Machine(state.root, grant, index))

    def _grant(self, request: Acquire, state: State) -> Grant:
        """What a request would be granted now. Raises Declined."""
        offer = self._offers.get(request.offer)
        if offer is None:
            raise OfferGone(f"{request.offer} is not sold here")
        now = self._site.clock.now()
        rate = self._rate(offer, now)
        if rate > request.bid:
            raise BidTooLow(
                f"{offer.id} is at {rate} nano-USD/h", until=self._path.next_change(now)
            )
        count, settings = len(request.leases), self._settings
        held = sum(
            machine.grant.request.offer == offer.id
            and machine.name not in self._gone
            and machine.ended() is None
            for machine in state.machines()
        )
        if held + count > settings.slots:
            raise NoCapacity(f"{held} of {settings.slots} slots of {offer.id} are taken")
        mean = settings.life if offer.zone else 0
        lives = [life(settings.seed, request.token, index, mean) for index in range(count)]
        return Grant(
            request=request,
            granted_at=now,
            rate=rate,
            zone=offer.zone,
            path=self._path,
            reclaims=tuple(min(NEVER, now + settings.notice + lived) for lived in lives),
            notice=settings.notice,
            step=settings.billing_step,
            minimum=settings.billing_minimum,
        )

    def _start(self, machine: Machine) -> None:
        """Boot a machine unless it has been: what was granted is started, whoever died between."""
        if machine.process() is not None or machine.ended() is not None:
            return
        machine.prepare(self._site.boot(machine.grant.request, machine.index))
        programs = Path(sys.executable).parent
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            MARK: str(machine.folder),
        }
        command = [sys.executable, "-m", "treasury_providers.local_machine"]
        root, token = str(machine.root), machine.grant.request.token
        with open(machine.folder / "console.log", "ab") as console:
            try:
                subprocess.run(  # noqa: S603 - our own module
                    [*command, root, token, str(machine.index)],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    timeout=_START_SECONDS,
                    check=True,
                )
            except (OSError, subprocess.SubprocessError) as error:
                if machine.process() is not None:
                    # It began, and has ended already: whom we called went with it.
                    return
                raise Unreachable(f"machine {machine.name} did not start: {error}") from error

    async def release(self, request: Release) -> None:
        """End a machine with all of its processes."""
        await self._do(partial(self._release, request))

    def _release(self, request: Release) -> None:
        with self._order:
            for machine in self._state().machines():
                wanted = request.machine in ("", machine.name)
                if wanted and machine.lease == request.lease and machine.ended() is None:
                    self._end(machine, "released")

    def _end(self, machine: Machine, cause: str) -> Ended:
        if not local_processes.kill(machine.folder):
            raise Unreachable(f"processes of machine {machine.name} cannot be ended")
        return machine.end(self._site.clock.now(), cause)

    async def leases(self) -> Sequence[LeaseSeen]:
        """Every machine that was granted; those that are gone for as long as is remembered."""
        return await self._do(self._leases)

    def _leases(self) -> list[LeaseSeen]:
        with self._order:
            state = self._state()
            requests: dict[str, tuple[Grant, list[LeaseSeen]]] = {}
            for machine in state.machines():
                token = machine.grant.request.token
                _, items = requests.setdefault(token, (machine.grant, []))
                items.append(self._gone.get(machine.name) or self._look(machine))
            old = self._site.clock.now() - self._settings.remember
            seen: list[LeaseSeen] = []
            for grant, items in requests.values():
                if all(item.ended_at is not None and item.ended_at < old for item in items):
                    state.forget(grant)
                    for item in items:
                        del self._gone[item.machine]
                else:
                    seen += items
            return seen

    def _look(self, machine: Machine) -> LeaseSeen:
        """What a machine is up to; one without its first process is ended, all of it."""
        ended = machine.ended()
        if ended is None:
            try:
                self._start(machine)
            except Unreachable:
                ended = self._end(machine, "did not start")
            else:
                if not machine.alive():
                    # The first process says why it ends before it does: look again.
                    ended = machine.ended() or self._end(machine, "crashed")
        request = machine.grant.request
        item = LeaseSeen(
            lease=machine.lease,
            placement=request.placement,
            machine=machine.name,
            granted_at=machine.grant.granted_at,
            rate=machine.grant.rate,
            token=request.token,
            ended_at=None if ended is None else max(ended.at, machine.grant.granted_at),
            cause="" if ended is None else ended.cause,
        )
        if ended is not None:
            self._gone[machine.name] = item
        return item

    async def rebid(self, request: ChangeBid) -> None:
        """Change the bid of a machine."""
        await self._do(partial(self._rebid, request))

    def _rebid(self, request: ChangeBid) -> None:
        for machine in self._state().machines():
            if machine.lease == request.lease and machine.ended() is None:
                machine.bid = request.bid

    async def close(self) -> None:
        """Nothing is held open; machines go on."""

    async def _do(self, function: Callable[[], T]) -> T:
        """The result of something that touches files. What could not be written was not done, and
        may be asked for again: each file is complete or absent."""
        try:
            return await self._site.offload.run(function)
        except OSError as error:
            raise Unreachable(f"{error.filename or self._site.state}: {error.strerror}") from error

    def _state(self) -> State:
        return State(self._site.state)


__all__ = ["Local"]
