"""Every transfer of a journal as a table: CSV, and Parquet where pyarrow is installed."""

import csv
import io
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from treasury.domain.errors import UserError
from treasury.domain.turn import Entry

COLUMNS: Final = (
    "id",
    "turn",
    "recorded_at_ns",
    "event_at_ns",
    "kind",
    "debit",
    "credit",
    "amount_micros",
    "currency",
    "reason",
    "refers",
    "lease",
)
_NUMBERS: Final = frozenset(
    {"id", "turn", "recorded_at_ns", "event_at_ns", "amount_micros", "refers", "lease"}
)
# Rows of a Parquet row group: a few megabytes of memory.
_GROUP: Final = 65_536


def rows(entries: Iterable[Entry]) -> Iterator[tuple[object, ...]]:
    """Every transfer, memorandum pairs included, with its columns in order."""
    for entry in entries:
        for transfer in entry.transfers:
            yield (
                transfer.id,
                entry.seq,
                entry.at,
                transfer.event_at,
                transfer.kind.value,
                transfer.debit,
                transfer.credit,
                transfer.amount,
                transfer.currency,
                transfer.reason,
                transfer.refers,
                transfer.lease,
            )


def csv_lines(columns: Iterable[str], table: Iterable[Iterable[object]]) -> Iterator[str]:
    """CSV text, a line a row; None is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    yield buffer.getvalue()
    for row in table:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(row)
        yield buffer.getvalue()


def csv_table(entries: Iterable[Entry]) -> Iterator[str]:
    """The transfers as CSV text."""
    return csv_lines(COLUMNS, rows(entries))


def write_parquet(entries: Iterable[Entry], path: Path) -> int:
    """Write the transfers as Parquet; how many there are. Raises UserError without pyarrow."""
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            "Parquet needs pyarrow, which is not installed: pip install 'spot-treasury[parquet]'"
        ) from error
    schema = arrow.schema(
        [
            arrow.field(name, arrow.int64() if name in _NUMBERS else arrow.string())
            for name in COLUMNS
        ]
    )
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(rows(entries)):
            count += len(group)
            columns = [list(column) for column in zip(*group, strict=True)]
            arrays = [
                arrow.array(column, field.type)
                for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
    return count


def _groups(table: Iterable[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    group: list[tuple[object, ...]] = []
    for row in table:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
