"""The Azure adapter keeps the port's promises, through the real SDK against a pretend ARM."""

from pathlib import Path

import pytest

from tests.counterparts.azure.arm import TOKEN, Arm
from tests.counterparts.azure.facts import GROUP, SUBSCRIPTION
from tests.support.cloud_sites import HastyClock, TestSite
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
        prices_every="20s",
        notices_every="5s",
        launch_wait="60s",
        poll_every="0s",
        prices_pause="0s",
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
