"""GPU jobs of Microsoft's Philly clusters: arrivals, sizes, durations.

Assumed: submission times, which the source gives in local time without a zone, are taken for UTC.
The table may come in any order and is sorted (stable) as a whole. A job of more than eight GPUs
is a gang of machines with at most eight each, as in the clusters it ran on. The duration is taken
for the reference accelerator. There are no deadlines and no priorities.
"""

from pathlib import Path
from typing import Final

from treasury.domain.errors import TraceError
from treasury_simulations.traces.importers.draft import (
    DURATION_NOT_POSITIVE,
    GPUS_NOT_POSITIVE,
    Draft,
    Tally,
)
from treasury_simulations.traces.importers.source import Feed
from treasury_simulations.traces.model import JobRow, Provenance, TraceHeader

_COLUMNS: Final = ("timestamp", "duration", "num_gpus", "cluster")
_FILE: Final = "jobs.csv.gz"
_GPUS_A_MACHINE: Final = 8
PROVENANCE: Final = Provenance(
    source="github.com/msr-fiddle/philly-traces, as CSV in github.com/siasosp23/artifacts "
    "(sia-simulator/traces/philly.csv)",
    commit="aaf7a0d",
    licence="CC-BY-4.0",
    attribution='Microsoft; Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for '
    'DNN Training Workloads", USENIX ATC 2019',
    derivation=(
        "local submission times taken for UTC",
        "jobs of more than 8 GPUs turned into gangs of machines with at most 8",
        "group = virtual cluster; no deadlines, no priorities in the source",
    ),
)


def read(feed: Feed, path: Path, *, limit: int = 0, start: int | None = None) -> Draft:
    """All jobs, or the first `limit` by submission; `start` [ns] moves the first one there."""
    table = path / _FILE if path.is_dir() else path
    feed.expect(table)
    tally = Tally()
    found: list[tuple[int, int, int, str]] = []
    for record in feed.table(table, _COLUMNS):
        gpus, duration = record.whole("num_gpus"), record.seconds("duration")
        at = record.instant("timestamp")
        if gpus < 1:
            tally.drop(GPUS_NOT_POSITIVE)
        elif duration < 1:
            tally.drop(DURATION_NOT_POSITIVE)
        else:
            found.append((at, duration, gpus, record.text("cluster")))
    if not found:
        raise TraceError(f"{table}, line 2: no jobs")
    found.sort(key=lambda job: job[0])
    if limit:
        del found[limit:]
    shift = 0 if start is None else start - found[0][0]
    rows = [
        _job(number, at + shift, duration, gpus, group)
        for number, (at, duration, gpus, group) in enumerate(found, 1)
    ]
    header = TraceHeader(
        name="philly-jobs",
        kinds=("jobs",),
        provenance=PROVENANCE,
        start=rows[0].at,
        end=rows[-1].at,
        dropped=tally.counts(),
    )
    return Draft(header, list(rows))


def _job(number: int, at: int, duration: int, gpus: int, group: str) -> JobRow:
    nodes = -(-gpus // _GPUS_A_MACHINE)
    return JobRow(at, f"philly-{number:05d}", -(-gpus // nodes), nodes, duration, group, 0, None)
