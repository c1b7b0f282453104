"""One daemon, three clouds at once: it places, is warned, is interrupted, migrates, and is done."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.azure.arm import Arm
from tests.counterparts.gcp.gce import Gce
from tests.support.aws import adapter, counterpart, with_canaries
from tests.support.cloud_launches import Launches, LoopClock, run_hastily
from tests.support.clouds import azure, gcp
from tests.support.daemon import Cheapest
from treasury.domain.events import LeaseNoticed, LeasesGranted, MigrationFinished, PlacementOpened
from treasury.domain.job import JobState
from treasury.domain.money import NANO
from treasury.domain.plan import Migrate, Place, Plan
from treasury.domain.time import SECOND
from treasury.engine import replay
from treasury.ledger.audit import audit
from treasury_providers.azure import CAPABILITIES as AZURE
from treasury_providers.gcp import CAPABILITIES as GOOGLE

pytestmark = pytest.mark.slow

SPEED, JOBS = 20, 9
# When [s] a cloud undercuts the others, and what its machines cost from then on [nano-USD/h].
SALES = ((150, "azure", NANO // 20), (300, "gcp", NANO // 50))
# When [s] a machine is taken back wherever most of them are.
TAKES = (90, 110, 240, 260, 380, 400)


class Sky:
    """Several clouds as one, as far as `Launches` looks."""

    def __init__(self, **clouds: Any) -> None:
        self.clouds = clouds
        self.met: dict[Any, int] = {}
        self.calls: dict[Any, int] = {}

    @property
    def alive(self) -> dict[str, Any]:
        """Machines of all that run."""
        return {name: m for cloud in self.clouds.values() for name, m in cloud.alive.items()}

    @property
    def all(self) -> list[Any]:
        """Machines of all, ever."""
        return [machine for cloud in self.clouds.values() for machine in cloud.all]

    def charge(self, machine: Any) -> int:
        """By the meter of the machine's own cloud."""
        return self.clouds[machine.offer.provider].charge(machine)


class Bargains(Cheapest):
    """Places on the cheapest offer, and moves what runs for more than double elsewhere."""

    def propose(self, snapshot: Any) -> Plan:
        """See the port."""
        again = snapshot.now + 5 * SECOND
        free = [v for v in snapshot.offers if v.rate > 0 and v.free(snapshot.now)]
        if not free:
            return Plan(snapshot.version, (), review_at=again)
        best = min(free, key=lambda view: view.rate)
        rates = {view.offer.id: view.rate for view in snapshot.offers}
        actions: list[Any] = []
        for job in snapshot.jobs:
            if job.state is JobState.QUEUED:
                actions.append(Place(job.spec.id, best.offer.id, 2 * best.rate))
            elif job.state is not JobState.RUNNING or job.migrating:
                continue
            elif rates[job.placement.offer] > 2 * best.rate:
                actions.append(Migrate(job.spec.id, best.offer.id, 2 * best.rate))
        return Plan(snapshot.version, tuple(actions), review_at=again)


class Journey(Launches):
    """Sales and interruptions at their times; the daemon lives."""

    def __init__(self, sky: Sky, clock: LoopClock, hands: dict[str, Any], make: Any) -> None:
        gpus = ("A100-40GB", "A100-80GB", "A10G", "H100", "L4", "T4")
        super().__init__(sky, clock, make, jobs=JOBS, gpus=gpus, seed=1)
        self.hands, self.began = hands, 0
        self.sales, self.takes = list(SALES), list(TAKES)

    def strategy(self) -> Bargains:
        """See above."""
        return Bargains()

    def _submit(self, agent: Any) -> None:
        if self.began:
            super()._submit(agent)

    def work(self, number: int) -> int:
        """Long enough for both sales."""
        return (380 + 10 * number) * SECOND

    async def disturb(self, agent: Any) -> bool:
        """One thing at a time, when it is due; all begins when every cloud has told its prices."""
        if not self.began:
            told = {r.offer.provider for r in agent.book.offers.values() if r.rate > 0}
            self.began = self.clock.now() if len(told) == len(self.hands) else 0
            return False
        since = (self.clock.now() - self.began) // SECOND
        if self.sales and since >= self.sales[0][0]:
            _, name, rate = self.sales.pop(0)
            for offer, pool in self.cloud.clouds[name].pools.items():
                if pool.offer.tenure.value == "spot":
                    self.hands[name].set_rate(offer, rate)
        if self.takes and since >= self.takes[0]:
            self.takes.pop(0)
            there = Counter(lease.provider for lease in agent.book.leases.values())
            if there:
                name = there.most_common(1)[0][0]
                machines = [m for m in self.cloud.clouds[name].alive.values() if not m.taken_at]
                if machines:
                    self.taken += 1
                    await self.hands[name].interrupt(machines[0].name, notices=2)
        return False


def test_a_fleet_travels_through_three_clouds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs start where it is cheapest, follow two sales from cloud to cloud by migration, survive
    interruptions that each cloud announces in its own way, and finish; every cloud is empty then,
    the ledger is the sum of the three meters, and its books are sound."""
    with_canaries(monkeypatch)
    for name in ("azure", "gcp"):
        (tmp_path / name).mkdir()

    async def main(loop: asyncio.AbstractEventLoop) -> Journey:
        clock = LoopClock(loop)
        async with (
            counterpart(clock) as aws,
            Arm(clock, AZURE) as arm,
            Gce(clock, GOOGLE) as gce,
        ):
            hands = {"aws": aws, "azure": arm, "gcp": gce}

            def make() -> list[Any]:
                east = {"tenures": ("spot",), "timeout": 100 * SECOND, "prices": 10 * SECOND}
                return [
                    adapter(aws, tmp_path / "aws", clock, **east),
                    azure(arm, tmp_path / "azure", on_demand=False),
                    gcp(gce, tmp_path / "gcp", on_demand=False),
                ]

            sky = Sky(aws=aws, azure=arm.cloud, gcp=gce.cloud)
            journey = Journey(sky, clock, hands, make)
            await journey.run()
            journey.verify()
            for cloud in sky.clouds.values():
                assert cloud.violations == []
            return journey

    journey = run_hastily(main, SPEED)
    facts = [fact for entry in journey.store.entries() for fact in entry.facts]
    where = {
        fact.placement: fact.offer.split("/")[0]
        for fact in facts
        if isinstance(fact, PlacementOpened)
    }
    granted = Counter(where[fact.placement] for fact in facts if isinstance(fact, LeasesGranted))
    assert set(granted) == {"aws", "azure", "gcp"}
    migrations = Counter(where[f.placement] for f in facts if isinstance(f, MigrationFinished))
    assert migrations["azure"] > 0
    assert migrations["gcp"] > 0
    assert sum(isinstance(fact, LeaseNoticed) for fact in facts) >= 3
    book = replay(journey.store.entries())
    assert not book.jobs
    assert not book.leases
    assert set(book.ended.values()) == {"finished"}
    assert audit(journey.store.entries(), book.ledger.accounts) == []
