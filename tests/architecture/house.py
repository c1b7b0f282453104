"""The house as data: its files, its modules and what each of them says."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
# Where each importable package lives: the folder that is on the import path.
SOURCE_ROOTS = (".", "providers", "strategies", "simulations")


class Module(NamedTuple):
    """A Python file of the product: its dotted name, its place and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module


def listed() -> list[Path]:
    """Files under version control or about to be; in an unpacked sdist, all files."""
    if (REPOSITORY / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        found = [REPOSITORY / name for name in listing.split("\0") if name]
    else:
        found = list(REPOSITORY.rglob("*"))
    return sorted(path for path in found if path.is_file())


def dotted(path: Path) -> str | None:
    """The name a product file is imported by; None for tests and scripts."""
    relative = path.relative_to(REPOSITORY)
    if relative.parts[0] in SOURCE_ROOTS:
        relative = relative.relative_to(relative.parts[0])
    elif relative.parts[0] != "treasury":
        return None
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(paths: list[Path]) -> list[Module]:
    """The product's Python files among these."""
    found = []
    for path in paths:
        name = dotted(path) if path.suffix == ".py" else None
        if name:
            found.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imported(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """(line, local name, full dotted name) of everything a file imports, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, f"{node.module}.{alias.name}"
