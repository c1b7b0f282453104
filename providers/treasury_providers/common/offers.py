"""Reading an offer's name back: what to buy is in it, so no catalogue is needed to buy."""

from typing import NamedTuple

from treasury.domain.errors import OfferGone
from treasury.domain.ids import OfferId
from treasury.domain.market import Tenure


class Pool(NamedTuple):
    """The parts of an offer's id. zone: empty where the market sells by region."""

    region: str
    zone: str
    instance: str
    tenure: Tenure


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
