"""An adapter for EC2 and its counterpart, as tests want them: small, fast, with canaries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.aws.server import ACCESS_KEY, SECRET_KEY, Aws
from tests.support.cloud_sites import HastyClock, TestSite
from treasury.domain.hardware import Shape
from treasury.domain.ids import ProviderName
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_providers.aws import Aws as Adapter
from treasury_providers.aws.settings import Settings

# An image that moto knows.
IMAGE = "ami-12c6146b"
ZONES = {
    "us-east-1": {"use1-az6": "us-east-1a", "use1-az1": "us-east-1b"},
    "us-west-2": {"usw2-az2": "us-west-2a"},
}
SHAPES = {
    "p4d.24xlarge": (Shape("A100-40GB", 8, 40, "p4d.24xlarge"), 32_772_600_000),
    "g5.xlarge": (Shape("A10G", 1, 24, "g5.xlarge"), 1_006_000_000),
    "g4dn.xlarge": (Shape("T4", 1, 16, "g4dn.xlarge"), 526_000_000),
}
VCPUS = {
    "All P4, P3 and P2 Spot Instance Requests": 9_600,
    "All G and VT Spot Instance Requests": 40_000,
    "Running On-Demand P instances": 960,
    "Running On-Demand G and VT instances": 0,
}


def pools(name: str = "aws") -> list[tuple[Offer, int]]:
    """What the counterpart sells: (offer, nano-USD/h); spot at three tenths of on-demand."""
    able = Capabilities(floating=True, billing_step_ns=SECOND, billing_minimum_ns=MINUTE)
    fixed = Capabilities(billing_step_ns=SECOND, billing_minimum_ns=MINUTE)
    found = []
    for region, zones in ZONES.items():
        for zone in zones:
            for instance, (shape, rate) in SHAPES.items():
                for tenure in (Tenure.SPOT, Tenure.ON_DEMAND):
                    spot = tenure is Tenure.SPOT
                    offer = Offer(
                        offer_id(name, region, zone, instance, tenure),
                        ProviderName(name),
                        region,
                        zone,
                        shape,
                        tenure,
                        able if spot else fixed,
                    )
                    asked = rate * 3 // 10 // 1_000 * 1_000 if spot else rate
                    found.append((offer, asked))
    return found


def settings(cloud: Aws, **other: Any) -> Settings:
    """Settings that reach the counterpart."""
    given: dict[str, Any] = {
        "regions": tuple(ZONES),
        "zones": tuple(zone for zones in ZONES.values() for zone in zones),
        "instances": tuple(SHAPES),
        "images": {"*": IMAGE},
        "queues": dict(cloud.moto.queues),
        "endpoint": cloud.url,
        "poll_wait": SECOND,
        "quotas": HOUR,
    }
    return Settings(**(given | other))


@asynccontextmanager
async def counterpart(clock: HastyClock, *, alone: bool = False) -> AsyncIterator[Aws]:
    """A counterpart that is listening, with scores and quotas."""
    cloud = Aws(clock, pools(), ZONES, alone=alone)
    cloud.scores = {"use1-az6": 7, "use1-az1": 3, "usw2-az2": 9}
    cloud.vcpus = dict(VCPUS)
    await cloud.start()
    try:
        yield cloud
    finally:
        await cloud.close()


def with_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the SDK credentials that a test can look for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def adapter(cloud: Aws, state: Path, clock: HastyClock, **other: Any) -> Adapter:
    """The adapter, made as the daemon makes it."""
    return Adapter(settings(cloud, **other), TestSite("aws", clock, state))
