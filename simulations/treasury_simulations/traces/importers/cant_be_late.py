"""Spot availability of AWS zones as probed for "Can't Be Late" (NSDI'24).

Assumed: tick 0 is 00:00 UTC of the campaign's first day (the source dates the day, not the hour);
a tick's value holds for the whole tick. 2022 has no prices: every device costs what the published
benchmark charges. On-demand machines can always be had, one pool for each region and machine
type.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.hardware import normalise_gpu
from treasury.domain.market import Tenure
from treasury.domain.money import parse_rate
from treasury.domain.time import SECOND, parse_instant
from treasury_simulations.traces.importers.draft import PRICE_NOT_POSITIVE, Changes, Draft, Tally
from treasury_simulations.traces.importers.source import Feed, Record
from treasury_simulations.traces.model import NOT_KNOWN, Provenance, TraceHeader, make_pool

_COLUMN: Final = re.compile(
    r"(?P<zone>(?P<region>[a-z]+-[a-z]+-\d+)[a-z])_(?P<gpu>\w+)_(?P<gpus>\d+)"
)
_INSTANCES: Final = {
    ("V100", 1): "p3.2xlarge",
    ("V100", 4): "p3.8xlarge",
    ("V100", 8): "p3.16xlarge",
    ("K80", 1): "p2.xlarge",
    ("K80", 8): "p2.8xlarge",
    ("K80", 16): "p2.16xlarge",
}
# What the published benchmark charges for every device.
ON_DEMAND_RATE: Final = parse_rate("3.06 USD/h")
_PROVENANCE: Final = Provenance(
    source="github.com/FrontierCS/Frontier-CS, "
    "research/problems/cant_be_late*/common/real_traces.tar.gz",
    commit="4d508c19",
    licence="MIT",
    attribution="SkyPilot team; Wu et al., \"Can't Be Late: Optimizing Spot Instance Savings under "
    'Deadlines", NSDI 2024',
    derivation=(
        "published windows stitched into one series per zone, 1 = spot could be had",
        "tick 0 = 00:00 UTC of the campaign's first day (assumed)",
        "kept: changes of availability or price",
        "on-demand pools added: 3.06 USD/h, always available (assumed)",
    ),
)


class Campaign(NamedTuple):
    """One probing campaign. spot: rate [nano-USD/h] of every device, -1 where prices are real."""

    start: int
    resolution_ns: int
    availability: str
    prices: str | None
    spot: int


CAMPAIGNS: Final = {
    2022: Campaign(
        parse_instant("2022-10-26"),
        600 * SECOND,
        "aws_2022_availability.csv.gz",
        None,
        parse_rate("0.9731 USD/h"),
    ),
    2023: Campaign(
        parse_instant("2023-02-15"),
        195 * SECOND,
        "aws_2023_availability.csv.gz",
        "aws_2023_p3.2xlarge_spot_price.csv.gz",
        NOT_KNOWN,
    ),
}


def tick_instant(year: int, tick: int) -> int:
    """The instant [ns] at which a tick of a campaign begins."""
    campaign = CAMPAIGNS[year]
    return campaign.start + tick * campaign.resolution_ns


def read(feed: Feed, path: Path, *, year: int = 0) -> Draft:
    """The campaign of `year` (2022 or 2023) from its folder or its availability file."""
    year = year or _year_of(path)
    campaign = CAMPAIGNS.get(year)
    if campaign is None:
        raise BadValue("year", year or None, "2022 or 2023 (say which with year=2023)")
    availability = path / campaign.availability if path.is_dir() else path
    prices = availability.with_name(campaign.prices) if campaign.prices else None
    feed.expect(availability, *([prices] if prices else []))
    tally = Tally()
    price_rows = iter(()) if prices is None else _prices(feed, prices, tally)
    changes, gaps = Changes(), []
    zones: dict[str, int] = {}
    rates: dict[str, int] = {}
    upcoming = next(price_rows, None)
    first = last = NOT_KNOWN
    for record in feed.table(availability, ["tick"]):
        tick = record.whole("tick")
        at = tick_instant(year, tick)
        if not zones:
            first = tick
            zones = _add_pools(record, changes, at)
            rates = dict.fromkeys(zones, campaign.spot)
        elif tick <= last:
            raise record.error(f"tick {tick} after tick {last}: ticks must rise")
        elif tick > last + 1:
            gaps.append((tick_instant(year, last + 1), at))
        while upcoming is not None and upcoming[0] <= tick:
            rates[_known(upcoming, zones)] = upcoming[2]
            upcoming = next(price_rows, None)
        for zone, pool in zones.items():
            changes.set(at, pool, rates[zone], _availability(record, zone))
        last = tick
    if first == NOT_KNOWN:
        raise TraceError(f"{availability}, line 2: no ticks")
    while upcoming is not None:
        _known(upcoming, zones)
        upcoming = next(price_rows, None)
    header = TraceHeader(
        name=f"cant-be-late-{year}",
        kinds=("market",),
        provenance=_PROVENANCE,
        start=tick_instant(year, first),
        end=tick_instant(year, last + 1),
        resolution_ns=campaign.resolution_ns,
        depth_kind="binary",
        pools=tuple(changes.pools),
        gaps=tuple(gaps),
        dropped=tally.counts(),
    )
    return Draft(header, list(changes.rows))


_Price = tuple[int, str, int, Record]


def _year_of(path: Path) -> int:
    years = [year for year in CAMPAIGNS if path.name.startswith(f"aws_{year}_")]
    return years[0] if years else 0


def _add_pools(record: Record, changes: Changes, at: int) -> dict[str, int]:
    """Spot pools in the order of the columns, then on-demand pools; zone column -> pool."""
    zones: dict[str, int] = {}
    shapes: dict[tuple[str, str, str, int], None] = {}
    for column in record.index:
        if column == "tick":
            continue
        match = _COLUMN.fullmatch(column)
        if match is None:
            raise TraceError(
                f"{record.file}, line 1: column {column!r} is not of the form us-west-2a_v100_1"
            )
        gpu, gpus = match["gpu"], int(match["gpus"])
        instance = _INSTANCES.get((normalise_gpu(gpu), gpus), f"{gpu}x{gpus}")
        pool = make_pool("aws", match["region"], match["zone"], instance, gpu, gpus, Tenure.SPOT)
        zones[column] = changes.pool(pool)
        shapes[match["region"], instance, gpu, gpus] = None
    if not zones:
        raise TraceError(f"{record.file}, line 1: no zone columns")
    for region, instance, gpu, gpus in shapes:
        pool = make_pool("aws", region, "", instance, gpu, gpus, Tenure.ON_DEMAND)
        changes.set(at, changes.pool(pool), ON_DEMAND_RATE, 1)
    return zones


def _availability(record: Record, zone: str) -> int:
    text = record.text(zone)
    if text not in ("0", "1"):
        raise record.error(f"{zone} {text!r} is neither 0 nor 1")
    return int(text)


def _prices(feed: Feed, path: Path, tally: Tally) -> Iterator[_Price]:
    last = NOT_KNOWN
    for record in feed.table(path, ["tick", "zone", "usd_per_hour"]):
        tick, rate = record.whole("tick"), record.rate("usd_per_hour")
        if tick < last:
            raise record.error(f"tick {tick} after tick {last}: rows must be in order of time")
        last = tick
        if rate <= 0:
            tally.drop(PRICE_NOT_POSITIVE)
            continue
        yield tick, record.text("zone"), rate, record


def _known(price: _Price, zones: dict[str, int]) -> str:
    if price[1] not in zones:
        raise price[3].error(f"zone {price[1]!r} has no availability column")
    return price[1]
