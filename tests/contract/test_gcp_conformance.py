"""The Google adapter keeps the port's promises, through the real SDK against a pretend API that
holds each request and answer against Google's discovery documents."""

from pathlib import Path

import pytest

from tests.counterparts.gcp.facts import PROJECT
from tests.counterparts.gcp.gce import TOKEN, Gce
from tests.support.cloud_sites import HastyClock, TestSite
from treasury.domain.time import SECOND
from treasury_providers.gcp import CAPABILITIES, Gcp, GcpSettings
from treasury_simulations.conformance import Outcome, run


def settings(gce: Gce, folder: Path) -> GcpSettings:
    """Settings that point at the counterpart."""
    token = folder / "google-token"
    token.write_text(f"{TOKEN}\n")
    return GcpSettings(
        project=PROJECT,
        regions=("us-central1", "europe-west4"),
        image="projects/debian-cloud/global/images/family/debian-12",
        attached=("n1-standard-8+1xnvidia-tesla-t4",),
        token_file=str(token),
        prices_every=20 * SECOND,
        notices_every=5 * SECOND,
        launch_wait=60 * SECOND,
        poll_every=SECOND,
        endpoint=gce.url,
        prices_endpoint=gce.url,
    )


@pytest.mark.slow
async def test_the_adapter_conforms(tmp_path: Path) -> None:
    """Every numbered case passes; left out are those about bids, which Google does not take."""
    clock = HastyClock()
    async with Gce(clock, CAPABILITIES) as gce:
        adapter = Gcp(settings(gce, tmp_path), TestSite("gcp", clock, tmp_path))
        report = await run(adapter, gce)
        assert gce.cloud.violations == []
        assert "\n".join(report.failures()) == ""
        left_out = {r.number: r.detail for r in report.results if r.outcome is Outcome.SKIPPED}
        assert left_out == dict.fromkeys(("C14", "C15"), "no offer takes bids")
