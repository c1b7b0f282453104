"""Rows of the retail price list: ours, and all the others that share their names."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tests.counterparts.cloud import Pool
from treasury.domain.market import Tenure
from treasury.domain.money import NANO


def items_of(pools: Iterable[Pool], now: str) -> list[dict[str, Any]]:
    """What the list says of these pools, with decoys that must be told from them."""
    items: list[dict[str, Any]] = []
    seen = set()
    for pool in pools:
        key = (pool.offer.region, pool.offer.shape.instance, pool.offer.tenure)
        if key in seen:
            continue
        seen.add(key)
        spot = pool.offer.tenure is Tenure.SPOT
        name = pool.offer.shape.instance.removeprefix("Standard_").replace("_", " ")
        right = {
            "currencyCode": "USD",
            "retailPrice": Decimal(pool.rate) / NANO,
            "unitPrice": Decimal(pool.rate) / NANO,
            "armRegionName": pool.offer.region,
            "effectiveStartDate": "2024-01-01T00:00:00Z",
            "meterName": f"{name} Spot" if spot else name,
            "skuName": f"{name} Spot" if spot else name,
            "productName": "Virtual Machines NC Series",
            "serviceName": "Virtual Machines",
            "unitOfMeasure": "1 Hour",
            "type": "Consumption",
            "armSkuName": pool.offer.shape.instance,
        }
        wrong = Decimal("0.001")
        items.extend(
            [
                {
                    **right,
                    "productName": "Virtual Machines NC Series Windows",
                    "retailPrice": wrong,
                },
                {**right, "effectiveStartDate": "2999-01-01T00:00:00Z", "retailPrice": wrong},
                {**right, "effectiveStartDate": "2020-01-01T00:00:00Z", "retailPrice": wrong},
                {**right, "meterName": f"{name} Low Priority", "retailPrice": wrong},
                {**right, "unitOfMeasure": "1 Year", "retailPrice": wrong},
                right,
            ]
        )
    return items
