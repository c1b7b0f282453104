"""Writing traces block by block: importers in one go, recorders for weeks."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import msgspec

from treasury.domain.errors import TraceError
from treasury_simulations.traces.checks import KIND_OF_ROW, header_problem, row_problem
from treasury_simulations.traces.format import (
    BLOCK_ROWS,
    CODECS,
    FOOTER_TAG,
    POOLS_TAG,
    pack_block,
    pack_header,
    pack_rows,
    pack_trailer,
)
from treasury_simulations.traces.model import Footer, Kind, PoolInfo, Row, TraceHeader
from treasury_simulations.traces.recovery import Recovered, recover


class TraceWriter:
    """Appends rows to a trace; memory holds at most one block of each kind.

    Rows of one kind come in order of time (equal instants are fine). As a context manager it
    closes the file properly, or, when the body raised, leaves it without a footer: such a file is
    known for truncated, and `append` goes on from its last whole block. Raises TraceError for
    rows that cannot be true and for files that cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        header: TraceHeader,
        *,
        block_rows: int = BLOCK_ROWS,
        after: Recovered | None = None,
    ) -> None:
        """Create the file (one that exists is not overwritten), or go on `after` what is whole."""
        self.path, self.header = Path(path), header
        self._block_rows = block_rows
        found = Recovered(header, 0) if after is None else after
        self._pools = [*header.pools, *found.pools]
        self._added = list(found.pools)
        self._buffers: dict[Kind, list[Any]] = {kind: [] for kind in header.kinds}
        self._last: dict[Kind, int] = {**dict.fromkeys(header.kinds, header.start), **found.last}
        self._rows: dict[Kind, int] = {**dict.fromkeys(header.kinds, 0), **found.rows}
        self._blocks = found.blocks
        footer = found.footer
        self._gaps = list(header.gaps if footer is None else footer.gaps)
        self._dropped = dict(header.dropped if footer is None else footer.dropped)
        self._end = header.end if footer is None else footer.end
        problem = header_problem(header.start, header.end, header.kinds, self._pools)
        if problem:
            raise TraceError(f"{path}: {problem}")
        try:
            mode = "xb" if after is None else "r+b"
            self._file = cast(BinaryIO, open(path, mode))  # noqa: SIM115 - held until close()
            self._file.truncate(found.good_until)
            self._file.seek(found.good_until)
        except OSError as error:
            raise TraceError(f"{path}: cannot be written: {error.strerror}") from error
        if after is None:
            self._write(pack_header(header))

    @classmethod
    def append(cls, path: Path | str, *, block_rows: int = BLOCK_ROWS) -> Self:
        """Go on with a file that was closed, or that lost its tail when its writer died.

        A torn last block is cut off. Raises TraceError where anything before it is corrupt.
        """
        found = recover(Path(path))
        return cls(path, found.header, block_rows=block_rows, after=found)

    @property
    def pools(self) -> tuple[PoolInfo, ...]:
        """The catalogue so far."""
        return tuple(self._pools)

    @property
    def last(self) -> int:
        """The newest instant [ns] written so far; the header's start before the first row."""
        return max(self._last.values())

    def add_pool(self, pool: PoolInfo) -> int:
        """Add a pool that was not known when the header was written; returns its index."""
        if any(known.id == pool.id for known in self._pools):
            raise TraceError(f"{self.path}: pool {pool.id} is already in the catalogue")
        self._pools.append(pool)
        self._added.append(pool)
        self._write(pack_block(POOLS_TAG, 1, msgspec.json.encode([pool])))
        self._blocks += 1
        return len(self._pools) - 1

    def add_gap(self, start: int, end: int) -> None:
        """Note that nobody looked in [start, end) [ns]."""
        self._gaps.append((start, end))

    def add(self, row: Row) -> None:
        """Append one row. Raises TraceError when it cannot be true or is out of order."""
        kind = KIND_OF_ROW[type(row)]
        buffer = self._buffers.get(kind)
        if buffer is None:
            raise TraceError(f"{self.path}: the header announces no rows of kind {kind}")
        problem = row_problem(row, self._pools)
        if CODECS[kind].timed and not problem:
            at = row[0]
            if not isinstance(at, int) or at < self._last[kind]:
                problem = f"instant {at} is before {self._last[kind]}: rows are out of order"
            elif 0 <= self.header.end < at:
                problem = f"instant {at} is after the end of the span, {self.header.end}"
            else:
                self._last[kind] = at
        if problem:
            number = self._rows[kind] + len(buffer) + 1
            raise TraceError(f"{self.path}: {kind} row {number}: {problem}")
        buffer.append(row)
        if len(buffer) >= self._block_rows:
            self._flush_kind(kind)

    def add_all(self, rows: Iterable[Row]) -> None:
        """Append rows one by one."""
        for row in rows:
            self.add(row)

    def flush(self) -> None:
        """Bring everything to the disk; a recorder that dies now loses nothing before this call."""
        for kind in self._buffers:
            self._flush_kind(kind)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self, *, end: int | None = None) -> None:
        """Write the footer. end: the instant [ns] up to which the market was watched; without
        it the header's, or the last row's."""
        if self._file.closed:
            return
        for kind in self._buffers:
            self._flush_kind(kind)
        footer = Footer(
            end=max(self.last, self._end, end if end is not None else self.last),
            rows=self._rows,
            blocks=self._blocks,
            pools=tuple(self._added),
            gaps=tuple(self._gaps),
            dropped=self._dropped,
        )
        footer_at = self._file.tell()
        self._write(pack_block(FOOTER_TAG, 0, msgspec.json.encode(footer)))
        self._write(pack_trailer(footer_at))
        self.flush()
        self._file.close()

    def abandon(self) -> None:
        """Close the file without a footer."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _flush_kind(self, kind: Kind) -> None:
        buffer = self._buffers[kind]
        if buffer:
            self._write(pack_rows(kind, buffer))
            self._blocks += 1
            self._rows[kind] += len(buffer)
            buffer.clear()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be written: {error.strerror}") from error


def write_trace(path: Path | str, header: TraceHeader, rows: Iterable[Row]) -> None:
    """Write a whole trace: at `path` stands the complete new file or what stood there before."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with TraceWriter(part, header) as writer:
            writer.add_all(rows)
        part.replace(path)
    except OSError as error:
        raise TraceError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
