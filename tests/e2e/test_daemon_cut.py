"""The broker dies, the cable to the machines is pulled: jobs go on, and nobody is paid for nothing.

With real Mosquitto, the files that `treasury bus acl` writes, and real processes.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cable import MOSQUITTO, Broker, Cable
from tests.support.farm import farm, pause, until
from treasury.domain.events import LeaseEnded
from treasury_providers import local_meter

pytestmark = pytest.mark.slow


@pytest.fixture
def broker(tmp_path: Path, require) -> Iterator[Broker]:
    """Mosquitto for the daemon in tmp_path."""
    require(MOSQUITTO, "no mosquitto on this machine")
    found = Broker(tmp_path, tmp_path / "treasury-state")
    found.start()
    yield found
    found.kill()


def test_the_broker_is_killed(tmp_path: Path, broker: Broker):
    """What it forgot is said again: jobs that began before, during and after are all right, and
    none is done twice."""
    dice = random.Random(5)
    with farm(tmp_path, bus_port=broker.port) as here:
        here.start()
        here.submit(4.0, count=2)
        until(here.running, "a job runs")
        for _ in range(2):
            broker.kill()
            here.submit(2.0)
            pause(dice.uniform(0, 3))
            broker.start()
            pause(dice.uniform(0, 3))
        here.settle()
        here.check()


def test_the_cable_to_the_machines_is_pulled_for_a_moment(tmp_path: Path, broker: Broker):
    """The programs do not notice: each is started once, and what was reported late counts."""
    cable = Cable(broker.port)
    try:
        with farm(tmp_path, bus_port=cable.port) as here:
            here.start()
            here.submit(5.0, count=3)
            until(lambda: here.running() == 3, "three jobs run")
            cable.pull()
            pause(3.0)
            cable.mend()
            here.settle()
            results = here.check()[0]
            assert "in 3 starts; 0 steps done again" in results.found
    finally:
        cable.close()


def test_the_cable_to_the_machines_stays_pulled(tmp_path: Path, broker: Broker):
    """Machines that nobody reaches end by their own fuse, inside what is held for them; their jobs
    begin again elsewhere when they can be reached."""
    cable = Cable(broker.port)
    try:
        with farm(tmp_path, bus_port=cable.port, horizon="8s") as here:
            here.start()
            here.submit(60.0)
            until(here.running, "the job runs")
            cable.pull()
            first = local_meter.read(here.market)[0].machine

            def ended() -> bool:
                found = {item.machine: item for item in local_meter.read(here.market)}
                return found[first].ended_at is not None

            until(ended, "the machine has ended by its own fuse", 40)
            cable.mend()
            # A daemon that starts lists its machines first; a running one would within a minute.
            here.daemon.kill()
            here.start()

            def elsewhere() -> bool:
                leases = here.daemon.client.get("/v1/leases")["leases"]
                return here.running() and first not in [lease["machine"] for lease in leases]

            until(elsewhere, "the job runs elsewhere")
            here.daemon.client.post("/v1/jobs/job-1/cancel", {})
            until(lambda: not here.daemon.client.get("/v1/leases")["leases"], "all is given back")
            assert here.daemon.stop() == 0
            entries = here.entries()
            facts = [fact for entry in entries for fact in entry.facts]
            assert any(isinstance(f, LeaseEnded) and f.lost for f in facts)
            here.laws()
    finally:
        cable.close()
