"""Left may import right, never back: the contracts of pyproject.toml are kept, and they bite."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.house import REPOSITORY, SOURCE_ROOTS

PYPROJECT = REPOSITORY / "pyproject.toml"


def lint(*search_path: Path) -> subprocess.CompletedProcess[str]:
    """Judge the packages found on `search_path` by our contracts."""
    return subprocess.run(
        [
            sys.executable,
            # No folder but the given ones: the checkout must not answer for a planted house.
            "-P",
            "-c",
            "from importlinter.cli import lint_imports_command as lint; lint()",
            "--no-cache",
            str(PYPROJECT),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, search_path))},
        cwd=search_path[0],
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder: Path) -> None:
    """An empty house with every room of the contracts."""
    linter = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract for contract in linter["contracts"] if contract["id"] == "layers")
    for layer in layers["layers"]:
        for name in layer.split("|"):
            room = folder.joinpath(*name.strip(" ()").split("."))
            room.mkdir(parents=True, exist_ok=True)
            (room / "__init__.py").touch()
    (folder / "treasury" / "__init__.py").touch()


def test_the_contracts_are_kept() -> None:
    """No import of the product goes against the order of the rooms."""
    run = lint(*(REPOSITORY / root for root in SOURCE_ROOTS))
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("treasury/domain", "", ""),
        ("treasury/domain", "import treasury.engine", "Left may import right"),
        ("treasury/ledger", "import treasury.budget", "Left may import right"),
        ("treasury/engine", "def f():\n    import treasury.store", "Left may import right"),
        ("treasury/engine", "import treasury_simulations", "Left may import right"),
        ("treasury_providers", "import treasury.ports", ""),
        ("treasury_providers", "import treasury.ledger", "Providers see ports"),
        ("treasury_strategies", "import treasury.optimizer", ""),
        ("treasury_strategies", "import treasury.engine", "Strategies see ports"),
    ],
)
def test_the_contracts_bite(tmp_path: Path, room: str, line: str, broken: str) -> None:
    """One import against the order, planted in an empty house, breaks the contract meant for it."""
    build(tmp_path)
    (tmp_path / room / "planted.py").write_text(line)
    run = lint(tmp_path)
    assert (run.returncode == 0) == (broken == ""), run.stdout + run.stderr
    assert broken in run.stdout
    assert "does not exist" not in run.stdout


def test_the_contracts_see_a_cycle(tmp_path: Path) -> None:
    """Two modules of one room that import each other are reported."""
    build(tmp_path)
    (tmp_path / "treasury" / "engine" / "one.py").write_text("import treasury.engine.two")
    (tmp_path / "treasury" / "engine" / "two.py").write_text("import treasury.engine.one")
    run = lint(tmp_path)
    assert run.returncode == 1
    assert "No cycles are allowed in treasury.engine" in run.stdout
