"""Sizes of real spot GPU fleets over time: what the market gave and took.

Three layouts, told apart by their lines: `ms,add|remove,node` and `ms,size` count milliseconds
from the recording's start; `date, time, size` is a log written about every minute. Assumed: the
fleet's size is the depth (more might have been had), every shrinking is an interruption. There
are no prices: rate is -1 unless `rate` states one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.market import Tenure
from treasury.domain.money import format_rate
from treasury.domain.time import MINUTE, SECOND, parse_instant
from treasury_simulations.traces.importers.draft import (
    SUPERSEDED,
    Changes,
    Draft,
    Tally,
    gaps_between,
)
from treasury_simulations.traces.importers.source import Feed, Record
from treasury_simulations.traces.model import (
    NOT_KNOWN,
    InterruptionRow,
    PoolInfo,
    Provenance,
    TraceHeader,
    make_pool,
)

_BAMBOO: Final = Provenance(
    source="github.com/uclasystem/bamboo",
    commit="8080929",
    licence="MIT",
    attribution='Thorpe et al., "Bamboo", NSDI 2023',
)
_PARCAE: Final = Provenance(
    source="github.com/JF-D/Parcae, aws/traces/p3.csv",
    commit="efedee7",
    licence="MIT",
    attribution='Duan et al., "Parcae", NSDI 2024; from the trace of "Bamboo"',
)
# In the log layout each change of size is logged again from a minute before it: a line that steps
# back corrects what stands there. Further back is an error.
_STEP_BACK: Final = 2 * MINUTE
# The log is written every minute or two; what is longer is a gap.
_GAP: Final = 10 * MINUTE


class _Fleet(NamedTuple):
    provider: str
    region: str
    zone: str
    instance: str
    gpu: str
    provenance: Provenance


# Files of the published set, by name. Machine types as the papers state them.
_FLEETS: Final = {
    "bamboo_aws_p3_64": _Fleet("aws", "", "", "p3.2xlarge", "V100", _BAMBOO),
    "bamboo_aws_g4dn": _Fleet("aws", "", "", "g4dn.xlarge", "T4", _BAMBOO),
    "bamboo_gcp_a100_us-east1-b": _Fleet(
        "gcp", "us-east1", "us-east1-b", "a2-highgpu-1g", "A100-40GB", _BAMBOO
    ),
    "bamboo_gcp_v100_us-east1-c": _Fleet(
        "gcp", "us-east1", "us-east1-c", "n1-v100", "V100", _BAMBOO
    ),
    "parcae_aws_p3_32": _Fleet("aws", "", "", "p3.2xlarge", "V100", _PARCAE),
}
_OTHER: Final = Provenance(source="a file of fleet sizes", licence="not stated", attribution="")


class _Size(NamedTuple):
    at: int
    size: int
    removed: int


def read(
    feed: Feed,
    path: Path,
    *,
    start: int | None = None,
    rate: int = NOT_KNOWN,
    provider: str = "",
    instance: str = "",
    gpu: str = "",
) -> Draft:
    """One fleet from one file.

    start: instant [ns] of the recording's first moment; without it 1970-01-01 for the two layouts
    in milliseconds, whose day nobody recorded, and the log's own time. rate [nano-USD/h]: a price
    to assume. provider, instance, gpu: for files that are not of the published set.
    """
    if path.is_dir():
        raise TraceError(f"{path}: is a folder; name one file of it")
    feed.expect(path)
    tally = Tally()
    sizes, dated = _read_sizes(feed, path, tally)
    if not sizes:
        raise TraceError(f"{path}, line 1: no rows")
    zero = sizes[0].at if dated else 0
    shift = 0 if start is None else start - zero
    pool, provenance = _pool(path, provider, instance, gpu)
    changes, interruptions = Changes(), []
    index = changes.pool(pool)
    for size in sizes:
        changes.set(size.at + shift, index, rate, size.size)
        if size.removed:
            interruptions.append(InterruptionRow(size.at + shift, index, size.removed))
    instants = [size.at + shift for size in sizes]
    header = TraceHeader(
        name=path.name.split(".")[0],
        kinds=("market", "interruptions"),
        provenance=_derived(provenance, rate, start, dated),
        start=zero + shift,
        end=instants[-1],
        resolution_ns=MINUTE if dated else 0,
        depth_kind="count",
        pools=tuple(changes.pools),
        gaps=gaps_between(instants, _GAP) if dated else (),
        dropped=tally.counts(),
    )
    return Draft(header, [*changes.rows, *interruptions])


def _pool(path: Path, provider: str, instance: str, gpu: str) -> tuple[PoolInfo, Provenance]:
    known = _FLEETS.get(path.name.split(".csv")[0])
    if known is None and not (provider and instance and gpu):
        raise BadValue(
            "file",
            path.name,
            f"one of {', '.join(_FLEETS)}, or the options provider, instance and gpu",
        )
    if known is None:
        known = _Fleet(provider, "", "", instance, gpu, _OTHER)
    pool = make_pool(
        provider or known.provider,
        known.region,
        known.zone,
        instance or known.instance,
        gpu or known.gpu,
        1,
        Tenure.SPOT,
    )
    return pool, known.provenance


def _derived(provenance: Provenance, rate: int, start: int | None, dated: bool) -> Provenance:
    notes = ["depth = size of the fleet; every shrinking is an interruption"]
    if rate != NOT_KNOWN:
        notes.append(f"price assumed by whoever imported it: {format_rate(rate)}")
    if start is not None:
        notes.append("moved in time by whoever imported it")
    elif not dated:
        notes.append("the day is not recorded: instants count from 1970-01-01")
    return Provenance(
        source=provenance.source,
        commit=provenance.commit,
        licence=provenance.licence,
        attribution=provenance.attribution,
        derivation=tuple(notes),
    )


def _read_sizes(feed: Feed, path: Path, tally: Tally) -> tuple[list[_Size], bool]:
    """(sizes, one for each instant; whether the file has dates of its own)."""
    rows = feed.fields(path)
    head = next(rows, None)
    if head is None:
        return [], False
    records = _chain(head, rows)
    match head.values:
        case [_, _]:
            return _merge(_counted(records)), False
        case [first, _, _] if "-" in first:
            return _merge(_logged(records, tally)), True
        case [_, _, _]:
            return _merge(_events(records)), False
    raise head.error("none of the layouts ms,add,node or ms,size or date,time,size")


def _chain(head: Record, rows: Iterator[Record]) -> Iterator[Record]:
    width = len(head.values)
    yield head
    for record in rows:
        if len(record.values) != width:
            raise record.error(f"{len(record.values)} fields where {width} are due")
        yield record


def _events(records: Iterator[Record]) -> Iterator[_Size]:
    held: dict[str, None] = {}
    for record, at in _in_order(records):
        action, node = record.text(1), record.text(2)
        if action == "add" and node not in held:
            held[node] = None
        elif action == "remove" and node in held:
            del held[node]
        elif action in ("add", "remove"):
            raise record.error(f"{action} of {node}, which is {'' if node in held else 'not '}held")
        else:
            raise record.error(f"{action!r} is neither add nor remove")
        yield _Size(at, len(held), int(action == "remove"))


def _counted(records: Iterator[Record]) -> Iterator[_Size]:
    size = 0
    for record, at in _in_order(records):
        before, size = size, _size(record, 1)
        yield _Size(at, size, max(0, before - size))


def _in_order(records: Iterator[Record]) -> Iterator[tuple[Record, int]]:
    last = 0
    for record in records:
        at = record.whole(0) * (SECOND // 1_000)
        if at < last:
            raise record.error("rows must be in order of time")
        last = at
        yield record, at


def _logged(records: Iterator[Record], tally: Tally) -> Iterator[_Size]:
    log: list[tuple[int, int]] = []
    for record in records:
        try:
            at = parse_instant(f"{record.text(0)}T{record.text(1)}")
        except BadValue as error:
            raise record.error(f"{record.text(0)!r}, {record.text(1)!r} is not a time") from error
        if log and at < log[-1][0] - _STEP_BACK:
            raise record.error("more than two minutes before the line above")
        while log and log[-1][0] >= at:
            log.pop()
            tally.drop(SUPERSEDED)
        log.append((at, _size(record, 2)))
    before = 0
    for at, size in log:
        yield _Size(at, size, max(0, before - size))
        before = size


def _size(record: Record, field: int) -> int:
    size = record.whole(field)
    if size < 0:
        raise record.error(f"a fleet of {size} machines")
    return size


def _merge(sizes: Iterator[_Size]) -> list[_Size]:
    """One entry for each instant: the size after it, and what was removed at it in all."""
    merged: list[_Size] = []
    for size in sizes:
        if merged and merged[-1].at == size.at:
            removed = merged.pop().removed + size.removed
            merged.append(_Size(size.at, size.size, removed))
        else:
            merged.append(size)
    return merged
