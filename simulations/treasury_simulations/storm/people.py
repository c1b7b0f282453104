"""People of a storm: they submit jobs until it is acknowledged, and change their minds."""

import asyncio
from typing import Any, Final

from treasury.domain.budget import Mode
from treasury.domain.errors import StoreError
from treasury.domain.events import (
    CancelJob,
    ChangeBudget,
    DrainProvider,
    FreezeBudget,
    Input,
    MoveJob,
    PreemptJob,
    SetConduct,
    SubmitJob,
)
from treasury.domain.ids import CostCentre, ProviderName
from treasury.domain.job import JobSpec
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.storm.swarm import EPOCH
from treasury_simulations.storm.world import StormWorld

_PATIENCE: Final = 90 * SECOND
_AGAIN: Final = 5 * MINUTE
_BY: Final = "somebody"


class People:
    """acknowledged: jobs whose submission was answered."""

    def __init__(self, world: StormWorld) -> None:
        self.world = world
        self.acknowledged: list[str] = []
        self._weather = world.weather

    def begin(self) -> None:
        """Let them come."""
        for spec in self.world.swarm.jobs:
            self.world.spawn(self._submit(spec))
        self.world.spawn(self._meddle())

    async def _submit(self, spec: JobSpec) -> None:
        """Submit one job, again and again until there is an answer."""
        await self._until(spec.submitted_at)
        while True:
            if await self.ask(SubmitJob(spec)):
                break
            await asyncio.sleep(_AGAIN / SECOND)
        self.acknowledged.append(spec.id)
        if self._weather.strikes("resubmitted"):
            await self.ask(SubmitJob(spec))

    async def _until(self, instant: int) -> None:
        await asyncio.sleep(max(0, instant - EPOCH - self.world.loop.now_ns) / SECOND)

    async def ask(self, event: Input) -> bool:
        """Have a daemon decide on something; whether it answered."""
        for control in self.world.controls:
            process: Any = control.process
            if not control.alive or process is None or not process.ready.is_set():
                continue
            try:
                async with asyncio.timeout(_PATIENCE / SECOND):
                    await process.agent.submit(event)
            except (TimeoutError, StoreError):
                continue
            return True
        return False

    async def _meddle(self) -> None:
        """Once a minute somebody may have an idea."""
        while True:
            await asyncio.sleep(60)
            for name, event in self._ideas():
                if self._weather.strikes(name):
                    await self.ask(event)

    def _ideas(self) -> list[tuple[str, Input]]:
        weather, world = self._weather, self.world
        job = world.swarm.jobs[weather.pick(len(world.swarm.jobs))].id
        cloud = world.clouds[weather.pick(len(world.clouds))]
        offers = list(cloud.pools)
        offer = offers[weather.pick(len(offers))]
        centre = CostCentre(("lab", "red", "blue")[weather.pick(3)])
        yes = weather.pick(2) == 0
        modes = (Mode.ENFORCE, Mode.ENFORCE, Mode.RECOMMEND, Mode.OBSERVE)
        return [
            ("budget_cut", ChangeBudget(centre, -weather.pick(100) * MICRO, _BY)),
            ("budget_frozen", FreezeBudget(centre, yes, _BY)),
            ("job_cancelled", CancelJob(job)),
            ("job_preempted", PreemptJob(job, _BY)),
            ("job_moved", MoveJob(job, offer, 100 * cloud.pools[offer].rate, _BY)),
            ("provider_drained", DrainProvider(ProviderName(cloud.name), yes, _BY)),
            ("conduct_changed", SetConduct(modes[weather.pick(4)], _BY)),
        ]

    async def settle(self) -> None:
        """After the storm: what was switched off is switched on again."""
        for centre in ("lab", "red", "blue"):
            await self.insist(FreezeBudget(CostCentre(centre), False, _BY))
            await self.insist(ChangeBudget(CostCentre(centre), 10_000 * MICRO, _BY))
        for cloud in self.world.clouds:
            await self.insist(DrainProvider(ProviderName(cloud.name), False, _BY))
        await self.insist(SetConduct(Mode.ENFORCE, _BY))

    async def give_up(self) -> None:
        """Cancel whatever has not ended."""
        for spec in self.world.swarm.jobs:
            await self.insist(CancelJob(spec.id))

    async def insist(self, event: Input) -> None:
        """Ask until somebody answers. Raises TimeoutError after hours."""
        for _ in range(12 * 6):
            if await self.ask(event):
                return
            await asyncio.sleep(_AGAIN / SECOND)
        raise TimeoutError(f"no daemon answered for {6 * HOUR // HOUR} hours in calm weather")
