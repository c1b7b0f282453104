"""The house, read once for all of its laws."""

from pathlib import Path

import pytest

from tests.architecture.house import Module, listed, parsed


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file of the repository, absolute and sorted."""
    return listed()


@pytest.fixture(scope="session")
def modules(files: list[Path]) -> list[Module]:
    """Every Python file of the four source roots, parsed."""
    return parsed(files)
