"""What a trace says: its header, the catalogue of pools, and the kinds of rows.

Units: instants and durations in ns (instants count from 1970-01-01 UTC), rates in nano-USD per hour
for the whole machine, throughputs in thousandths of a step per second. Everything is an integer.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from treasury.domain.hardware import Shape, gpu_memory_gib, normalise_gpu
from treasury.domain.ids import OfferId, ProviderName
from treasury.domain.market import Tenure, offer_id

FORMAT: Final = 1

Kind = Literal["market", "interruptions", "jobs", "throughputs"]
# "binary": depth 1 means that at least one machine could be had; "count": machines; "unknown".
DepthKind = Literal["binary", "count", "unknown"]

# A rate or depth nobody knows. For a rate also: the pool is not sold.
NOT_KNOWN: Final = -1
# Of `TraceHeader.end` in a file that is still being recorded.
OPEN_END: Final = -1

UNITS: Final = {
    "at": "ns since 1970-01-01 UTC",
    "rate": "nano-USD per hour for the whole machine, -1 not sold or not known",
    "depth": "machines that could be had (see depth_kind), 0 none, -1 not known",
    "machines": "machines taken back by the market",
    "duration_ns": "ns on the reference accelerator",
    "milli_steps_s": "thousandths of a step per second",
}


class MarketRow(NamedTuple):
    """A pool's state from `at` until its next row; rate [nano-USD/h] and depth may be -1."""

    at: int
    pool: int
    rate: int
    depth: int


class InterruptionRow(NamedTuple):
    """The market took `machines` machines of a pool back at `at`."""

    at: int
    pool: int
    machines: int


class JobRow(NamedTuple):
    """A job submitted at `at`: `gpus` accelerators on each of `nodes` machines, all or nothing.

    duration_ns: time the whole gang needs on the reference accelerator. group: who submitted it
    (a virtual cluster, a team), empty where unknown. deadline: an instant or None.
    """

    at: int
    id: str
    gpus: int
    nodes: int
    duration_ns: int
    group: str
    priority: int
    deadline: int | None


class ThroughputRow(NamedTuple):
    """Measured speed of a job type on `gpus` accelerators of one model.

    consolidated: on as few machines as possible; False when spread over machines.
    """

    job_type: str
    gpus: int
    gpu: str
    consolidated: bool
    milli_steps_s: int


Row = MarketRow | InterruptionRow | JobRow | ThroughputRow


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures come from, under which licence, and what was done to them."""

    source: str
    commit: str = ""
    licence: str
    attribution: str
    derivation: tuple[str, ...] = ()


class PoolInfo(msgspec.Struct, frozen=True):
    """One pool of the catalogue; rows name it by its place there. `gpu_memory_gib` is per GPU."""

    id: OfferId
    provider: ProviderName
    region: str
    zone: str
    instance: str
    gpu: str
    gpus: int
    gpu_memory_gib: int
    tenure: Tenure

    def shape(self) -> Shape:
        """The machine of this pool."""
        return Shape(self.gpu, self.gpus, self.gpu_memory_gib, self.instance)


class TraceHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a whole trace.

    start, end: the span [ns) that was recorded; end is -1 while a recording goes on (a finished
    file has it in its footer, and `open_trace` fills it in). resolution_ns: the grid of the
    observations, 0 where events have their own instants. gaps: spans [from, until) nobody looked
    at: the state before them holds. dropped: why rows of the source were left out, and how many.
    """

    name: str
    kinds: tuple[Kind, ...]
    provenance: Provenance
    start: int
    end: int = OPEN_END
    resolution_ns: int = 0
    depth_kind: DepthKind = "unknown"
    pools: tuple[PoolInfo, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    dropped: dict[str, int] = {}
    units: dict[str, str] = msgspec.field(default_factory=UNITS.copy)
    format: int = FORMAT


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """Totals written last, so that a file that lost its tail is known for one.

    pools: those that joined the catalogue after the header was written. gaps, dropped: complete,
    the header's included.
    """

    end: int
    rows: dict[Kind, int]
    blocks: int
    pools: tuple[PoolInfo, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    dropped: dict[str, int] = {}


def make_pool(
    provider: str, region: str, zone: str, instance: str, gpu: str, gpus: int, tenure: Tenure
) -> PoolInfo:
    """A pool with its canonical identifier; `gpu` is the vendor's name and gets ours."""
    model = normalise_gpu(gpu)
    return PoolInfo(
        id=offer_id(provider, region, zone, instance, tenure),
        provider=ProviderName(provider),
        region=region,
        zone=zone,
        instance=instance,
        gpu=model,
        gpus=gpus,
        gpu_memory_gib=gpu_memory_gib(model),
        tenure=tenure,
    )
