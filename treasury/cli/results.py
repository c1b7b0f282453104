"""The folder a simulation writes: its own files are replaced, a stranger's never."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.errors import NotFound, UserError

MANIFEST: Final = "simulation.json"
REPORT: Final = "report.html"
_MADE_BY: Final = "treasury simulate"
# SQLite keeps these beside a database that is open or was left by a crash.
_BESIDE_DATABASE: Final = ("", "-wal", "-shm", "-journal")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder holds and how it was made; `files` are the names we may replace."""

    made_by: str
    title: str
    trace: str
    seed: int
    strategies: tuple[str, ...]
    files: tuple[str, ...]


def run_file(strategy: str) -> str:
    """The name of a strategy's record."""
    return f"run-{strategy}.json"


def database_file(strategy: str) -> str:
    """The name of a strategy's journal and books."""
    return f"{strategy}.db"


def claim(
    folder: Path, *, title: str, trace: str, seed: int, strategies: Sequence[str], databases: bool
) -> Manifest:
    """Make a folder ready: our earlier files are removed, and a manifest of the new ones written.

    Raises UserError, having changed nothing, when a file of a stranger is in the way.
    """
    files = [REPORT, *map(run_file, strategies)]
    if databases:
        files += map(database_file, strategies)
    manifest = Manifest(
        made_by=_MADE_BY,
        title=title,
        trace=trace,
        seed=seed,
        strategies=tuple(strategies),
        files=tuple(files),
    )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, a folder is needed: choose another with --out")
    earlier = read_manifest(folder)
    ours = set(earlier.files) if earlier else set[str]()
    wanted = files if earlier else [MANIFEST, *files]
    foreign = [name for name in wanted if name not in ours and (folder / name).exists()]
    if foreign:
        raise UserError(
            f"{folder / foreign[0]}: is there and was not written by a simulation: "
            "move it, or choose another folder with --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(ours):
        for suffix in _BESIDE_DATABASE if name.endswith(".db") else ("",):
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{name}{suffix}").unlink()
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder we wrote, None where there is none or it is somebody else's.

    Names that are no plain file names are dropped: a manifest cannot reach out of its folder.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
    if manifest.made_by != _MADE_BY:
        return None
    plain = tuple(name for name in manifest.files if name == Path(name).name)
    return msgspec.structs.replace(manifest, files=plain)


def find_database(place: Path) -> Path:
    """The database at a path: the file itself, or the first strategy's in a folder we wrote.
    Raises NotFound."""
    if place.is_file():
        return place
    manifest = read_manifest(place)
    names = [name for name in manifest.files if name.endswith(".db")] if manifest else []
    for name in names:
        if (place / name).is_file():
            return place / name
    raise NotFound(
        f"{place}: no database there; name one with --db: the .db file, or the folder "
        "`treasury simulate` wrote"
    )
