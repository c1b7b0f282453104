"""Writing traces: what is refused, what a dead recorder leaves, and how one goes on."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.traces import (
    JOBS,
    MARKET,
    POOLS,
    header,
    market_only,
    places,
    read_all,
    small_header,
    write_small,
)
from treasury.domain.errors import TraceError
from treasury.domain.market import Tenure
from treasury.domain.money import RATE_LIMIT
from treasury_simulations.traces import (
    InterruptionRow,
    JobRow,
    MarketRow,
    ThroughputRow,
    TraceWriter,
    make_pool,
    open_trace,
    write_trace,
)
from treasury_simulations.traces.format import pack_header


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file with two rows a block and all kinds of rows."""
    return write_small(tmp_path / "small.trace")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (MarketRow(100, 0, -2, 1), "rate -2 is negative"),
        (MarketRow(100, 0, RATE_LIMIT + 1, 1), "absurd"),
        (MarketRow(100, 0, 0, 1), "rate 0"),
        (MarketRow(100, 2, 5, 1), "pool 2 is not in the catalogue of 2"),
        (MarketRow(100, 0, 5, -2), "depth -2"),
        (MarketRow(99, 0, 5, 1), "instant 99 is before 100: rows are out of order"),
        (MarketRow(1_001, 0, 5, 1), "after the end of the span"),
        (MarketRow(2**63, 0, 5, 1), "out of all bounds"),
        (InterruptionRow(100, 0, 0), "machines 0"),
        (InterruptionRow(100, -1, 1), "pool -1"),
        (JobRow(100, "a", 0, 1, 1, "", 0, None), "gpus 0"),
        (JobRow(100, "a", 1, 0, 1, "", 0, None), "nodes 0"),
        (JobRow(100, "a", 1, 1, 0, "", 0, None), "duration 0"),
        (JobRow(100, "", 1, 1, 1, "", 0, None), "needs an id"),
        (ThroughputRow("x", 1, "V100", True, 0), "throughput 0"),
        (ThroughputRow("x", 0, "V100", True, 1), "gpus 0"),
    ],
)
def test_rows_that_cannot_be_true_are_refused(tmp_path: Path, row: object, message: str) -> None:
    """The writer refuses a row with its number and what is wrong, and writes nothing of it."""
    path = tmp_path / "w.trace"
    writer = TraceWriter(path, header(end=1_000))
    with pytest.raises(TraceError, match=rf"w\.trace: .* row 1: .*{message}"):
        writer.add(row)
    writer.close()
    assert read_all(open_trace(path)) == []


def test_a_kind_the_header_does_not_announce_is_refused(tmp_path: Path) -> None:
    """A market trace takes no jobs."""
    writer = TraceWriter(tmp_path / "m.trace", market_only())
    with pytest.raises(TraceError, match="announces no rows of kind jobs"):
        writer.add(JOBS[0])
    writer.abandon()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ()}, "at least one kind"),
        ({"start": -1}, "span"),
        ({"start": 5, "end": 4}, "span"),
        ({"pools": (POOLS[0], POOLS[0])}, "two pools have one id"),
    ],
)
def test_headers_that_cannot_be_true_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Nothing is created for a header that makes no sense."""
    with pytest.raises(TraceError, match=message):
        TraceWriter(tmp_path / "h.trace", header(**changes))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(small: Path) -> None:
    """A recorder that starts again cannot wipe what it recorded."""
    before = small.read_bytes()
    with pytest.raises(TraceError, match="File exists"):
        TraceWriter(small, market_only())
    assert small.read_bytes() == before


def test_a_failing_recorder_leaves_a_file_known_for_cut(tmp_path: Path) -> None:
    """An exception in the body leaves no footer: opening says so."""
    path = tmp_path / "died.trace"

    def dying() -> Iterator[MarketRow]:
        yield MARKET[0]
        raise RuntimeError

    with pytest.raises(RuntimeError), TraceWriter(path, market_only()) as writer:
        writer.add_all(dying())
    with pytest.raises(TraceError, match="truncated: the end mark is missing"):
        open_trace(path)


def test_append_goes_on_with_a_closed_file(small: Path) -> None:
    """Rows, pools and gaps added later stand beside the old ones; the watched span only grows."""
    with TraceWriter.append(small, block_rows=2) as writer:
        index = writer.add_pool(
            make_pool("gcp", "us-east1", "", "a2-highgpu-1g", "A100", 1, Tenure.SPOT)
        )
        writer.add_gap(10**18, 10**18 + 5)
        writer.add(MarketRow(10**18 + 5, index, 7, 1))
        writer.close(end=10**18 + 9)
    TraceWriter.append(small).close()
    trace = open_trace(small)
    trace.verify()
    assert list(trace.market()) == [*MARKET, MarketRow(10**18 + 5, 2, 7, 1)]
    assert [pool.provider for pool in trace.pools] == ["aws", "home", "gcp"]
    assert trace.header.gaps == ((120, 130), (10**18, 10**18 + 5))
    assert trace.header.end == 10**18 + 9
    assert list(trace.jobs()) == JOBS


def test_append_keeps_order(small: Path) -> None:
    """What is appended may not be before what is there, and a pool cannot join twice."""
    with TraceWriter.append(small) as writer:
        with pytest.raises(TraceError, match="row 5: instant 300 is before"):
            writer.add(MarketRow(300, 0, 5, 1))
        with pytest.raises(TraceError, match="already in the catalogue"):
            writer.add_pool(POOLS[0])


def test_append_mends_every_cut(small: Path, tmp_path: Path) -> None:
    """Whatever a dying writer left behind its header, going on keeps the whole blocks only."""
    whole = small.read_bytes()
    first_block = len(pack_header(small_header()))
    path = tmp_path / "torn.trace"
    kept = set()
    for length in places(first_block, len(whole)):
        path.write_bytes(whole[:length])
        TraceWriter.append(path).close()
        trace = open_trace(path)
        trace.verify()
        rows = list(trace.market())
        assert rows == MARKET[: len(rows)]
        kept.add(len(rows))
    assert kept == {0, 2, 4}


def test_append_does_not_cut_into_good_blocks(small: Path) -> None:
    """A corrupt block with others behind it is damage to report, not a tail to cut off."""
    whole = bytearray(small.read_bytes())
    at = whole.index(b"MRKT")
    whole[at + 35] ^= 1
    small.write_bytes(whole)
    with pytest.raises(TraceError, match=f"block 1 at byte {at}: .*checksum"):
        TraceWriter.append(small)
    assert small.read_bytes() == whole


def test_flushed_rows_survive(tmp_path: Path) -> None:
    """After `flush` a recorder may die: what was added before is there."""
    path = tmp_path / "live.trace"
    writer = TraceWriter(path, market_only())
    writer.add(MARKET[0])
    writer.flush()
    writer.add(MARKET[1])
    writer.abandon()
    TraceWriter.append(path).close()
    assert list(open_trace(path).market()) == MARKET[:1]


def test_write_trace_is_all_or_nothing(tmp_path: Path) -> None:
    """A row that is refused leaves the old file and no rest of the new one."""
    path = tmp_path / "t.trace"
    write_trace(path, market_only(), MARKET)
    before = path.read_bytes()
    with pytest.raises(TraceError, match="out of order"):
        write_trace(path, market_only(), MARKET[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_places_are_user_errors(tmp_path: Path) -> None:
    """A folder that is not there is named, without a traceback of the system's."""
    with pytest.raises(TraceError, match=r"nowhere.*No such file"):
        write_trace(tmp_path / "nowhere" / "t.trace", market_only(), MARKET)


def test_the_disk_being_full_is_a_user_error() -> None:
    """A write that fails half way is reported as what it is."""
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not there: it stands for a full disk")
    writer = TraceWriter.__new__(TraceWriter)
    writer.path = Path("t.trace")
    with open("/dev/full", "wb", buffering=0) as full:
        writer._file = full
        with pytest.raises(TraceError, match=r"t\.trace: cannot be written: No space left"):
            writer._write(b"x")


def test_memory_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    """Writing and reading forty blocks needs no more memory than four."""

    def peak(blocks: int) -> int:
        path = tmp_path / f"{blocks}.trace"
        tracemalloc.start()
        with TraceWriter(path, market_only(), block_rows=500) as writer:
            for number in range(blocks * 500):
                writer.add(MarketRow(1_000 + number, 0, 1_000_000 + number, 1))
        assert sum(1 for _ in open_trace(path).market()) == blocks * 500
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(40) < 1.3 * peak(4)
