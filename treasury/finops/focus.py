"""FOCUS export: one row for each charge, in the FinOps Foundation's columns.

Versions 1.2 (57 columns) and 1.3 (eight more). How the ledger maps, with its reasons, is in
docs/finops.md. Money is exact: `BilledCost` and `EffectiveCost` are the ledger's own amounts, so
that their sum over a cost centre and provider is the balance of its expense accounts; `ListCost`
and `ContractedCost` are exact products of unit price and quantity.
"""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from treasury.domain.bill import BillPart
from treasury.domain.errors import BadValue
from treasury.domain.events import (
    BillBooked,
    Configured,
    Fact,
    LeaseEnded,
    LeaseMetered,
    LeasesDeclined,
    LeasesGranted,
    OffersListed,
    PlacementOpened,
    Quoted,
)
from treasury.domain.ids import LeaseId
from treasury.domain.market import Offer, Tenure
from treasury.domain.money import NANO, NS_PER_HOUR
from treasury.domain.time import SECOND, to_datetime
from treasury.domain.turn import Entry
from treasury.finops.postings import decimal
from treasury.finops.statements import Charge, Journal
from treasury.finops.table import csv_lines

VERSIONS: Final = ("1.2", "1.3")
COLUMNS_1_2: Final = (
    *("AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName"),
    *("BillingAccountType", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart"),
    *("CapacityReservationId", "CapacityReservationStatus", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart"),
    *("CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName"),
    *("CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType"),
    *("CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost"),
    *("ListUnitPrice", "PricingCategory", "PricingCurrency"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
    *("PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName"),
    *("PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter"),
    *("SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags"),
)
COLUMNS_1_3: Final = (
    *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId"),
    *("AllocatedResourceName", "AllocatedTags", "ContractApplied", "HostProviderName"),
    "ServiceProviderName",
)
# Columns of our own begin with x_: what leads back to the journal.
OWN_COLUMNS: Final = ("x_CostCenter", "x_Job", "x_Lease", "x_Transfer", "x_Turn")

_TENURES: Final = {
    Tenure.SPOT: "Dynamic",
    Tenure.ON_DEMAND: "Standard",
    Tenure.RESERVED: "Committed",
    Tenure.OWNED: "Other",
}
_HOURS: Final = Decimal(NS_PER_HOUR)
_NINE: Final = Decimal("1e-9")

Row = dict[str, str]


class _Meter:
    """How far a lease was charged: `until` [ns], its exact sum of rate x time so far, the rate
    [nano/h] then, and where the present turn's stretch began."""

    __slots__ = ("accrued", "before", "rate", "since", "turn", "until")

    def __init__(self) -> None:
        self.until = self.since = 0
        self.accrued = self.before = 0
        self.rate = 0
        self.turn = -1

    def take(self, turn: int, fact: LeaseMetered) -> None:
        """The next metering; several in a turn are one stretch."""
        if turn != self.turn:
            self.turn, self.since, self.before = turn, self.until, self.accrued
        self.accrued, self.until, self.rate = fact.accrued, fact.until, fact.rate


def focus_table(entries: Iterable[Entry], version: str = "1.2") -> Iterator[str]:
    """The export as CSV text, a row a piece. Raises BadValue for a version that is not there."""
    if version not in VERSIONS:
        raise BadValue("FOCUS version", version, f"one of {', '.join(VERSIONS)}")
    columns = (*COLUMNS_1_2, *(COLUMNS_1_3 if version == "1.3" else ()), *OWN_COLUMNS)
    table = ([row.get(name, "") for name in columns] for row in Focus().rows(entries))
    return csv_lines(columns, table)


class Focus:
    """Walks a journal and makes rows; memory holds the offers and the leases that run."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._installation = "treasury"
        self._offers: dict[str, Offer] = {}
        # What a machine of this kind costs on demand: what is saved is counted from there.
        self._list: dict[tuple[str, str, str], int] = {}
        self._meters: dict[LeaseId, _Meter] = {}
        self._placements: dict[int, tuple[LeaseId, ...]] = {}
        # The present turn's parts of bills, by lease, cost centre and provider.
        self._parts: dict[tuple[object, str, str], BillPart] = {}

    def rows(self, entries: Iterable[Entry]) -> Iterator[Row]:
        """One row for each charge, in the journal's order."""
        for entry in entries:
            over = []
            for fact in entry.facts:
                if isinstance(fact, LeaseEnded):
                    over.append(fact.lease)
                else:
                    self._learn(entry.seq, fact)
            for charge in _merged(self._journal.take(entry)):
                yield self._row(charge)
            self._parts.clear()
            for lease in over:
                self._meters.pop(lease, None)

    def _learn(self, turn: int, fact: Fact) -> None:
        if isinstance(fact, LeaseMetered):
            if fact.lease in self._meters:
                self._meters[fact.lease].take(turn, fact)
        elif isinstance(fact, Quoted):
            for quote in fact.quotes:
                offer = self._offers.get(quote.offer)
                if offer is not None and offer.tenure is Tenure.ON_DEMAND:
                    self._list[_kind(offer)] = quote.rate
        elif isinstance(fact, PlacementOpened):
            self._placements[fact.placement] = fact.leases
        elif isinstance(fact, LeasesGranted):
            for lease in self._placements.pop(fact.placement, ()):
                self._meters[lease] = _Meter()
                self._meters[lease].until = fact.at
        elif isinstance(fact, LeasesDeclined):
            self._placements.pop(fact.placement, ())
        elif isinstance(fact, OffersListed):
            self._offers.update({offer.id: offer for offer in fact.offers})
        elif isinstance(fact, Configured):
            self._installation = fact.settings.installation
        elif isinstance(fact, BillBooked):
            part = fact.part
            self._parts[part.lease, part.cost_centre, part.provider] = part

    def _row(self, charge: Charge) -> Row:
        offer = self._offers.get(charge.offer)
        part = self._parts.get((charge.lease, charge.cost_centre, charge.provider))
        row = _common(charge, self._installation)
        if part is not None and part.invoice:
            row["InvoiceId"] = part.invoice
        if offer is not None:
            row |= {"RegionId": offer.region, "RegionName": offer.region}
            row["AvailabilityZone"] = offer.zone
        if charge.adjusts or charge.amount < 0:
            return row | _adjustment(charge, part)
        meter = None if charge.lease is None else self._meters.get(charge.lease)
        standard = None if offer is None else self._list.get(_kind(offer))
        return row | _usage(charge, meter, offer, standard)


def _merged(charges: Iterable[Charge]) -> list[Charge]:
    """A turn's charges, those of one lease and account as one: beyond its hold a machine is paid
    by further transfers."""
    found: dict[tuple[object, str], Charge] = {}
    for charge in charges:
        key = (f"#{charge.transfer}" if charge.lease is None else charge.lease, charge.account)
        earlier = found.get(key)
        if earlier is not None:
            amount = earlier.amount + charge.amount
            charge = msgspec.structs.replace(earlier, amount=amount)  # noqa: PLW2901
        found[key] = charge
    return [charge for charge in found.values() if charge.amount]


def _common(charge: Charge, installation: str) -> Row:
    """What every row says."""
    month, following = _month(charge.event_at)
    amount = decimal(charge.amount)
    return {
        "BilledCost": amount,
        "EffectiveCost": amount,
        "PricingCurrencyEffectiveCost": amount,
        "BillingAccountId": installation,
        "BillingAccountName": installation,
        "BillingAccountType": "Installation",
        "BillingCurrency": charge.currency,
        "PricingCurrency": charge.currency,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": following,
        # Every row of a file has an invoice or none has: ours are named after what they add up to.
        "InvoiceId": f"{installation}-{charge.provider}-{month[:7]}",
        "InvoiceIssuerName": charge.provider,
        "ProviderName": charge.provider,
        "PublisherName": charge.provider,
        "ServiceProviderName": charge.provider,
        "HostProviderName": charge.provider,
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
        "ServiceName": "GPU machines",
        "SubAccountId": charge.cost_centre,
        "SubAccountName": charge.cost_centre,
        "SubAccountType": "Cost centre",
        "ResourceId": charge.machine,
        "ResourceName": charge.machine,
        "ResourceType": "GPU machine" if charge.machine else "",
        "Tags": _tags(charge),
        "x_CostCenter": charge.cost_centre,
        "x_Job": charge.job,
        "x_Lease": "" if charge.lease is None else str(charge.lease),
        "x_Transfer": str(charge.transfer),
        "x_Turn": str(charge.seq),
    }


def _usage(charge: Charge, meter: _Meter | None, offer: Offer | None, standard: int | None) -> Row:
    """A stretch of a machine's time; standard: what its kind costs on demand [nano/h]."""
    amount = Decimal(charge.amount).scaleb(-6)
    quantity, price, unit = Decimal(1), amount, "Units"
    start = end = charge.event_at
    consumed = quantity
    if meter is not None:
        start, end, unit = meter.since, meter.until, "Hours"
        consumed = (Decimal(end - start) / _HOURS).quantize(_NINE)
        quantity, price = consumed, Decimal(0)
        if meter.rate:
            # What was billed in hours at the present rate, a market's rounding up included.
            hours = Decimal(meter.accrued - meter.before) / meter.rate / _HOURS
            quantity, price = hours.quantize(_NINE), Decimal(meter.rate) / NANO
    listed = price if standard is None or meter is None else Decimal(standard) / NANO
    return {
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{offer.id if offer else charge.provider}: {charge.reason}",
        "ChargePeriodStart": _second(start),
        "ChargePeriodEnd": _second(max(-(-end // SECOND), start // SECOND + 1) * SECOND),
        "ConsumedQuantity": _text(consumed),
        "ConsumedUnit": unit,
        "PricingQuantity": _text(quantity),
        "PricingUnit": unit,
        "PricingCategory": "Other" if offer is None else _TENURES[offer.tenure],
        "ListUnitPrice": _text(listed),
        "PricingCurrencyListUnitPrice": _text(listed),
        "ListCost": _text(listed * quantity),
        "ContractedUnitPrice": _text(price),
        "PricingCurrencyContractedUnitPrice": _text(price),
        "ContractedCost": _text(price * quantity),
        "SkuId": charge.provider if offer is None else f"{offer.provider}/{offer.shape.instance}",
        "SkuPriceId": charge.provider if offer is None else offer.id,
        "SkuMeter": "Machine hours",
    }


def _adjustment(charge: Charge, part: BillPart | None) -> Row:
    """A difference to a provider's bill, or money back: it has no quantity."""
    start, end = charge.event_at, charge.event_at + SECOND
    if part is not None and part.covered:
        start, end = part.covered[0][0], part.covered[-1][1]
    amount = decimal(charge.amount)
    return {
        "ChargeCategory": "Adjustment",
        "ChargeFrequency": "One-Time",
        "ChargeDescription": f"{charge.provider}: {charge.reason}",
        "ChargePeriodStart": _second(start),
        "ChargePeriodEnd": _second(max(end, start + SECOND)),
        "ListCost": amount,
        "ContractedCost": amount,
    }


def _kind(offer: Offer) -> tuple[str, str, str]:
    return offer.provider, offer.region, offer.shape.instance


def _second(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%dT%H:%M:%SZ}"


def _month(instant: int) -> tuple[str, str]:
    """The calendar month in UTC around an instant, as FOCUS writes its bounds."""
    moment = to_datetime(instant)
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    return f"{moment:%Y-%m}-01T00:00:00Z", f"{year:04d}-{month:02d}-01T00:00:00Z"


def _text(value: Decimal) -> str:
    """Plain decimal text without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tags(charge: Charge) -> str:
    tags = {"cost_centre": charge.cost_centre, **charge.labels}
    if charge.job:
        tags["job"] = charge.job
    return json.dumps(tags, sort_keys=True, ensure_ascii=False)
