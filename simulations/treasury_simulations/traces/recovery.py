"""What is whole in a trace whose writer died: needed to go on with it."""

from pathlib import Path
from typing import BinaryIO

import msgspec

from treasury.domain.errors import TraceError
from treasury_simulations.traces.format import (
    CODECS,
    FOOTER_TAG,
    FRAME_BYTES,
    KIND_OF_TAG,
    MAGIC_LINE_MAX,
    POOLS_TAG,
    TRAILER_BYTES,
    FormatError,
    Frame,
    check_block,
    parse_frame,
    parse_header,
    parse_magic,
)
from treasury_simulations.traces.model import Footer, Kind, PoolInfo, TraceHeader


class Recovered(msgspec.Struct):
    """The whole part of a file: up to byte `good_until`, the footer (if any) not counted in."""

    header: TraceHeader
    good_until: int
    pools: list[PoolInfo] = msgspec.field(default_factory=list)
    rows: dict[Kind, int] = msgspec.field(default_factory=dict)
    last: dict[Kind, int] = msgspec.field(default_factory=dict)
    blocks: int = 0
    footer: Footer | None = None


def read_header(file: BinaryIO) -> tuple[TraceHeader, int]:
    """The header and the offset of the first block. Raises FormatError."""
    offset, length, crc = parse_magic(file.read(MAGIC_LINE_MAX))
    file.seek(offset)
    body = file.read(length + 1)
    if len(body) != length + 1:
        raise FormatError("truncated in its header")
    if not body.endswith(b"\n"):
        raise FormatError("the header is corrupt (its line does not end)")
    return parse_header(body[:length], crc), offset + length + 1


def recover(path: Path) -> Recovered:
    """Walk all blocks. A torn last block is left out; anything else that is wrong raises."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            header, offset = read_header(file)
            found = Recovered(header, offset)
            while _take_block(file, size, found):
                pass
            return found
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except (FormatError, msgspec.MsgspecError) as error:
        raise TraceError(f"{path}: {error}") from error


def _take_block(file: BinaryIO, size: int, found: Recovered) -> bool:
    """Account for the next block; False at the footer and where the whole part ends."""
    at = found.good_until
    file.seek(at)
    head = file.read(FRAME_BYTES)
    if len(head) < FRAME_BYTES:
        return False
    frame = parse_frame(head)
    ends = at + FRAME_BYTES + frame.length
    if ends > size:
        return False
    payload = file.read(frame.length)
    try:
        check_block(frame, payload)
    except FormatError as error:
        # The file's last block may be torn (length on disk, data not): cut. Before it: damage.
        if ends + TRAILER_BYTES >= size:
            return False
        raise FormatError(f"block {found.blocks + 1} at byte {at}: {error}") from error
    if frame.tag == FOOTER_TAG:
        found.footer = msgspec.json.decode(payload, type=Footer)
        return False
    _count(frame, payload, found)
    found.good_until = ends
    return True


def _count(frame: Frame, payload: bytes, found: Recovered) -> None:
    found.blocks += 1
    if frame.tag == POOLS_TAG:
        found.pools += msgspec.json.decode(payload, type=list[PoolInfo])
        return
    kind = KIND_OF_TAG.get(frame.tag)
    if kind is None:
        raise FormatError(f"block {found.blocks}: unknown tag {frame.tag!r}")
    found.rows[kind] = found.rows.get(kind, 0) + frame.rows
    if CODECS[kind].timed:
        found.last[kind] = frame.last
