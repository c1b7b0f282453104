"""The Azure adapter keeps the port's promises, through the real SDK against a pretend ARM."""

from pathlib import Path

import pytest

from tests.counterparts.azure.arm import TOKEN, Arm
from tests.counterparts.azure.facts import GROUP, SUBSCRIPTION
from tests.support.cloud_sites import HastyClock, TestSite
from treasury.domain.time import SECOND
from treasury_providers.azure import CAPABILITIES, Azure, AzureSettings
from treasury_simulations.conformance import Outcome, run


def settings(arm: Arm, folder: Path) -> AzureSettings:
    """Settings that point at the counterpart."""
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    subnet = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/virtualNetworks/v/subnets/s"
    return AzureSettings(
        subscription=SUBSCRIPTION,
        resource_group=GROUP,
        regions=("eastus", "westeurope"),
        subnets={"eastus": subnet, "westeurope": subnet},
        image="Canonical:ubuntu-24_04-lts:server:latest",
        ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 nobody@example",
        token_file=str(token),
        prices_every=20 * SECOND,
        notices_every=5 * SECOND,
        launch_wait=60 * SECOND,
        poll_every=0,
        prices_pause=0,
        endpoint=arm.url,
        prices_endpoint=arm.url,
    )


@pytest.mark.slow
async def test_the_adapter_conforms(tmp_path: Path) -> None:
    """Every numbered case passes; none is left out."""
    clock = HastyClock()
    async with Arm(clock, CAPABILITIES) as arm:
        adapter = Azure(settings(arm, tmp_path), TestSite("azure", clock, tmp_path))
        report = await run(adapter, arm)
        assert "\n".join(report.failures()) == ""
        left_out = {r.number: r.detail for r in report.results if r.outcome is Outcome.SKIPPED}
        assert left_out == {}
        assert arm.cloud.violations == []
