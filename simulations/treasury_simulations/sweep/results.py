"""A sweep's folder: `sweep.json` says what was asked for, `runs.jsonl` holds a line a cell.

Lines are only ever appended, a chunk at a time, and each chunk is on the disk before the next is
taken. A crash can tear the last line; it is cut off at the next opening, and its cell runs again.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.errors import NotFound, UserError
from treasury_simulations.sweep.cells import Row
from treasury_simulations.sweep.grid import Grid

MANIFEST: Final = "sweep.json"
RUNS: Final = "runs.jsonl"
REPORT: Final = "report.html"
_MADE_BY: Final = "treasury sweep"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep is. cells: their ids in the grid's order; block: of the bootstrap [ns]."""

    made_by: str
    title: str
    family: str
    variants: tuple[str, ...]
    axes: tuple[str, ...]
    cells: tuple[str, ...]


class Results:
    """The results of a grid in a folder. rows: cell -> row, as they came."""

    def __init__(self, folder: Path, grid: Grid, *, resume: bool, force: bool) -> None:
        """Opens the folder. Results that are there are kept with `resume`, and refused without;
        those that the grid would not make are refused. `force` drops what would be refused.

        Raises UserError, having changed nothing, for such results and for a stranger's files.
        """
        self.path = folder / RUNS
        self._wanted = {cell.id for cell in grid.cells}
        manifest = read_manifest(folder)
        if manifest is None and (self.path.exists() or (folder / MANIFEST).exists()):
            raise UserError(f"{folder}: holds files that no sweep wrote: choose another --out")
        found, good = read_rows(self.path)
        if found and not resume and not force:
            raise UserError(
                f"{folder}: holds {len(found)} results already: --resume goes on, --force starts "
                "afresh, --out names another folder"
            )
        fitting = {cell: row for cell, row in found.items() if cell in self._wanted}
        foreign = len(found) - len(fitting)
        if foreign and not force:
            raise UserError(
                f"{folder}: {foreign} of its {len(found)} results are of another sweep "
                "(configuration, strategies, traces or seeds have changed): --force drops them, "
                "--out names another folder"
            )
        self.rows: dict[str, Row] = fitting if resume else {}
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(_manifest(grid))))
        if len(self.rows) < len(found):
            _write(self.path, b"".join(map(_line, self.rows.values())))
        elif self.path.exists():
            os.truncate(self.path, good)

    def append(self, rows: Iterable[Row]) -> int:
        """Put rows on the disk; a cell that is there already is not written twice. Returns how
        many were new. Raises OSError."""
        fresh = {
            row.cell: row for row in rows if row.cell in self._wanted and row.cell not in self.rows
        }
        if fresh:
            with self.path.open("ab") as file:
                file.write(b"".join(map(_line, fresh.values())))
                file.flush()
                os.fsync(file.fileno())
            self.rows |= fresh
        return len(fresh)


def read_manifest(folder: Path) -> Manifest | None:
    """What a folder says of its sweep, None where no sweep wrote it."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
    return manifest if manifest.made_by == _MADE_BY else None


def open_results(folder: Path) -> tuple[Manifest, list[Row]]:
    """The sweep in a folder and its rows in the grid's order, whatever order they came in.
    Raises NotFound, UserError."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise NotFound(f"{folder}: no sweep there; name the folder that `treasury sweep` wrote")
    found, _ = read_rows(folder / RUNS)
    return manifest, [found[cell] for cell in manifest.cells if cell in found]


def read_rows(path: Path) -> tuple[dict[str, Row], int]:
    """The rows of a file by cell, and the bytes up to the end of its last whole line. Raises
    UserError for a line that is whole and cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    good = content.rfind(b"\n") + 1
    decoder = msgspec.json.Decoder(Row)
    rows: dict[str, Row] = {}
    for number, line in enumerate(content[:good].splitlines(), 1):
        try:
            row = decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise UserError(
                f"{path}:{number}: cannot be read as a result ({error}): remove the line, and its "
                "cell runs again"
            ) from None
        rows[row.cell] = row
    return rows, good


def ordered(cells: Sequence[str], rows: dict[str, Row]) -> list[Row]:
    """Rows in the order of cells; those that are missing are left out."""
    return [rows[cell] for cell in cells if cell in rows]


def _manifest(grid: Grid) -> Manifest:
    return Manifest(
        made_by=_MADE_BY,
        title=grid.title,
        family=grid.family,
        variants=tuple(variant.label for variant in grid.variants),
        axes=grid.axes,
        cells=tuple(cell.id for cell in grid.cells),
    )


def _line(row: Row) -> bytes:
    return msgspec.json.encode(row) + b"\n"


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once: a crash leaves the old one or the new one."""
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
