"""List prices of Google Cloud's GPU machine types, region by region, as its catalogue changed.

Assumed: a price holds until the next revision that differs. Availability is not recorded: depth is
-1, and 0 once a machine type has left the catalogue. Rows come in order of time or are refused: the
source is a version history, which cannot be out of order.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.market import Tenure
from treasury.domain.time import WEEK, parse_instant
from treasury_simulations.traces.importers.draft import (
    PRICE_NOT_POSITIVE,
    SHAPE_UNKNOWN,
    Changes,
    Draft,
    Tally,
    gaps_between,
)
from treasury_simulations.traces.importers.source import Feed, Record
from treasury_simulations.traces.model import NOT_KNOWN, Provenance, TraceHeader, make_pool

_FILE: Final = "changes.csv.gz"
_SNAPSHOTS: Final = "snapshots.json"
_GPU_OF_FAMILY: Final = {
    "a2-highgpu": "A100-40GB",
    "a2-megagpu": "A100-40GB",
    "a2-ultragpu": "A100-80GB",
    "a3-highgpu": "H100",
    "a3-megagpu": "H100",
}
_FAMILY: Final = re.compile(r"(a\d-[a-z]+)-(\d+)g")
# The g2 family is named by its vCPUs; GPUs as Google documents them.
_G2_GPUS: Final = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
_G2: Final = re.compile(r"g2-standard-(\d+)")
_COLUMNS: Final = ("observed_at", "instance", "region", "usd_hour", "usd_hour_spot")
_PROVENANCE: Final = Provenance(
    source="github.com/Cyclenerd/google-cloud-pricing-cost-calculator, history of pricing.yml",
    licence="Apache-2.0",
    attribution="Nils Knieling (Cyclenerd) and contributors; prices of Google Cloud's catalogue",
    derivation=(
        "revisions of the price list reduced to changes of GPU machine types",
        "catalogue prices only: availability and interruptions are unknown",
    ),
)


def shape_of(instance: str) -> tuple[str, int] | None:
    """(GPU model, GPUs) of a machine type by its name, None where the name says nothing."""
    match = _FAMILY.fullmatch(instance)
    if match is not None and match[1] in _GPU_OF_FAMILY:
        return _GPU_OF_FAMILY[match[1]], int(match[2])
    match = _G2.fullmatch(instance)
    if match is not None and int(match[1]) in _G2_GPUS:
        return "L4", _G2_GPUS[int(match[1])]
    return None


def read(feed: Feed, path: Path) -> Draft:
    """The price history from its folder or its table (`snapshots.json` may lie beside it)."""
    table = path / _FILE if path.is_dir() else path
    snapshots = table.with_name(_SNAPSHOTS)
    looked = snapshots.is_file()
    feed.expect(table, *([snapshots] if looked else []))
    changes, tally = Changes(), Tally()
    first = last = NOT_KNOWN
    for record in feed.table(table, _COLUMNS):
        at = record.instant("observed_at")
        if at < last:
            raise record.error("rows must be in order of time")
        first, last = at if first == NOT_KNOWN else first, at
        _take(record, at, changes, tally)
    if first == NOT_KNOWN:
        raise TraceError(f"{table}, line 2: no rows")
    instants = sorted({first, last, *(_instants(feed, snapshots) if looked else ())})
    header = TraceHeader(
        name="gcp-gpu-price-history",
        kinds=("market",),
        provenance=_PROVENANCE,
        start=instants[0],
        end=instants[-1],
        resolution_ns=WEEK,
        depth_kind="unknown",
        pools=tuple(changes.pools),
        # Twice the nominal week: one missed revision is no gap.
        gaps=gaps_between(instants, 2 * WEEK) if looked else (),
        dropped=tally.counts(),
    )
    return Draft(header, list(changes.rows))


def _take(record: Record, at: int, changes: Changes, tally: Tally) -> None:
    instance = record.text("instance")
    shape = shape_of(instance)
    if shape is None:
        tally.drop(SHAPE_UNKNOWN)
        return
    for column, tenure in (("usd_hour", Tenure.ON_DEMAND), ("usd_hour_spot", Tenure.SPOT)):
        pool = make_pool("gcp", record.text("region"), "", instance, *shape, tenure)
        if not record.text(column):
            changes.withdraw(at, pool)
            continue
        rate = record.rate(column)
        if rate <= 0:
            tally.drop(PRICE_NOT_POSITIVE)
            continue
        changes.set(at, changes.pool(pool), rate, NOT_KNOWN)


def _instants(feed: Feed, path: Path) -> list[int]:
    try:
        texts = msgspec.json.decode(feed.text(path), type=list[str])
        return [parse_instant(text) for text in texts]
    except (msgspec.MsgspecError, BadValue) as error:
        raise TraceError(f"{path}: not a JSON list of instants: {error}") from error
