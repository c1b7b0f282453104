"""The bytes of a `.trace` file: magic line, header, blocks, footer, end mark (docs/traces.md).

Blocks are columns: each column a list of integers or texts in MessagePack, the first of a timed
kind as differences, all of them deflated together. Nothing here knows what a row means.
"""

import re
import struct
import zlib
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

import msgspec

from treasury_simulations.traces.model import (
    FORMAT,
    InterruptionRow,
    JobRow,
    Kind,
    MarketRow,
    ThroughputRow,
    TraceHeader,
)

MAGIC: Final = b"treasury-trace "
# "treasury-trace 1 000004d2 89abcdef\n": format, bytes of the header, crc32 of the header.
_MAGIC_LINE: Final = re.compile(rb"treasury-trace (\d{1,9}) ([0-9a-f]{8}) ([0-9a-f]{8})\n")
MAGIC_LINE_MAX: Final = 64
END_MARK: Final = b"TRACEEND"
# Rows of a block: some 100 kB unpacked, so memory stays flat, and deflate has enough to work on.
BLOCK_ROWS: Final = 16_384
# A block unpacks to at most this [bytes]: a forged file cannot fill the memory.
PAYLOAD_LIMIT: Final = 64 * 2**20
HEADER_LIMIT: Final = 64 * 2**20

# Deflate level 9: files are written once and read often. wbits 15: a plain zlib stream.
_LEVEL: Final = 9
# tag, rows, payload bytes, crc32, first instant, last instant; little endian, 32 bytes.
_FRAME: Final = struct.Struct("<4sIIIqq")
FRAME_BYTES: Final = _FRAME.size
# Offset of the footer's frame and the end mark: the last 16 bytes.
_TRAILER: Final = struct.Struct("<q8s")
TRAILER_BYTES: Final = _TRAILER.size

POOLS_TAG: Final = b"POOL"
FOOTER_TAG: Final = b"FOOT"


class FormatError(Exception):
    """What is wrong with some bytes; whoever knows the file and the place makes it a TraceError."""


class Codec(NamedTuple):
    """How a kind of row is stored. timed: its first column holds instants."""

    tag: bytes
    row: type[tuple[Any, ...]]
    decoder: "msgspec.msgpack.Decoder[tuple[list[Any], ...]]"
    timed: bool


_Ints = list[int]
_Texts = list[str]
CODECS: Final[dict[Kind, Codec]] = {
    "market": Codec(
        b"MRKT",
        MarketRow,
        msgspec.msgpack.Decoder(tuple[_Ints, _Ints, _Ints, _Ints]),
        True,
    ),
    "interruptions": Codec(
        b"INTR", InterruptionRow, msgspec.msgpack.Decoder(tuple[_Ints, _Ints, _Ints]), True
    ),
    "jobs": Codec(
        b"JOBS",
        JobRow,
        msgspec.msgpack.Decoder(
            tuple[_Ints, _Texts, _Ints, _Ints, _Ints, _Texts, _Ints, list[int | None]]
        ),
        True,
    ),
    "throughputs": Codec(
        b"THRU",
        ThroughputRow,
        msgspec.msgpack.Decoder(tuple[_Texts, _Ints, _Texts, list[bool], _Ints]),
        False,
    ),
}
KIND_OF_TAG: Final[dict[bytes, Kind]] = {codec.tag: kind for kind, codec in CODECS.items()}


class Frame(NamedTuple):
    """The 32 bytes before a payload. first, last: instants [ns] of its rows, 0 where untimed."""

    tag: bytes
    rows: int
    length: int
    crc: int
    first: int
    last: int


def pack_header(header: TraceHeader) -> bytes:
    """The magic line and the header as one line of JSON."""
    body = msgspec.json.encode(header)
    line = b"%s%d %08x %08x\n" % (MAGIC, header.format, len(body), zlib.crc32(body))
    return line + body + b"\n"


def parse_magic(start: bytes) -> tuple[int, int, int]:
    """(offset of the header, its length, its crc32) from a file's start. Raises FormatError."""
    match = _MAGIC_LINE.match(start)
    if match is None:
        if MAGIC.startswith(start[: len(MAGIC)]):
            raise FormatError("truncated in its first line")
        raise FormatError("not a treasury trace (it does not begin with 'treasury-trace')")
    version = int(match[1])
    if version > FORMAT:
        raise FormatError(
            f"format {version} is newer than the newest this version reads ({FORMAT}): "
            "upgrade treasury"
        )
    if version < 1:
        raise FormatError(f"format {version} does not exist")
    length = int(match[2], 16)
    if length > HEADER_LIMIT:
        raise FormatError(f"the header claims {length} bytes")
    return match.end(), length, int(match[3], 16)


def parse_header(body: bytes, crc: int) -> TraceHeader:
    """The header from its JSON. Raises FormatError."""
    if zlib.crc32(body) != crc:
        raise FormatError("the header is corrupt (its checksum differs)")
    try:
        return msgspec.json.decode(body, type=TraceHeader)
    except msgspec.MsgspecError as error:
        raise FormatError(f"the header cannot be read: {error}") from error


def pack_block(tag: bytes, rows: int, payload: bytes, first: int = 0, last: int = 0) -> bytes:
    """A frame and its payload."""
    return _FRAME.pack(
        tag, rows, len(payload), _crc(tag, rows, payload, first, last), first, last
    ) + (payload)


def parse_frame(data: bytes) -> Frame:
    """The frame in 32 bytes."""
    return Frame(*_FRAME.unpack(data))


def check_block(frame: Frame, payload: bytes) -> None:
    """Raise FormatError unless the checksum over frame and payload is right."""
    if _crc(frame.tag, frame.rows, payload, frame.first, frame.last) != frame.crc:
        raise FormatError("the block is corrupt (its checksum differs)")


def pack_trailer(footer_at: int) -> bytes:
    """The file's last bytes."""
    return _TRAILER.pack(footer_at, END_MARK)


def parse_trailer(data: bytes) -> int:
    """Offset of the footer's frame. Raises FormatError where the end mark is missing."""
    if len(data) < TRAILER_BYTES or data[-len(END_MARK) :] != END_MARK:
        raise FormatError("truncated: the end mark is missing (cut off, or still being recorded)")
    return int(_TRAILER.unpack(data)[0])


def pack_rows(kind: Kind, rows: list[Any]) -> bytes:
    """A block of at least one row, in order of time."""
    codec = CODECS[kind]
    columns: list[Any] = list(zip(*rows, strict=True))
    first = last = 0
    if codec.timed:
        instants = columns[0]
        first, last = instants[0], instants[-1]
        columns[0] = [first, *(after - before for before, after in pairwise(instants))]
    payload = zlib.compress(msgspec.msgpack.encode(columns), _LEVEL)
    return pack_block(codec.tag, len(rows), payload, first, last)


def unpack_columns(kind: Kind, frame: Frame, payload: bytes) -> tuple[list[Any], ...]:
    """The columns of a block, checked for length and order of time. Raises FormatError."""
    check_block(frame, payload)
    codec = CODECS[kind]
    inflate = zlib.decompressobj()
    try:
        columns = codec.decoder.decode(inflate.decompress(payload, PAYLOAD_LIMIT))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise FormatError(f"the block cannot be unpacked: {error}") from error
    if not inflate.eof:
        raise FormatError(f"the block unpacks to more than {PAYLOAD_LIMIT} bytes")
    if any(len(column) != frame.rows for column in columns) or not frame.rows:
        raise FormatError("the block's columns differ in length")
    if codec.timed:
        steps = columns[0]
        if frame.rows > 1 and min(steps[1:]) < 0:
            raise FormatError("the block's rows are out of order")
        instants = list(accumulate(steps))
        if instants[0] != frame.first or instants[-1] != frame.last:
            raise FormatError("the block's instants differ from its frame")
        columns = (instants, *columns[1:])
    return columns


def _crc(tag: bytes, rows: int, payload: bytes, first: int, last: int) -> int:
    """crc32 over the frame with its crc field zero, then the payload."""
    return zlib.crc32(payload, zlib.crc32(_FRAME.pack(tag, rows, len(payload), 0, first, last)))
