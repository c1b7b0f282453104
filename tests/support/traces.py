"""Small traces for tests: every kind of row, and a folder of sources to import."""

import gzip
from pathlib import Path

from treasury.domain.market import Tenure
from treasury.domain.money import RATE_LIMIT
from treasury_simulations.traces import (
    InterruptionRow,
    JobRow,
    MarketRow,
    Provenance,
    ThroughputRow,
    Trace,
    TraceHeader,
    TraceWriter,
    make_pool,
)
from treasury_simulations.traces.importers import import_dataset

PROVENANCE = Provenance(source="a test", licence="CC0", attribution="nobody")
POOLS = (
    make_pool("aws", "us-east-1", "us-east-1a", "p3.2xlarge", "Tesla V100", 1, Tenure.SPOT),
    make_pool("home", "", "", "box", "nvidia l4", 4, Tenure.OWNED),
)
MARKET = [
    MarketRow(100, 0, 918_000_000, 1),
    MarketRow(100, 1, 0, -1),
    MarketRow(250, 0, -1, 0),
    MarketRow(10**18, 0, RATE_LIMIT, 2**40),
]
INTERRUPTIONS = [InterruptionRow(250, 0, 3)]
JOBS = [
    JobRow(100, "a", 1, 1, 3_600, "team/ä", 0, None),
    JobRow(101, "b", 8, 4, 1, "", -5, 90),
]
THROUGHPUTS = [ThroughputRow("ResNet", 2, "V100", False, 4_795)]
ROWS = [*MARKET, *INTERRUPTIONS, *JOBS, *THROUGHPUTS]


def header(**changes: object) -> TraceHeader:
    """A header for all kinds of rows."""
    fields: dict[str, object] = {
        "name": "small",
        "kinds": ("market", "interruptions", "jobs", "throughputs"),
        "provenance": PROVENANCE,
        "start": 100,
        "depth_kind": "count",
        "pools": POOLS,
    }
    return TraceHeader(**{**fields, **changes})


def market_only(**changes: object) -> TraceHeader:
    """A header for market rows."""
    return header(kinds=("market",), **changes)


def write_small(path: Path) -> Path:
    """A file with two rows a block and all kinds of rows."""
    with TraceWriter(path, small_header(), block_rows=2) as writer:
        writer.add_all(ROWS)
    return path


def small_header() -> TraceHeader:
    """The header of that file."""
    return header(gaps=((120, 130),), dropped={"bad": 2})


def places(start: int, end: int) -> list[int]:
    """Every byte of the interesting last stretch, and some of the long header before it."""
    return [*range(start, end - 600, 23), *range(max(start, end - 600), end, 2), end - 1]


def read_all(trace: Trace) -> list[object]:
    """All rows of a trace."""
    return [
        *trace.market(),
        *trace.interruptions(),
        *trace.jobs(),
        *trace.throughputs(),
    ]


def load(
    folder: Path, kind: str, files: dict[str, str], file: str = "", **options: object
) -> Trace:
    """Put files (name -> text) into a folder and import it, or the one `file` names."""
    for name, text in files.items():
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    trace = import_dataset(kind, folder / file, folder / "out.trace", **options)
    trace.verify()
    return trace
