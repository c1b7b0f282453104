"""What is imported is declared, what is declared is imported, and each has its reason."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.architecture.house import REPOSITORY, Module, imported

OURS = {"treasury", "treasury_providers", "treasury_strategies", "treasury_simulations"}


def foreign(trees: Iterable[ast.Module]) -> set[str]:
    """Top-level packages that are neither ours nor Python's."""
    tops = {full.partition(".")[0] for tree in trees for _, _, full in imported(tree)}
    return tops - OURS - sys.stdlib_module_names


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements name, spelled alike."""
    return {re.split(r"[^\w.-]", line.lower())[0].replace("_", "-") for line in requirements}


def distributions(tops: set[str]) -> set[str]:
    """Who ships these packages."""
    table = packages_distributions()
    return names(distribution for top in tops for distribution in table.get(top, [top])[:1])


# Ship nothing under their own name: Azure's packages share one namespace, as do Google's and
# OpenTelemetry's.
NAMESPACES = {"azure", "google", "opentelemetry"}


def test_imports_and_declarations_agree(modules: list[Module]) -> None:
    """The product imports the distributions that pyproject.toml declares: all of those it always
    needs, and of the extras' what it says."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = names(project["dependencies"])
    extras = names(line for lines in project["optional-dependencies"].values() for line in lines)
    found = distributions(foreign(module.tree for module in modules) - NAMESPACES)
    assert sorted(found - extras) == sorted(always)


def test_every_dependency_has_its_reason(files: list[Path]) -> None:
    """docs/dependencies.md has a row for each declared dependency, tools included."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    declared = names(settings["project"]["dependencies"])
    for group in settings["dependency-groups"].values():
        declared |= names(group)
    text = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == declared


def test_the_check_sees_foreign_imports_only() -> None:
    """Python's and our own packages are no dependencies; the others go by their owner's name."""
    tree = ast.parse("import os, sqlalchemy.orm\nfrom treasury import x\nfrom click import echo\n")
    assert foreign([tree]) == {"sqlalchemy", "click"}
    assert distributions({"sqlalchemy", "nobody_ships_this"}) == {"sqlalchemy", "nobody-ships-this"}
    assert names(["SQLAlchemy>=2.1,<2.2", "pytest-xdist", "a[b]; c"]) == {
        "sqlalchemy",
        "pytest-xdist",
        "a",
    }
