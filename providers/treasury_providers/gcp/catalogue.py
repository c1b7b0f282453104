"""The Cloud Billing catalogue: list prices of the parts that a machine is made of.

Google bills cores, memory and accelerators apart; a machine's price is their sum. A part that
cannot be found leaves the machine without a price: nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from treasury.domain.errors import Unreachable
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury_providers.gcp.capacity import Kind
from treasury_providers.gcp.client import Door
from treasury_providers.gcp.settings import Settings

_COMPUTE_ENGINE: Final = "6F81-5844-456A"
_PAGES_MAX: Final = 100
_USAGE: Final = {"Preemptible": Tenure.SPOT, "OnDemand": Tenure.ON_DEMAND}
_PLACE: Final = re.compile(r"(?P<what>.+?) (?:running )?in (?P<place>.+)")
# Words of descriptions that say on what terms, which the usage type says already.
_TERMS: Final = re.compile(r"Spot Preemptible |attached to Spot Preemptible VMs|Predefined ")
_MIB_PER_GIB: Final = 1024
# Accelerator's type -> its words in the catalogue.
_ACCELERATORS: Final = {
    "nvidia-tesla-a100": "Nvidia Tesla A100 GPU",
    "nvidia-a100-80gb": "Nvidia Tesla A100 80GB GPU",
    "nvidia-h100-80gb": "Nvidia H100 80GB GPU",
    "nvidia-h100-mega-80gb": "Nvidia H100 80GB Plus GPU",
    "nvidia-h200-141gb": "Nvidia H200 141GB GPU",
    "nvidia-l4": "Nvidia L4 GPU",
    "nvidia-tesla-t4": "Nvidia Tesla T4 GPU",
    "nvidia-tesla-v100": "Nvidia Tesla V100 GPU",
    "nvidia-tesla-p100": "Nvidia Tesla P100 GPU",
    "nvidia-tesla-p4": "Nvidia Tesla P4 GPU",
}


class Part(msgspec.Struct, frozen=True):
    """What is billed apart: its words in lower case, without the terms; where; on what terms."""

    what: str
    region: str
    tenure: Tenure


# nano-USD per hour: of a core, of a GiB, of an accelerator
Parts = Mapping[Part, int]


async def fetch_parts(settings: Settings, door: Door) -> Parts:
    """The parts sold in our regions. Raises ProviderError."""
    base = f"{settings.prices_endpoint}/v1/services/{_COMPUTE_ENGINE}/skus"
    parts: dict[Part, int] = {}
    token = ""
    for _ in range(_PAGES_MAX):
        more = f"&pageToken={token}" if token else ""
        page = await door.rest(f"{base}?pageSize=5000&currencyCode=USD{more}")
        if not isinstance(page.get("skus", []), list):
            raise Unreachable("the catalogue has no SKUs: its format has changed")
        parts.update(_read(page.get("skus", []), settings.regions))
        token = str(page.get("nextPageToken") or "")
        if not token:
            return parts
    raise Unreachable("the catalogue does not end")


def price(parts: Parts, kind: Kind, tenure: Tenure) -> int:
    """What a machine asks [nano-USD/h]; 0 where a part has no price."""
    family = kind.machine_type.partition("-")[0]
    needed = [
        (f"{family} instance core", kind.cores, 1),
        (f"{family} instance ram", kind.memory_mib, _MIB_PER_GIB),
        (_ACCELERATORS.get(kind.accelerator, "").lower(), kind.shape.gpus, 1),
    ]
    total = 0
    for what, count, per in needed:
        rate = parts.get(Part(what, kind.region, tenure), 0)
        if not rate:
            return 0
        total += -(-rate * count // per)
    return total


def _read(skus: Sequence[Any], regions: Iterable[str]) -> dict[Part, int]:
    wanted = frozenset(regions)
    found = {}
    for sku in skus:
        category = sku.get("category", {}) if isinstance(sku, dict) else {}
        tenure = _USAGE.get(str(category.get("usageType", "")))
        match = _PLACE.fullmatch(str(sku.get("description", ""))) if tenure else None
        rate = _rate(sku) if match else 0
        if tenure is None or match is None or not rate:
            continue
        what = " ".join(_TERMS.sub("", match["what"]).split()).lower()
        for region in sku.get("serviceRegions", []):
            if region in wanted:
                found[Part(what, str(region), tenure)] = rate
    return found


def _rate(sku: Mapping[str, Any]) -> int:
    """nano-USD per hour and unit; 0 for what is not sold by the hour."""
    try:
        expression = sku["pricingInfo"][-1]["pricingExpression"]
        tier = expression["tieredRates"][-1]["unitPrice"]
        if expression["usageUnit"] not in ("h", "GiBy.h") or tier.get("currencyCode") != "USD":
            return 0
        return int(tier.get("units", 0)) * NANO + int(tier.get("nanos", 0))
    except (KeyError, IndexError, TypeError, ValueError):
        return 0
