"""The folder a simulation writes: its own files are replaced, a stranger's are not touched."""

from pathlib import Path

import pytest

from treasury.cli.results import MANIFEST, REPORT, Manifest, claim, find_database, read_manifest
from treasury.domain.errors import NotFound, UserError


def take(folder: Path, *strategies: str, databases: bool = True) -> Manifest:
    """Claim a folder for a simulation of these strategies."""
    return claim(folder, title="t", trace="x", seed=1, strategies=strategies, databases=databases)


def test_a_new_folder_is_made_and_described(tmp_path: Path) -> None:
    """The manifest says what will be there and how it was made."""
    folder = tmp_path / "a" / "b"
    manifest = take(folder, "greedy")
    assert manifest.files == (REPORT, "run-greedy.json", "greedy.db")
    assert read_manifest(folder) == manifest


def test_our_own_files_are_replaced(tmp_path: Path) -> None:
    """A second simulation removes what the first wrote, what SQLite left beside it included."""
    take(tmp_path, "greedy", "optimal")
    for name in ("run-greedy.json", "greedy.db", "greedy.db-wal", "optimal.db", REPORT, "mine.txt"):
        (tmp_path / name).write_text("old")
    take(tmp_path, "optimal", databases=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", MANIFEST]


@pytest.mark.parametrize("name", [REPORT, "run-greedy.json", "greedy.db", MANIFEST])
def test_a_strangers_file_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Whatever we would write and did not write before stops us before anything is changed."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match=f"{name}: is there and was not written by a simulation"):
        take(tmp_path, "greedy")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """--out that names a file is said so."""
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file, a folder is needed"):
        take(tmp_path / "out", "greedy")


def test_a_manifest_cannot_reach_out_of_its_folder(tmp_path: Path) -> None:
    """A forged manifest that names files elsewhere removes nothing there."""
    outside = tmp_path / "precious.txt"
    outside.write_text("precious")
    folder = tmp_path / "out"
    take(folder, "greedy")
    text = (folder / MANIFEST).read_text().replace(REPORT, "../precious.txt")
    (folder / MANIFEST).write_text(text)
    take(folder, "greedy")
    assert outside.read_text() == "precious"


def test_a_database_is_found_by_file_or_folder(tmp_path: Path) -> None:
    """A file is itself, a simulation's folder gives its first database, anything else an error."""
    take(tmp_path, "greedy", "optimal")
    with pytest.raises(NotFound, match="no database there"):
        find_database(tmp_path)
    for name in ("optimal.db", "greedy.db"):
        (tmp_path / name).write_text("")
        assert find_database(tmp_path / name) == tmp_path / name
    assert find_database(tmp_path) == tmp_path / "greedy.db"
    with pytest.raises(NotFound, match="name one with --db"):
        find_database(tmp_path / "none")
