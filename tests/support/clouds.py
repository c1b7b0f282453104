"""Adapters for Azure and Google and their counterparts, as tests want them: small, fast, with
canaries."""

from pathlib import Path
from typing import Any

from tests.counterparts.azure.arm import TOKEN as AZURE_TOKEN
from tests.counterparts.azure.arm import Arm
from tests.counterparts.azure.facts import GROUP, SUBSCRIPTION
from tests.counterparts.gcp.facts import PROJECT
from tests.counterparts.gcp.gce import TOKEN as GOOGLE_TOKEN
from tests.counterparts.gcp.gce import Gce
from tests.support.cloud_sites import TestSite
from treasury.domain.commands import Acquire
from treasury.domain.ids import LeaseId, OfferId, PlacementId, ProviderName, request_token
from treasury.domain.market import Quote
from treasury.domain.time import SECOND
from treasury_providers.azure import Azure, AzureSettings
from treasury_providers.gcp import Gcp, GcpSettings


def order(provider: str, offer: OfferId, machines: int, number: int, bid: int) -> Acquire:
    """A request for machines; another `number` is another placement."""
    leases = tuple(LeaseId(number * 100 + index) for index in range(machines))
    placement = PlacementId(number)
    token = request_token("test-house", placement, 1)
    return Acquire(ProviderName(provider), offer, placement, leases, bid, token)


async def one_of_each(adapter: Any) -> dict[str, Quote]:
    """A quote of each offer."""
    wanted, found = {offer.id for offer in await adapter.offers()}, {}
    stream = adapter.quotes()
    async for quote in stream:
        found[quote.offer] = quote
        if set(found) == wanted:
            break
    await stream.aclose()
    return found


def azure_settings(arm: Arm, folder: Path, **other: Any) -> AzureSettings:
    """Settings that point at the pretend Azure."""
    token = folder / "azure-token"
    token.write_text(f"{AZURE_TOKEN}\n")
    subnet = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/virtualNetworks/v/subnets/s"
    given: dict[str, Any] = {
        "subscription": SUBSCRIPTION,
        "resource_group": GROUP,
        "regions": ("eastus", "westeurope"),
        "subnets": {"eastus": subnet, "westeurope": subnet},
        "image": "Canonical:ubuntu-24_04-lts:server:latest",
        "ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 nobody@example",
        "token_file": str(token),
        "prices_every": 20 * SECOND,
        "notices_every": 5 * SECOND,
        "launch_wait": 60 * SECOND,
        "poll_every": 0,
        "prices_pause": 0,
        "endpoint": arm.url,
        "prices_endpoint": arm.url,
    }
    return AzureSettings(**(given | other))


def azure(arm: Arm, folder: Path, **other: Any) -> Azure:
    """The Azure adapter, made as the daemon makes it."""
    return Azure(azure_settings(arm, folder, **other), TestSite("azure", arm.clock, folder))


def gcp_settings(gce: Gce, folder: Path, **other: Any) -> GcpSettings:
    """Settings that point at the pretend Google."""
    token = folder / "google-token"
    token.write_text(f"{GOOGLE_TOKEN}\n")
    given: dict[str, Any] = {
        "project": PROJECT,
        "regions": ("us-central1", "europe-west4"),
        "image": "projects/debian-cloud/global/images/family/debian-12",
        "attached": ("n1-standard-8+1xnvidia-tesla-t4",),
        "token_file": str(token),
        "prices_every": 20 * SECOND,
        "notices_every": 5 * SECOND,
        "launch_wait": 60 * SECOND,
        "poll_every": SECOND,
        "endpoint": gce.url,
        "prices_endpoint": gce.url,
    }
    return GcpSettings(**(given | other))


def gcp(gce: Gce, folder: Path, **other: Any) -> Gcp:
    """The Google adapter, made as the daemon makes it."""
    return Gcp(gcp_settings(gce, folder, **other), TestSite("gcp", gce.clock, folder))
