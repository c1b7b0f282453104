"""Importers: public data sets into traces, one small module each.

Lives here: what each source's columns mean and which assumptions turn them into rows. An importer
reads its source into memory (the public sets are small) and hands over a complete header and
ordered rows; writing is done in one place. To add one: a module with `read(feed, path, **options)
-> Draft`, and a line in `IMPORTERS`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from treasury.domain.errors import BadValue
from treasury.domain.money import parse_rate
from treasury.domain.time import parse_instant
from treasury_simulations.traces.importers import (
    cant_be_late,
    gavel_throughputs,
    gcp_gpu_price_history,
    philly_jobs,
    primeintellect_gpu_market,
    spot_fleet_counts,
)
from treasury_simulations.traces.importers.draft import Draft
from treasury_simulations.traces.importers.source import Feed, Progress, no_progress
from treasury_simulations.traces.reader import Trace, open_trace
from treasury_simulations.traces.writer import write_trace


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise BadValue("count", text, "a whole number, zero or more")
    return int(text)


class Importer(NamedTuple):
    """A kind of data set: how to read it, what it is, and its options with their parsers."""

    read: Callable[..., Draft]
    summary: str
    options: dict[str, Callable[[str], Any]]


IMPORTERS: Final[dict[str, Importer]] = {
    "cant_be_late": Importer(
        cant_be_late.read, "AWS spot availability and prices, by zone", {"year": _count}
    ),
    "gcp_gpu_price_history": Importer(
        gcp_gpu_price_history.read, "GCP list prices of GPU machines, by region", {}
    ),
    "primeintellect_gpu_market": Importer(
        primeintellect_gpu_market.read, "offers of many providers, half-hourly", {}
    ),
    "spot_fleet_counts": Importer(
        spot_fleet_counts.read,
        "sizes of spot GPU fleets: depth and interruptions",
        {
            "start": parse_instant,
            "rate": parse_rate,
            "provider": str,
            "instance": str,
            "gpu": str,
        },
    ),
    "philly_jobs": Importer(
        philly_jobs.read,
        "GPU jobs of Microsoft's Philly clusters",
        {"limit": _count, "start": parse_instant},
    ),
    "gavel_throughputs": Importer(
        gavel_throughputs.read, "training speeds on K80, P100 and V100", {}
    ),
}


def read_dataset(
    kind: str, path: Path | str, *, progress: Progress = no_progress, **options: Any
) -> Draft:
    """Read a data set into memory. Options may be given as text. Raises BadValue, TraceError."""
    importer = IMPORTERS.get(kind)
    if importer is None:
        raise BadValue("kind of data set", kind, f"one of {', '.join(IMPORTERS)}")
    for name in options:
        if name not in importer.options:
            known = ", ".join(importer.options) or "none"
            raise BadValue(f"option of {kind}", name, f"one of its options ({known})")
    parsed = {
        name: importer.options[name](value) if isinstance(value, str) else value
        for name, value in options.items()
    }
    return importer.read(Feed(progress), Path(path), **parsed)


def import_dataset(
    kind: str,
    path: Path | str,
    out: Path | str,
    *,
    progress: Progress = no_progress,
    **options: Any,
) -> Trace:
    """Turn a data set into a trace at `out`, whole or not at all; returns it opened.

    progress: called with (bytes read, bytes in all). options: see `IMPORTERS`. Raises BadValue
    for a kind or option that does not exist, TraceError with file and line for a source that is
    wrong.
    """
    draft = read_dataset(kind, path, progress=progress, **options)
    write_trace(out, draft.header, draft.rows)
    return open_trace(out)
