"""Reading traces: the header at once, rows block by block as often as wanted."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from treasury.domain.errors import TraceError
from treasury_simulations.traces.checks import columns_problem
from treasury_simulations.traces.format import (
    CODECS,
    FOOTER_TAG,
    FRAME_BYTES,
    KIND_OF_TAG,
    POOLS_TAG,
    TRAILER_BYTES,
    FormatError,
    Frame,
    check_block,
    parse_frame,
    parse_trailer,
    unpack_columns,
)
from treasury_simulations.traces.model import (
    Footer,
    InterruptionRow,
    JobRow,
    Kind,
    MarketRow,
    PoolInfo,
    ThroughputRow,
    TraceHeader,
)
from treasury_simulations.traces.recovery import read_header

SUFFIX = ".trace"
_DATA = Path(__file__).parent.parent / "data"


class Trace:
    """An open trace. Each iterator reads the file afresh and holds one block in memory.

    Opening checks the header, the end mark and the footer; blocks are checked as they are read.
    Everything raises TraceError with the file and the place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                header, self._first_block = read_header(file)
                footer, self._footer_at = _read_footer(file, self._first_block)
        except OSError as error:
            raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
        except FormatError as error:
            raise TraceError(f"{path}: {error}") from error
        self.rows: dict[Kind, int] = footer.rows
        self.header: TraceHeader = msgspec.structs.replace(
            header,
            end=footer.end,
            pools=header.pools + footer.pools,
            gaps=footer.gaps,
            dropped=footer.dropped,
        )

    @property
    def pools(self) -> tuple[PoolInfo, ...]:
        """The catalogue; a row's `pool` is an index into it."""
        return self.header.pools

    def market(self) -> Iterator[MarketRow]:
        """Changes of price and depth, in order of time."""
        return cast(Iterator[MarketRow], self._read("market"))

    def interruptions(self) -> Iterator[InterruptionRow]:
        """Machines taken back by the market, in order of time."""
        return cast(Iterator[InterruptionRow], self._read("interruptions"))

    def jobs(self) -> Iterator[JobRow]:
        """Jobs in order of submission."""
        return cast(Iterator[JobRow], self._read("jobs"))

    def throughputs(self) -> Iterator[ThroughputRow]:
        """Measured speeds of job types."""
        return cast(Iterator[ThroughputRow], self._read("throughputs"))

    def verify(self) -> None:
        """Read every byte; raises TraceError at the first thing that is wrong."""
        for number, at, frame, payload in self._blocks(None):
            try:
                check_block(frame, payload)
            except FormatError as error:
                raise self._bad(number, at, str(error)) from error
        for kind in self.header.kinds:
            for _ in self._read(kind):
                pass

    def _read(self, kind: Kind) -> Iterator[tuple[Any, ...]]:
        codec = CODECS[kind]
        # tuple.__new__ itself: a NamedTuple's own constructor is a Python call a row, 3x slower.
        make = partial(tuple.__new__, codec.row)
        total, last = 0, self.header.start
        for number, at, frame, payload in self._blocks(kind):
            try:
                columns = unpack_columns(kind, frame, payload)
                problem = columns_problem(kind, columns, len(self.pools))
                if codec.timed and frame.first < last:
                    problem = "its rows are before those of the block before it"
            except FormatError as error:
                raise self._bad(number, at, str(error)) from error
            if problem:
                raise self._bad(number, at, problem)
            total, last = total + frame.rows, frame.last
            yield from map(make, zip(*columns, strict=True))
        expected = self.rows.get(kind, 0)
        if total != expected:
            raise TraceError(f"{self.path}: {total} {kind} rows, the footer says {expected}")

    def _blocks(self, kind: Kind | None) -> Iterator[tuple[int, int, Frame, bytes]]:
        """(number, offset, frame, payload) of the blocks of one kind, or of all blocks."""
        number, at = 0, self._first_block
        try:
            with open(self.path, "rb") as file:
                while at < self._footer_at:
                    number += 1
                    file.seek(at)
                    frame = parse_frame(file.read(FRAME_BYTES).ljust(FRAME_BYTES, b"\0"))
                    ends = at + FRAME_BYTES + frame.length
                    if ends > self._footer_at:
                        raise self._bad(number, at, "the block runs into the footer")
                    found = KIND_OF_TAG.get(frame.tag)
                    if found is None and frame.tag != POOLS_TAG:
                        raise self._bad(number, at, f"unknown tag {frame.tag!r}")
                    if kind is None or found == kind:
                        yield number, at, frame, file.read(frame.length)
                    at = ends
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _bad(self, number: int, at: int, problem: str) -> TraceError:
        return TraceError(f"{self.path}: block {number} at byte {at}: {problem}")


def _read_footer(file: BinaryIO, first_block: int) -> tuple[Footer, int]:
    size = file.seek(0, 2)
    file.seek(max(0, size - TRAILER_BYTES))
    footer_at = parse_trailer(file.read())
    room = size - TRAILER_BYTES - footer_at - FRAME_BYTES
    if footer_at < first_block or room < 0:
        raise FormatError("the end mark points outside the file")
    file.seek(footer_at)
    frame = parse_frame(file.read(FRAME_BYTES))
    if frame.tag != FOOTER_TAG or frame.length != room:
        raise FormatError("the footer is not where the end mark says")
    payload = file.read(frame.length)
    check_block(frame, payload)
    try:
        return msgspec.json.decode(payload, type=Footer), footer_at
    except msgspec.MsgspecError as error:
        raise FormatError(f"the footer cannot be read: {error}") from error


def bundled() -> dict[str, Path]:
    """The samples that come with the product: name -> file, by name."""
    return {path.stem: path for path in sorted(_DATA.glob(f"*{SUFFIX}"))}


def open_trace(path: Path | str) -> Trace:
    """Open a trace file, or a bundled sample by its name. Raises TraceError."""
    if Path(path).is_file():
        return Trace(Path(path))
    samples = bundled()
    if str(path) in samples:
        return Trace(samples[str(path)])
    problem = "is a folder" if Path(path).is_dir() else "no such file"
    raise TraceError(f"{path}: {problem}; bundled samples: {', '.join(samples) or 'none'}")
