"""The Azure adapter keeps the port's promises, through the real SDK against a pretend ARM."""

from pathlib import Path

import pytest

from tests.counterparts.azure.arm import Arm
from tests.support.cloud_sites import HastyClock
from tests.support.clouds import azure
from treasury_providers.azure import CAPABILITIES
from treasury_simulations.conformance import Outcome, run


@pytest.mark.slow
async def test_the_adapter_conforms(tmp_path: Path) -> None:
    """Every numbered case passes; none is left out."""
    clock = HastyClock()
    async with Arm(clock, CAPABILITIES) as arm:
        report = await run(azure(arm, tmp_path), arm)
        assert "\n".join(report.failures()) == ""
        left_out = {r.number: r.detail for r in report.results if r.outcome is Outcome.SKIPPED}
        assert left_out == {}
        assert arm.cloud.violations == []
