"""Reading source files so that every complaint names file and line.

Plain and gzipped files are told apart by their first bytes, not by their names.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import BinaryIO, Final, cast

from treasury.domain.errors import BadValue, TraceError
from treasury.domain.money import NANO, RATE_LIMIT, rate_from_decimal
from treasury.domain.time import SECOND, parse_instant

# Called with (bytes read, bytes in all) of the source files.
Progress = Callable[[int, int], None]

_GZIP: Final = b"\x1f\x8b"
# Lines between two reports of progress.
_REPORT_EVERY: Final = 2_000
# Longer durations are unit mistakes (a century, in seconds), as for durations in settings.
_SECONDS_LIMIT: Final = 100 * 366 * 86_400


def no_progress(_done: int, _total: int) -> None:
    """Report to nobody."""


class Feed:
    """The source files of one import; reports progress over all of them together."""

    def __init__(self, progress: Progress = no_progress) -> None:
        self._progress = progress
        self._total = 0
        self._done = 0

    def expect(self, *paths: Path) -> None:
        """Announce files before they are read. Raises TraceError where one is not there."""
        for path in paths:
            if not path.is_file():
                raise TraceError(f"{path}: no such file")
            self._total += path.stat().st_size

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """(number from 1, text without its line end). Raises TraceError with file and line."""
        number = 0
        try:
            with open(path, "rb") as raw:
                # Named, so that it is not collected before `raw.tell()` below: it closes `raw`.
                text = _text(raw)
                for number, line in enumerate(text, 1):
                    yield number, line.rstrip("\n")
                    if number % _REPORT_EVERY == 0:
                        self._progress(self._done + raw.tell(), self._total)
                self._done += raw.tell()
                self._progress(self._done, self._total)
        except EOFError as error:
            raise TraceError(
                f"{path}, line {number + 1}: the compressed file is cut off"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(
                f"{path}, line {number + 1}: not a whole gzip file ({error})"
            ) from error
        except UnicodeDecodeError as error:
            raise TraceError(
                f"{path}, line {number + 1}: not UTF-8 text ({error.reason})"
            ) from error
        except OSError as error:
            raise TraceError(f"{path}: cannot be read: {error.strerror}") from error

    def text(self, path: Path) -> str:
        """The whole file. Raises TraceError with file and line."""
        return "\n".join(line for _, line in self.lines(path))

    def table(self, path: Path, columns: Sequence[str] = ()) -> "Iterator[Record]":
        """Rows of a CSV file whose first line names its columns; `columns` must be among them."""
        rows = self.fields(path)
        head = next(rows, None)
        if head is None:
            raise TraceError(f"{path}, line 1: the file is empty")
        names = [name.strip() for name in head.values]
        for name in columns:
            if name not in names:
                raise head.error(f"column {name!r} is missing (found {', '.join(names)})")
        if len(set(names)) != len(names):
            raise head.error("two columns have one name")
        index = {name: place for place, name in enumerate(names)}
        for record in rows:
            if len(record.values) != len(names):
                raise record.error(f"{len(record.values)} fields where {len(names)} are due")
            record.index = index
            yield record

    def fields(self, path: Path) -> "Iterator[Record]":
        """Rows of a CSV file without column names; empty lines are skipped."""
        reader = csv.reader((line for _, line in self.lines(path)), strict=True)
        try:
            for values in reader:
                if values:
                    yield Record(path, reader.line_num, values)
        except csv.Error as error:
            raise TraceError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def _text(raw: BinaryIO) -> io.TextIOBase:
    start = raw.read(len(_GZIP))
    raw.seek(0)
    # GzipFile is a BinaryIO in all but name.
    stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if start == _GZIP else raw
    return io.TextIOWrapper(stream, encoding="utf-8-sig")


class Record:
    """One row of a source file; it knows its place."""

    __slots__ = ("file", "index", "line", "values")

    def __init__(self, file: Path, line: int, values: list[str]) -> None:
        self.file, self.line, self.values = file, line, values
        self.index: dict[str, int] = {}

    def error(self, problem: str) -> TraceError:
        """The problem with file and line."""
        return TraceError(f"{self.file}, line {self.line}: {problem}")

    def text(self, column: str | int) -> str:
        """A field, by the name of its column or by its place."""
        place = column if isinstance(column, int) else self.index[column]
        return self.values[place].strip()

    def whole(self, column: str | int) -> int:
        """A field that is a whole number."""
        text = self.text(column)
        try:
            return int(text)
        except ValueError as error:
            raise self.error(f"{_named(column)} {text!r} is not a whole number") from error

    def instant(self, column: str | int) -> int:
        """A field that is an ISO 8601 instant [ns]; without an offset it is taken for UTC."""
        text = self.text(column)
        try:
            return parse_instant(text)
        except BadValue as error:
            raise self.error(f"{_named(column)} {text!r} is not an ISO 8601 instant") from error

    def seconds(self, column: str | int) -> int:
        """A field in seconds as ns; zero and less are the caller's to judge."""
        text = self.text(column)
        try:
            value = Decimal(text)
            if abs(value) <= _SECONDS_LIMIT:
                return int(value * SECOND)
        except InvalidOperation:
            pass
        raise self.error(f"{_named(column)} {text!r} is not a number of seconds")

    def rate(self, column: str | int) -> int:
        """A field in USD per hour as nano-USD/h; zero and less are the caller's to judge."""
        return rate_of(self.text(column), self.error, _named(column))


def rate_of(
    digits: str | Decimal, error: Callable[[str], TraceError], what: str = "price", times: int = 1
) -> int:
    """A vendor's USD per hour, `times` over, in nano-USD/h. Raises what `error` returns."""
    try:
        # As text first: Decimal('1e999999') would be turned into a million digits.
        if abs(Decimal(digits)) * times > RATE_LIMIT // NANO:
            raise error(f"{what} {digits} is absurd: more than {RATE_LIMIT // NANO} USD/h")
        return rate_from_decimal(digits, what) * times
    except (InvalidOperation, BadValue) as problem:
        raise error(f"{what} {str(digits)!r} is not a number of USD per hour") from problem


def _named(column: str | int) -> str:
    return column if isinstance(column, str) else f"field {column + 1}"
