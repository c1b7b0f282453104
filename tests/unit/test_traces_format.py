"""The trace format: what goes in comes out, and what is damaged is known for it."""

import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tests.support.traces import MARKET, POOLS, ROWS, places, read_all, write_small
from treasury.domain.errors import TraceError
from treasury_simulations.traces import JobRow, MarketRow, open_trace


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file with two rows a block and all kinds of rows."""
    return write_small(tmp_path / "small.trace")


def test_rows_and_header_come_back(small: Path) -> None:
    """Every field of every kind of row and of the header survives, as often as it is read."""
    trace = open_trace(small)
    assert read_all(trace) == ROWS
    assert read_all(trace) == ROWS
    assert isinstance(next(trace.market()), MarketRow)
    assert isinstance(next(trace.jobs()), JobRow)
    assert trace.pools == POOLS
    assert trace.header.gaps == ((120, 130),)
    assert trace.header.dropped == {"bad": 2}
    assert trace.header.end == 10**18
    assert trace.rows == {"market": 4, "interruptions": 1, "jobs": 2, "throughputs": 1}


def test_pools_get_canonical_names() -> None:
    """A pool's id is that of the market module, its accelerator has our name and memory."""
    assert POOLS[0].id == "aws/us-east-1/us-east-1a/p3.2xlarge/spot"
    assert (POOLS[0].gpu, POOLS[0].gpu_memory_gib) == ("V100", 16)
    assert POOLS[1].shape().gpus == 4


def test_header_is_in_clear(small: Path) -> None:
    """The first two lines are text: the magic line, then JSON with the units and the catalogue."""
    lines = small.read_bytes().split(b"\n", 2)
    assert lines[0].startswith(b"treasury-trace 1 ")
    found = json.loads(lines[1])
    assert found["units"]["rate"].startswith("nano-USD per hour")
    assert found["pools"][0]["tenure"] == "spot"
    assert found["provenance"]["licence"] == "CC0"


def test_every_cut_is_known_for_one(small: Path, tmp_path: Path) -> None:
    """A file that lost bytes at its end, few or many, cannot be opened."""
    whole = small.read_bytes()
    cut = tmp_path / "cut.trace"
    for length in places(0, len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(TraceError, match=r"cut\.trace: .*"):
            open_trace(cut)


def test_every_changed_byte_is_found(small: Path, tmp_path: Path) -> None:
    """No byte can change, wherever it is, without opening or checking the file failing."""
    whole = small.read_bytes()
    path = tmp_path / "flipped.trace"
    for place in places(0, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x11
        path.write_bytes(changed)
        with pytest.raises(TraceError, match=r"flipped\.trace"):
            open_trace(path).verify()


def test_a_corrupt_block_is_named(small: Path, tmp_path: Path) -> None:
    """The message says which block of which file, and at which byte it begins."""
    whole = bytearray(small.read_bytes())
    at = whole.index(b"INTR")
    whole[at + 40] ^= 1
    path = tmp_path / "corrupt.trace"
    path.write_bytes(whole)
    trace = open_trace(path)
    assert list(trace.market()) == MARKET
    with pytest.raises(TraceError, match=rf"corrupt\.trace: block \d at byte {at}: .*checksum"):
        list(trace.interruptions())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 something else entirely", "not a treasury trace"),
        (b"", "truncated in its first line"),
        (b"treasury-tr", "truncated in its first line"),
        (b"treasury-trace 2 00000002 00000000\n{}\n", "format 2 is newer .* upgrade"),
        (b"treasury-trace 0 00000002 00000000\n{}\n", "format 0 does not exist"),
        (b"treasury-trace 1 00000002 00000000\n{}\n", "header is corrupt"),
        (b"treasury-trace 1 ffffffff 00000000\n{}\n", "the header claims"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """What is not a trace, or a newer one, is told apart from a damaged one."""
    path = tmp_path / "x.trace"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=rf"x\.trace: .*{message}"):
        open_trace(path)


def test_a_missing_file_names_the_samples(tmp_path: Path) -> None:
    """A name that is neither a file nor a sample lists the samples."""
    with pytest.raises(TraceError, match="no such file; bundled samples: aws-gcp-2023"):
        open_trace("aws-gcp-2032")
    with pytest.raises(TraceError, match="is a folder"):
        open_trace(tmp_path)


def test_another_writer_cannot_break_the_order(small: Path, tmp_path: Path) -> None:
    """Whole blocks in the wrong order, each with a right checksum, are found."""
    whole = small.read_bytes()
    first = whole.index(b"MRKT")
    second = whole.index(b"MRKT", first + 1)
    other = whole.index(b"INTR")
    jobs = whole.index(b"JOBS")
    blocks = sorted([first, second, other, jobs, whole.index(b"THRU"), whole.index(b"FOOT")])
    ends = dict(pairwise(blocks))
    swapped = whole[: blocks[0]] + whole[second : ends[second]] + whole[first : ends[first]]
    rest = b"".join(whole[at : ends[at]] for at in blocks[:-1] if at not in {first, second})
    path = tmp_path / "swapped.trace"
    path.write_bytes(swapped + rest + whole[blocks[-1] :])
    with pytest.raises(TraceError, match="before those of the block before it"):
        list(open_trace(path).market())


def test_the_layout_is_what_the_documentation_says(small: Path) -> None:
    """A reader written from docs/traces.md alone finds header, first block, footer and end."""
    whole = small.read_bytes()
    magic, rest = whole.split(b"\n", 1)
    version, length, crc = magic.decode().split()[1:]
    body = rest[: int(length, 16)]
    assert (version, int(crc, 16)) == ("1", zlib.crc32(body))
    block = rest[len(body) + 1 :]
    tag, rows, size, crc32, first, last = struct.unpack("<4sIIIqq", block[:32])
    payload = block[32 : 32 + size]
    assert (tag, rows, first, last) == (b"MRKT", 2, 100, 100)
    assert crc32 == zlib.crc32(block[:12] + bytes(4) + block[16:32] + payload)
    columns = msgspec.msgpack.decode(zlib.decompress(payload))
    assert columns == [[100, 0], [0, 1], [918_000_000, 0], [1, -1]]
    assert whole.endswith(b"TRACEEND")
    footer = whole[int.from_bytes(whole[-16:-8], "little") : -16]
    assert footer[:4] == b"FOOT"
    assert json.loads(footer[32:])["rows"]["market"] == 4
