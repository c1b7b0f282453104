"""The adapter for EC2 through the real SDK, against moto behind our proxy."""

from pathlib import Path

import pytest

from tests.support.aws import adapter, counterpart, with_canaries
from tests.support.cloud_sites import HastyClock
from treasury_simulations.conformance import Outcome, run

pytestmark = pytest.mark.slow


async def test_the_adapter_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case of the conformance suite passes, none is left out but the one AWS cannot have."""
    with_canaries(monkeypatch)
    clock = HastyClock(speed=60)
    async with counterpart(clock) as cloud:
        cloud.page_size = 2
        report = await run(adapter(cloud, tmp_path, clock), cloud)
        assert report.failures() == []
        skipped = [r.number for r in report.results if r.outcome is Outcome.SKIPPED]
        assert skipped == []
        assert cloud.violations == []
