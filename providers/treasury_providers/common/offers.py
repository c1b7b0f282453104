"""Offers and their names: what to buy is in the name, so no catalogue is needed to buy."""

from typing import NamedTuple

import msgspec

from treasury.domain.errors import OfferGone
from treasury.domain.hardware import Shape
from treasury.domain.ids import OfferId, ProviderName
from treasury.domain.market import Capabilities, Offer, Tenure, offer_id


class Pool(NamedTuple):
    """The parts of an offer's id. zone: empty where the market sells by region."""

    region: str
    zone: str
    instance: str
    tenure: Tenure


def sold_as(provider: ProviderName, pool: Pool, shape: Shape, capabilities: Capabilities) -> Offer:
    """A pool as an offer: only spot has bids, a floating price and a notice."""
    spot = pool.tenure is Tenure.SPOT
    able = msgspec.structs.replace(
        capabilities,
        bids=capabilities.bids and spot,
        floating=spot,
        notice_ns=capabilities.notice_ns if spot else 0,
    )
    region, zone, instance, tenure = pool
    name = offer_id(provider, region, zone, instance, tenure)
    return Offer(name, provider, region, zone, shape, tenure, able)


def read_offer(provider: str, offer: OfferId) -> Pool:
    """The parts of `provider/region/zone/instance/tenure`. Raises OfferGone for other names."""
    prefix = f"{provider}/"
    parts = offer.removeprefix(prefix).split("/") if offer.startswith(prefix) else []
    if len(parts) == 3:
        parts.insert(1, "")
    tenures = [tenure.value for tenure in Tenure]
    if len(parts) != 4 or not all(parts[::2]) or parts[3] not in tenures:
        raise OfferGone(f"{offer}: no offer of {provider}")
    return Pool(parts[0], parts[1], parts[2], Tenure(parts[3]))
