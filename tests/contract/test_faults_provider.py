"""Faults of markets on the wire: states that nobody has written down."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.counterparts.aws import wire
from tests.counterparts.aws.server import Aws
from tests.support.aws import adapter, counterpart, with_canaries
from tests.support.cloud_sites import HastyClock
from treasury.domain.commands import Acquire, Release
from treasury.domain.money import NANO

SPOT = "aws/us-east-1/use1-az6/p4d.24xlarge/spot"


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """A counterpart that answers launches itself."""
    with_canaries(monkeypatch)
    async with counterpart(HastyClock(speed=60), alone=True) as made:
        yield made


@pytest.mark.parametrize("state", ["stopping", "stopped", "pending", "teleporting"])
async def test_whatever_is_not_known_to_have_ended_may_be_billed(
    state: str, cloud: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, whose disk costs on, or in a state that this adapter has never heard of: a machine
    stays on the list as ours, and can be given back, which ends it."""
    market = adapter(cloud, tmp_path, cloud.clock)
    await market.acquire(Acquire("aws", SPOT, 1, (10,), 100 * NANO, f"{1:032x}"))
    monkeypatch.setitem(wire._CODES, state, 99)
    rows = cloud._rows

    def strange(region, asked):
        found = rows(region, asked)
        return found and [(item, state if word == "running" else word) for item, word in found]

    monkeypatch.setattr(cloud, "_rows", strange)
    (seen,) = await market.leases()
    assert (seen.lease, seen.ended_at) == (10, None)
    await market.release(Release("aws", 10, seen.machine))
    assert not cloud.alive
    await market.close()
