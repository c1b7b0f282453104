"""What is in a trace: span, pools, prices, availability, gaps, jobs. One pass, bounded memory
(distinct prices of each pool, and two integers a job)."""

from collections.abc import Iterable, Sequence

import msgspec

from treasury.domain.time import HOUR
from treasury_simulations.traces.model import NOT_KNOWN, Kind, MarketRow, PoolInfo, TraceHeader
from treasury_simulations.traces.reader import Trace


class Spans(msgspec.Struct, frozen=True):
    """A number of stretches of time: how many, their sum and the longest [ns]."""

    count: int = 0
    total: int = 0
    longest: int = 0


class PoolDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One pool over the span of the trace.

    rate_min, rate_median, rate_max: nano-USD/h, the median weighted by time; None where never
    known. available: share of the time for which depth is known; None where it never is. outages:
    stretches with depth 0. depth_max: -1 where never known. interruptions: machines taken back.
    """

    pool: PoolInfo
    rows: int
    rate_min: int | None
    rate_median: int | None
    rate_max: int | None
    available: float | None
    outages: Spans
    depth_max: int
    interruptions: int


class JobsDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs together. Durations in ns on the reference accelerator; gpu_hours: GPUs x duration.

    groups: jobs of each group, most first.
    """

    count: int
    gpu_hours: float
    gpus_max: int
    duration_min: int
    duration_median: int
    duration_max: int
    with_deadline: int
    groups: dict[str, int]


class ThroughputsDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Measured speeds: how many rows, of how many job types, on which accelerators."""

    count: int
    job_types: int
    gpus: tuple[str, ...]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A trace in figures. gaps: stretches nobody looked at."""

    header: TraceHeader
    rows: dict[Kind, int]
    gaps: Spans
    pools: tuple[PoolDescription, ...]
    jobs: JobsDescription | None
    throughputs: ThroughputsDescription | None


def describe(trace: Trace) -> Description:
    """Read a whole trace, which checks all of it. Raises TraceError where it is damaged."""
    header = trace.header
    return Description(
        header=header,
        rows=trace.rows,
        gaps=_spans([end - start for start, end in header.gaps]),
        pools=_describe_market(trace),
        jobs=_describe_jobs(trace),
        throughputs=_describe_throughputs(trace),
    )


class _Watch:
    """What one pool was like, by how long."""

    def __init__(self) -> None:
        self.rows = 0
        self.rates: dict[int, int] = {}
        self.known = self.open = 0
        self.outages: list[int] = []
        self.depth_max = NOT_KNOWN
        self._row: MarketRow | None = None
        self._out_since = NOT_KNOWN

    def take(self, row: MarketRow) -> None:
        """The state changes."""
        self.rows += 1
        self.until(row.at)
        self._row = row
        self.depth_max = max(self.depth_max, row.depth)
        if row.depth == 0 and self._out_since == NOT_KNOWN:
            self._out_since = row.at
        elif row.depth != 0 and self._out_since != NOT_KNOWN:
            self.outages.append(row.at - self._out_since)
            self._out_since = NOT_KNOWN

    def until(self, at: int) -> None:
        """Account for the time the present state lasted."""
        row = self._row
        if row is None:
            return
        lasted = at - row.at
        if row.rate != NOT_KNOWN:
            self.rates[row.rate] = self.rates.get(row.rate, 0) + lasted
        if row.depth != NOT_KNOWN:
            self.known += lasted
            self.open += lasted if row.depth else 0

    def finish(self, at: int) -> None:
        """The trace ends."""
        self.until(at)
        if self._out_since != NOT_KNOWN:
            self.outages.append(at - self._out_since)


def _describe_market(trace: Trace) -> tuple[PoolDescription, ...]:
    watches = [_Watch() for _ in trace.pools]
    for row in trace.market():
        watches[row.pool].take(row)
    taken = [0] * len(watches)
    for _at, pool, machines in trace.interruptions():
        taken[pool] += machines
    for watch in watches:
        watch.finish(trace.header.end)
    return tuple(
        PoolDescription(
            pool=pool,
            rows=watch.rows,
            rate_min=min(watch.rates, default=None),
            rate_median=weighted_median(watch.rates),
            rate_max=max(watch.rates, default=None),
            available=watch.open / watch.known if watch.known else None,
            outages=_spans(watch.outages),
            depth_max=watch.depth_max,
            interruptions=machines,
        )
        for pool, watch, machines in zip(trace.pools, watches, taken, strict=True)
    )


def weighted_median(weights: dict[int, int]) -> int | None:
    """The least value with at least half of the weight at or below it; None of nothing."""
    half, reached = sum(weights.values()) / 2, 0
    for value in sorted(weights):
        reached += weights[value]
        if reached >= half:
            return value
    return None


def _describe_jobs(trace: Trace) -> JobsDescription | None:
    durations: list[int] = []
    groups: dict[str, int] = {}
    gpu_ns = gpus_max = with_deadline = 0
    for job in trace.jobs():
        durations.append(job.duration_ns)
        groups[job.group] = groups.get(job.group, 0) + 1
        gpus = job.gpus * job.nodes
        gpu_ns += gpus * job.duration_ns
        gpus_max = max(gpus_max, gpus)
        with_deadline += job.deadline is not None
    if not durations:
        return None
    durations.sort()
    return JobsDescription(
        count=len(durations),
        gpu_hours=gpu_ns / HOUR,
        gpus_max=gpus_max,
        duration_min=durations[0],
        duration_median=durations[(len(durations) - 1) // 2],
        duration_max=durations[-1],
        with_deadline=with_deadline,
        groups=dict(sorted(groups.items(), key=lambda item: (-item[1], item[0]))),
    )


def _describe_throughputs(trace: Trace) -> ThroughputsDescription | None:
    count = 0
    job_types: dict[str, None] = {}
    gpus: dict[str, None] = {}
    for row in trace.throughputs():
        count += 1
        job_types[row.job_type] = None
        gpus[row.gpu] = None
    if not count:
        return None
    return ThroughputsDescription(count=count, job_types=len(job_types), gpus=tuple(sorted(gpus)))


def _spans(lengths: Sequence[int] | Iterable[int]) -> Spans:
    found = list(lengths)
    return Spans(len(found), sum(found), max(found, default=0))
