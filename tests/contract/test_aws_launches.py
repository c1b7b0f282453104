"""Launches by the thousand through the real daemon and SDK: one machine each, whatever fails."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws import adapter, counterpart, with_canaries
from tests.support.cloud_launches import Launches, LoopClock, run_hastily
from treasury.domain.time import MINUTE, SECOND
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

# TREASURY_LAUNCHES=10000 for the long run.
JOBS = int(os.environ.get("TREASURY_LAUNCHES", "120"))
SPEED, SEED = 20, 1
# One call in five meets one of these.
MIX = {
    Operation.ACQUIRE: (
        Fault.LOST_ANSWER, Fault.THROTTLED, Fault.UNAVAILABLE, Fault.NO_CAPACITY, Fault.QUOTA,
    ),
    Operation.RELEASE: (Fault.LOST_ANSWER, Fault.THROTTLED, Fault.UNAVAILABLE),
    Operation.LIST: (Fault.THROTTLED, Fault.UNAVAILABLE, Fault.HALF_PAGE, Fault.GARBAGE),
    Operation.QUOTE: (Fault.THROTTLED, Fault.UNAVAILABLE),
}  # fmt: skip


def test_no_launch_is_doubled_or_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fifth of all calls failing, machines taken back and the daemon killed between commit
    and call: one machine a lease, none left over, and the ledger is the counterpart's meter."""
    with_canaries(monkeypatch)

    async def main(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        clock = LoopClock(loop)
        # The proxy answers launches itself: moto keeps every machine for ever and slows down.
        async with counterpart(clock, alone=True) as cloud:
            cloud.shown, cloud.chance, cloud.mix = 10 * MINUTE, 0.2, MIX
            cloud.dice.seed(SEED)

            def make() -> Any:
                return adapter(
                    cloud,
                    tmp_path,
                    clock,
                    queues={},
                    tenures=("spot",),
                    listing_lag=SECOND,
                    calls_per_minute=6_000,
                    timeout=100 * SECOND,
                )

            gpus = ("A100-40GB", "A10G", "T4")
            launches = Launches(cloud, clock, make, jobs=JOBS, gpus=gpus, seed=SEED, nodes=3)
            await launches.run()
            return launches.verify()

    told = run_hastily(main, SPEED)
    print(json.dumps(told, indent=1))
    assert told["machines"] >= JOBS
    assert told["crashes"] > 0
    assert told["interruptions"] > 0
