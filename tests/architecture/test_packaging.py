"""What is built is what is here: nothing is left behind, and it runs away from the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.architecture.house import REPOSITORY, SOURCE_ROOTS


def build(source: Path, into: Path, kind: str) -> Path:
    """Build the wheel or the sdist of a source tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(into)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = into.iterdir()
    return built


def contents(wheel: Path) -> set[str]:
    """The wheel's files without its own records."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the checkout."""
    return build(REPOSITORY, tmp_path_factory.mktemp("wheel"), "wheel")


def expected(files: list[Path]) -> set[str]:
    """Each product file by its place in the wheel, data and migrations included."""
    found = set()
    for path in files:
        parts = path.relative_to(REPOSITORY).parts
        if parts == ("config.example.toml",):
            # The embedded default travels inside the package that reads it.
            parts = ("treasury", *parts)
        if parts[0] in SOURCE_ROOTS:
            parts = parts[1:]
        if parts[0].startswith("treasury") and len(parts) > 1:
            found.add("/".join(parts))
    return found


def test_the_wheel_holds_every_product_file(wheel: Path, files: list[Path]) -> None:
    """Code, type markers, data and migrations of the four packages are in the wheel, no test is."""
    assert contents(wheel) == expected(files)


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Whoever builds from the source archive gets what we build from the checkout."""
    for name in ("sdist", "unpacked", "again"):
        (tmp_path / name).mkdir()
    with tarfile.open(build(REPOSITORY, tmp_path / "sdist", "sdist")) as archive:
        for member in archive.getmembers():
            body = archive.extractfile(member)
            place = tmp_path / "unpacked" / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body.read() if body else b"")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert contents(build(source, tmp_path / "again", "wheel")) == contents(wheel)


def test_the_wheel_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the command shows its help and its code is the wheel's, not ours."""
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)  # noqa: S202 - our own wheel
    script = "import sys, treasury.cli as c; print(c.__file__, file=sys.stderr); c.main()"
    run = subprocess.run(
        [sys.executable, "-P", "-c", script, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.strip() == str(place / "treasury" / "cli" / "__init__.py")
    assert "Usage:" in run.stdout
