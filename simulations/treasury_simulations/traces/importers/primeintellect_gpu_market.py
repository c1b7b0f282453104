"""Offers of many providers behind one marketplace, seen every half hour.

Assumed: a pool is one provider's GPUs of one type, as one-GPU machines at the provider's lowest
price; depth is its number of offers (each at least one GPU), which says how scarce, not how many
GPUs. A provider missing from a snapshot, and a type missing while others were seen, is sold out.
All offers count as on-demand: the source does not mark spot offers one by one.
"""

from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.market import Tenure
from treasury.domain.time import HOUR, MINUTE, parse_instant
from treasury_simulations.traces.importers.draft import (
    PRICE_NOT_POSITIVE,
    Changes,
    Draft,
    Tally,
    gaps_between,
)
from treasury_simulations.traces.importers.source import Feed, rate_of
from treasury_simulations.traces.model import NOT_KNOWN, Provenance, TraceHeader, make_pool

_RESOLUTION: Final = 30 * MINUTE
# Lines are appended by scheduled runs that may overtake one another: within this they are sorted.
_TOLERANCE: Final = HOUR
# Runs are often late by an hour; what is longer is a gap.
_GAP: Final = 3 * _RESOLUTION
_PROVENANCE: Final = Provenance(
    source="github.com/tugot17/gpu-price-tracker, data/summary/*.jsonl",
    commit="718a831",
    licence="MIT",
    attribution="tugot17, from the Prime Intellect compute marketplace",
    derivation=(
        "one pool for each provider and GPU type, at its lowest price per GPU-hour",
        "depth = number of offers; a provider that is absent is sold out",
        "all offers taken for on-demand",
        "kept: changes of price or number of offers",
    ),
)


class _Offers(msgspec.Struct):
    count: int
    min: Decimal


class _Snapshot(msgspec.Struct):
    timestamp: str
    gpu_type: str
    by_provider: dict[str, _Offers]
    socket_type: str | None = None


class _Seen(msgspec.Struct):
    """One line of a file: when, which GPU type, what each provider offered, and where it stands."""

    at: int
    gpu: str
    instance: str
    offers: dict[str, _Offers]
    file: Path
    line: int

    def error(self, problem: str) -> TraceError:
        return TraceError(f"{self.file}, line {self.line}: {problem}")


def read(feed: Feed, path: Path) -> Draft:
    """All `*.jsonl` and `*.jsonl.gz` files of a folder, or one such file."""
    files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")]) if path.is_dir() else [path]
    if not files:
        raise TraceError(f"{path}: no *.jsonl or *.jsonl.gz files in this folder")
    feed.expect(*files)
    by_time: dict[int, list[_Seen]] = {}
    for file in files:
        for seen in _read_file(feed, file):
            by_time.setdefault(seen.at, []).append(seen)
    if not by_time:
        raise TraceError(f"{path}: no snapshots")
    instants = sorted(by_time)
    changes, tally = Changes(), Tally()
    pools = _add_pools([seen for at in instants for seen in by_time[at]], changes)
    for at in instants:
        _take(at, by_time[at], pools, changes, tally)
    header = TraceHeader(
        name="primeintellect-gpu-market",
        kinds=("market",),
        provenance=_PROVENANCE,
        start=instants[0],
        end=instants[-1] + _RESOLUTION,
        resolution_ns=_RESOLUTION,
        depth_kind="count",
        pools=tuple(changes.pools),
        gaps=gaps_between(instants, _GAP),
        dropped=tally.counts(),
    )
    return Draft(header, list(changes.rows))


def _read_file(feed: Feed, path: Path) -> list[_Seen]:
    decoder = msgspec.json.Decoder(_Snapshot)
    result: list[_Seen] = []
    newest = NOT_KNOWN
    for number, line in feed.lines(path):
        if not line.strip():
            continue
        try:
            snapshot = decoder.decode(line)
            at = parse_instant(snapshot.timestamp)
        except (msgspec.MsgspecError, BadValue) as error:
            raise TraceError(f"{path}, line {number}: not a market snapshot: {error}") from error
        instance = "_".join(part for part in (snapshot.gpu_type, snapshot.socket_type) if part)
        seen = _Seen(at, snapshot.gpu_type, instance, snapshot.by_provider, path, number)
        if at < newest - _TOLERANCE:
            raise seen.error("more than an hour before an earlier line")
        newest = max(newest, at)
        result.append(seen)
    return result


def _add_pools(snapshots: list[_Seen], changes: Changes) -> dict[tuple[str, str], int]:
    """(instance, provider) -> pool, by name; all are known before the first row."""
    found = {(seen.instance, provider): seen.gpu for seen in snapshots for provider in seen.offers}
    return {
        key: changes.pool(make_pool(key[1], "", "", key[0], gpu, 1, Tenure.ON_DEMAND))
        for key, gpu in sorted(found.items())
    }


def _take(
    at: int,
    snapshots: list[_Seen],
    pools: dict[tuple[str, str], int],
    changes: Changes,
    tally: Tally,
) -> None:
    offered: dict[tuple[str, str], tuple[_Seen, _Offers]] = {}
    for seen in snapshots:
        for provider, offers in seen.offers.items():
            offered[seen.instance, provider] = seen, offers
    for key, pool in pools.items():
        if key not in offered:
            changes.set(at, pool, NOT_KNOWN, 0)
            continue
        seen, offers = offered[key]
        if offers.count < 0:
            raise seen.error(f"{key[1]}: count {offers.count} is negative")
        if not offers.count:
            changes.set(at, pool, NOT_KNOWN, 0)
            continue
        rate = rate_of(offers.min, seen.error, f"{key[1]}: price")
        if rate <= 0:
            tally.drop(PRICE_NOT_POSITIVE)
            continue
        changes.set(at, pool, rate, offers.count)
