"""Traces: recorded markets and jobs in one format of ours, and the ways into it.

Lives here: the format (reader, writer), importers of public data sets, descriptions and plots,
downloads, the bundled samples. May not live here: what a replay does with the rows.
"""

from treasury_simulations.traces.clip import clip_market
from treasury_simulations.traces.model import (
    DepthKind,
    InterruptionRow,
    JobRow,
    Kind,
    MarketRow,
    PoolInfo,
    Provenance,
    ThroughputRow,
    TraceHeader,
    make_pool,
)
from treasury_simulations.traces.reader import Trace, bundled, open_trace
from treasury_simulations.traces.writer import TraceWriter, write_trace

__all__ = [
    "DepthKind",
    "InterruptionRow",
    "JobRow",
    "Kind",
    "MarketRow",
    "PoolInfo",
    "Provenance",
    "ThroughputRow",
    "Trace",
    "TraceHeader",
    "TraceWriter",
    "bundled",
    "clip_market",
    "make_pool",
    "open_trace",
    "write_trace",
]
