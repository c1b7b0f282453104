"""What is committed belongs to no one's machine and leaves nothing for later."""

import re
from pathlib import Path

from tests.architecture.house import REPOSITORY

# Absolute places that exist on one machine only: homes, scratch folders, drives.
LOCAL_PATH = re.compile(
    r"(?<![\w.}/-])(?:/(?:home|Users|root|tmp|private|scratch|work)/[\w.]|[A-Z]:\\+Users\\)"
)
LEFTOVER = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
ADDRESS = re.compile(r"\w+://")
BINARY = {".trace", ".png", ".gz"}


def stains(path: Path) -> list[str]:
    """Lines of a file that name one machine's folders, or promise work."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found += [
            f"{path}:{number}: {match.group()}"
            for pattern in (LOCAL_PATH, LEFTOVER)
            for match in pattern.finditer(line)
        ]
        if path.suffix == ".lock" and ADDRESS.search(line):
            found.append(f"{path}:{number}: a lock file names a host")
    return found


def test_no_machine_and_no_promise_is_committed(files: list[Path]) -> None:
    """No local path, no note of work left over, no host in a lock file."""
    texts = [path for path in files if path.suffix not in BINARY]
    found = [place for path in texts for place in stains(path)]
    assert not found, "\n".join(found)


def test_the_check_sees_each_kind_of_stain(tmp_path: Path) -> None:
    """Homes, scratch folders, leftovers and hosts are reported; web addresses in text are not."""
    planted = tmp_path / "planted.lock"
    planted.write_text(
        "see /ho" "me/ada/x\nin '/tm" "p/scratch'\n# FIX" "ME later\nC:\\Us" "ers\\ada\n"
        "--index ftp://host\nout/demo/report.html and a/tmp/b are relative\n"
    )  # fmt: skip
    assert [place.split(":")[1] for place in stains(planted)] == ["1", "2", "3", "4", "5"]
    page = tmp_path / "page.md"
    page.write_text("https://example.org/home/page is an address\n")
    assert stains(page) == []


def test_the_top_level_holds_what_was_agreed(files: list[Path]) -> None:
    """Nothing new appears at the top of the repository by accident."""
    allowed = {
        "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "config.example.toml", "docs",
        "providers", "pyproject.toml", "simulations", "strategies", "tests", "treasury",
    }  # fmt: skip
    top = {path.relative_to(REPOSITORY).parts[0] for path in files}
    strangers = {name for name in top - allowed if not name.startswith(".")}
    assert sorted(name for name in strangers if not name.endswith(".lock")) == []
