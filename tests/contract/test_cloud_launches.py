"""Launches by the thousand on Azure and Google, through the real daemon and the real SDKs: one
machine each, whatever fails."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.azure.arm import TOKEN as AZURE_TOKEN
from tests.counterparts.azure.arm import Arm
from tests.counterparts.gcp.gce import TOKEN as GOOGLE_TOKEN
from tests.counterparts.gcp.gce import Gce
from tests.support.cloud_launches import Launches, LoopClock, run_hastily
from tests.support.clouds import azure, gcp
from treasury.domain.time import HOUR, SECOND
from treasury_providers.azure import CAPABILITIES as AZURE
from treasury_providers.gcp import CAPABILITIES as GOOGLE
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

# TREASURY_LAUNCHES=10000 for the long run.
JOBS = int(os.environ.get("TREASURY_LAUNCHES", "120"))
SPEED, SEED = 20, 1
TOGETHER = max(60, min(400, JOBS // 10))
# One call in five meets one of these.
MIX: dict[Operation, Sequence[Fault]] = {
    Operation.ACQUIRE: (
        Fault.LOST_ANSWER, Fault.THROTTLED, Fault.UNAVAILABLE, Fault.NO_CAPACITY, Fault.QUOTA,
    ),
    Operation.RELEASE: (Fault.LOST_ANSWER, Fault.THROTTLED, Fault.UNAVAILABLE),
    Operation.LIST: (Fault.THROTTLED, Fault.UNAVAILABLE, Fault.HALF_PAGE, Fault.GARBAGE),
    Operation.QUOTE: (Fault.THROTTLED, Fault.UNAVAILABLE),
}  # fmt: skip


def _told(launches: Launches, canary: str) -> dict[str, Any]:
    """What happened; and the token, which every refusal echoed, is neither in the journal nor in
    what was logged."""
    assert canary not in repr(list(launches.store.entries()))
    assert canary not in repr(vars(launches.log))
    return launches.verify()


def _judge(told: dict[str, Any]) -> None:
    print(json.dumps(told, indent=1))
    assert told["machines"] >= JOBS
    assert told["crashes"] > 0
    assert told["interruptions"] > 0


def test_azure_launches_are_neither_doubled_nor_lost(tmp_path: Path) -> None:
    """With a fifth of all calls failing, launches that fail after they were accepted, machines
    evicted and the daemon killed between commit and call: one machine a lease, none left over, and
    the ledger is the counterpart's meter."""

    async def main(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        async with Arm(LoopClock(loop), AZURE) as arm:
            arm.page = 200
            arm.cloud.chance, arm.cloud.mix = 0.2, MIX
            arm.cloud.dice.seed(SEED)

            def make() -> Any:
                return azure(arm, tmp_path, on_demand=False, prices_every=HOUR)

            gpus = ("A100-80GB", "H100")
            launches = Launches(
                arm.cloud,
                arm.clock,
                make,
                jobs=JOBS,
                gpus=gpus,
                seed=SEED,
                together=TOGETHER,
            )
            await launches.run()
            assert arm.cloud.violations == []
            return _told(launches, AZURE_TOKEN)

    _judge(run_hastily(main, SPEED))


def test_google_launches_are_neither_doubled_nor_lost(tmp_path: Path) -> None:
    """The same on Google, with gangs, which are made in one piece there."""

    async def main(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        async with Gce(LoopClock(loop), GOOGLE) as gce:
            gce.page = 200
            gce.launch = 3 * SECOND
            gce.cloud.chance, gce.cloud.mix = 0.2, MIX
            gce.cloud.dice.seed(SEED)

            def make() -> Any:
                return gcp(gce, tmp_path, on_demand=False, prices_every=HOUR)

            gpus = ("A100-40GB", "L4", "T4")
            launches = Launches(
                gce.cloud,
                gce.clock,
                make,
                jobs=JOBS,
                gpus=gpus,
                seed=SEED,
                together=TOGETHER,
                nodes=3,
            )
            await launches.run()
            assert gce.cloud.violations == []
            return _told(launches, GOOGLE_TOKEN)

    _judge(run_hastily(main, SPEED))
