"""What the pretend AWS says about prices, scores and quotas: no other counterpart knows them."""

import json
from collections.abc import Mapping
from typing import Any

from tests.counterparts.aws.wire import element, iso, items, wrap
from tests.counterparts.cloud import Cloud
from treasury.domain.market import Tenure
from treasury.domain.time import parse_instant
from treasury_providers.common.rates import text_from_rate


def spot_history(
    cloud: Cloud,
    region: str,
    zones: Mapping[str, str],
    parameters: Mapping[str, str],
    page_size: int,
) -> bytes:
    """DescribeSpotPriceHistory: changes since StartTime and the one in force then, in pages."""
    start = parse_instant(parameters["StartTime"]) if "StartTime" in parameters else 0
    wanted = items(parameters, "InstanceType")
    rows: list[tuple[str, str, int, int]] = []
    for pool in cloud.pools.values():
        offer = pool.offer
        if offer.region != region or offer.tenure is not Tenure.SPOT:
            continue
        if wanted and offer.shape.instance not in wanted:
            continue
        before = [change for change in pool.rates if change[0] <= start][-1:]
        after = [change for change in pool.rates if change[0] > start]
        told = before + after
        rows += [(offer.zone, offer.shape.instance, *change) for change in told]
    first = int(parameters.get("NextToken") or 0)
    inner = "".join(
        "<item>"
        + element("instanceType", kind)
        + element("productDescription", "Linux/UNIX")
        + element("spotPrice", text_from_rate(rate, 6))
        + element("timestamp", iso(at))
        + element("availabilityZone", zones[zone])
        + "</item>"
        for zone, kind, at, rate in rows[first : first + page_size]
    )
    # As the real one: the last page has an empty token.
    more = first + page_size if first + page_size < len(rows) else ""
    body = f"<spotPriceHistorySet>{inner}</spotPriceHistorySet>{element('nextToken', more)}"
    return wrap("DescribeSpotPriceHistory", body)


def placement_scores(scores: Mapping[str, int], region: str) -> bytes:
    """GetSpotPlacementScores: AZ id -> 1 to 10."""
    inner = "".join(
        f"<item>{element('region', region)}{element('availabilityZoneId', zone)}"
        f"{element('score', score)}</item>"
        for zone, score in scores.items()
    )
    return wrap("GetSpotPlacementScores", f"<spotPlacementScoreSet>{inner}</spotPlacementScoreSet>")


def products(cloud: Cloud, request: Mapping[str, Any]) -> dict[str, object]:
    """Pricing GetProducts: the product of an instance type in a region."""
    fields = {item["Field"]: item["Value"] for item in request["Filters"]}
    rates = [
        pool.rate
        for pool in cloud.pools.values()
        if pool.offer.tenure is Tenure.ON_DEMAND
        and pool.offer.shape.instance == fields["instanceType"]
        and pool.offer.region == fields["regionCode"]
    ]
    if not rates:
        return {"FormatVersion": "aws_v1", "PriceList": []}
    dimension = {
        "unit": "Hrs",
        "pricePerUnit": {"USD": text_from_rate(rates[0], 9) + "0"},
        "description": "on demand",
    }
    term = {"priceDimensions": {"A.B.C": dimension}, "sku": "A"}
    item = {
        "product": {"productFamily": "Compute Instance", "attributes": fields},
        "terms": {"OnDemand": {"A.B": term}, "Reserved": {}},
    }
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(item)]}


def quotas(vcpus: Mapping[str, int]) -> dict[str, object]:
    """service-quotas ListServiceQuotas, of EC2."""
    return {
        "Quotas": [
            {"ServiceCode": "ec2", "QuotaName": name, "QuotaCode": f"L-{n:08X}", "Value": value}
            for n, (name, value) in enumerate(vcpus.items(), 1)
        ]
    }
