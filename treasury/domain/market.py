"""Markets: pools, offers, quotes, and what a provider can do, as numbers."""

from enum import Enum

import msgspec

from treasury.domain.hardware import Shape
from treasury.domain.ids import OfferId, ProviderName
from treasury.domain.time import MINUTE, SECOND


class Tenure(Enum):
    """On what terms a machine is held."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"
    RESERVED = "reserved"
    OWNED = "owned"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do. Durations in ns; nothing here is a subclass.

    bids: the market takes a maximum price and evicts when it clears above it.
    floating: a running lease pays the market's current rate, not the one at its grant.
    honours_tokens: a repeated acquire with the same token returns the first machine.
    notice_ns: warning before an interruption. grant_delay_ns: request to grant.
    boot_ns: grant to ready. billing_step_ns, billing_minimum_ns: what is billed is rounded up.
    listing_lag_ns: how late `leases()` may be. gang_max: machines in one all-or-nothing request.
    """

    bids: bool = False
    floating: bool = False
    honours_tokens: bool = True
    pushes_quotes: bool = True
    notice_ns: int = 0
    grant_delay_ns: int = 0
    boot_ns: int = 0
    billing_step_ns: int = SECOND
    billing_minimum_ns: int = MINUTE
    listing_lag_ns: int = 0
    gang_max: int = 1_000
    calls_per_minute: int = 6_000


class Offer(msgspec.Struct, frozen=True):
    """A pool as something we can buy: the smallest thing with its own price and scarcity.

    `id` is `provider/region/zone/instance/tenure`, empty parts left out.
    """

    id: OfferId
    provider: ProviderName
    region: str
    zone: str
    shape: Shape
    tenure: Tenure
    capabilities: Capabilities


class Quote(msgspec.Struct, frozen=True, gc=False):
    """An offer's rate at an instant.

    rate: nano-USD per hour for the whole shape. depth: how many machines could be had, -1 where
    the market does not say. Instants in ns UTC.
    """

    offer: OfferId
    rate: int
    depth: int
    observed_at: int
    received_at: int


def offer_id(provider: str, region: str, zone: str, instance: str, tenure: Tenure) -> OfferId:
    """The canonical identifier of a pool."""
    return OfferId(
        "/".join(part for part in (provider, region, zone, instance, tenure.value) if part)
    )
