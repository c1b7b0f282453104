"""Recording live quotes into traces: for weeks, in a bounded space, across crashes.

A recording is a folder of segments, each a whole trace that begins with everything that was known
then. Only changes are written. When the folder outgrows its limit the oldest segments go. `merge`
makes one trace of segments; what lay between them was not watched, and is said to be a gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.ids import OfferId
from treasury.domain.market import Offer, Quote
from treasury.domain.time import DAY, MINUTE, to_datetime
from treasury_simulations.traces.model import MarketRow, PoolInfo, Provenance, TraceHeader
from treasury_simulations.traces.reader import Trace, open_trace
from treasury_simulations.traces.writer import TraceWriter, write_trace

SUFFIX: Final = ".trace"
# A stretch in which no market said anything is one in which nobody looked.
SILENCE: Final = 15 * MINUTE
# Rows are brought to the disk at least this often; a crash loses no more.
FLUSH: Final = MINUTE
_ROWS_A_BLOCK: Final = 4_096


class Recording:
    """Takes catalogues and quotes and writes segments. Instants in ns.

    limit: bytes of all segments together. segment: how long one lasts at most; an eighth of the
    limit ends it sooner.
    """

    def __init__(
        self, folder: Path, name: str, *, limit: int = 1 << 30, segment: int = DAY
    ) -> None:
        if limit < 1 << 16:
            raise BadValue("the limit of a recording", limit, "at least 64 KiB")
        self.folder, self.name = folder, name
        self._limit, self._segment = limit, segment
        self._pools: dict[OfferId, PoolInfo] = {}
        self._state: dict[OfferId, tuple[int, int]] = {}
        self._writer: TraceWriter | None = None
        self._index: dict[OfferId, int] = {}
        self._started = self._heard = self._flushed = 0
        self._full = False
        self.rows = 0

    def offers(self, offers: Iterable[Offer]) -> None:
        """What is sold; quotes of anything else are not taken."""
        for offer in offers:
            shape = offer.shape
            self._pools[offer.id] = PoolInfo(
                id=offer.id,
                provider=offer.provider,
                region=offer.region,
                zone=offer.zone,
                instance=shape.instance,
                gpu=shape.gpu,
                gpus=shape.gpus,
                gpu_memory_gib=shape.gpu_memory_gib,
                tenure=offer.tenure,
            )

    def quote(self, quote: Quote, now: int) -> bool:
        """Take a quote at an instant; True when it said something new. Raises TraceError."""
        if quote.offer not in self._pools or quote.rate < -1 or quote.rate == 0:
            return False
        writer = self._turn(now)
        state = (quote.rate, quote.depth)
        if self._heard and now - self._heard > SILENCE:
            writer.add_gap(max(self._heard, self._started), now)
        self._heard = now
        if self._state.get(quote.offer) == state:
            self._flush(now)
            return False
        self._state[quote.offer] = state
        # Markets tell the past; a trace goes forward.
        self._add(writer, quote.offer, max(writer.last, min(quote.observed_at, now)))
        self._flush(now)
        return True

    def close(self, now: int) -> None:
        """End the present segment properly."""
        if self._writer is not None:
            self._writer.close(end=max(now, self._writer.last))
            self._writer = None

    def segments(self) -> list[Path]:
        """The segments that are there, oldest first."""
        return sorted(self.folder.glob(f"{self.name}-*{SUFFIX}"))

    def _turn(self, now: int) -> TraceWriter:
        """The writer of the segment that `now` falls into."""
        if self._writer is not None and not self._full and now - self._started < self._segment:
            return self._writer
        self.close(now)
        self._make_room()
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = to_datetime(now).strftime("%Y%m%dT%H%M%S")
        header = TraceHeader(
            name=self.name,
            kinds=("market",),
            provenance=Provenance(
                source="recorded from the markets' own interfaces",
                licence="the markets' terms of use",
                attribution="",
                derivation=("changes of rate and depth, as they were observed",),
            ),
            start=now,
            depth_kind="count",
        )
        path = self.folder / f"{self.name}-{stamp}{SUFFIX}"
        writer = self._writer = TraceWriter(path, header, block_rows=_ROWS_A_BLOCK)
        self._started, self._flushed, self._full = now, now, False
        self._index = {}
        for offer in self._state:
            self._add(writer, offer, now)
        return writer

    def _add(self, writer: TraceWriter, offer: OfferId, at: int) -> None:
        index = self._index.get(offer)
        if index is None:
            index = self._index[offer] = writer.add_pool(self._pools[offer])
        rate, depth = self._state[offer]
        writer.add(MarketRow(at, index, rate, depth))
        self.rows += 1

    def _flush(self, now: int) -> None:
        if self._writer is not None and now - self._flushed >= FLUSH:
            self._writer.flush()
            self._flushed = now
            self._full = self._writer.path.stat().st_size > self._limit // 8

    def _make_room(self) -> None:
        segments = self.segments()
        sizes = [path.stat().st_size for path in segments]
        total = sum(sizes)
        for path, size in zip(segments, sizes, strict=True):
            # The segment that is begun now needs room, too.
            if total <= self._limit - self._limit // 8:
                return
            path.unlink(missing_ok=True)
            total -= size


def merge(paths: Sequence[Path], target: Path, name: str) -> Trace:
    """One trace of several, in order of time; a pool's rows that say nothing new are left out.

    Segments whose writer died are taken as far as they are whole. Raises TraceError when two
    overlap or none is there.
    """
    traces = sorted((_whole(path) for path in paths), key=lambda trace: trace.header.start)
    if not traces:
        raise TraceError("nothing to merge: no segment was named")
    pools: dict[OfferId, PoolInfo] = {}
    gaps: list[tuple[int, int]] = []
    for before, after in pairwise(traces):
        if after.header.start < before.header.end:
            raise TraceError(f"{after.path} begins before {before.path} ends")
        if after.header.start > before.header.end:
            gaps.append((before.header.end, after.header.start))
    for trace in traces:
        pools.update({pool.id: pool for pool in trace.header.pools})
        gaps += trace.header.gaps
    first, last = traces[0].header, traces[-1].header
    header = TraceHeader(
        name=name,
        kinds=("market",),
        provenance=first.provenance,
        start=first.start,
        end=last.end,
        depth_kind=first.depth_kind,
        pools=tuple(pools.values()),
        gaps=tuple(sorted(gaps)),
    )
    write_trace(target, header, _rows(traces, {offer: n for n, offer in enumerate(pools)}))
    return open_trace(target)


def _whole(path: Path) -> Trace:
    """A segment, closed first where its writer died."""
    try:
        return open_trace(path)
    except TraceError:
        with TraceWriter.append(path):
            pass
        return open_trace(path)


def _rows(traces: Sequence[Trace], index: dict[OfferId, int]) -> Iterator[MarketRow]:
    state: dict[int, tuple[int, int]] = {}
    for trace in traces:
        places = [index[pool.id] for pool in trace.header.pools]
        for row in trace.market():
            pool = places[row.pool]
            if state.get(pool) != (row.rate, row.depth):
                state[pool] = (row.rate, row.depth)
                yield MarketRow(row.at, pool, row.rate, row.depth)
