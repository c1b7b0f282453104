"""Every room says what it is for, has its place in the import order, and holds nothing unused."""

import ast
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.architecture.house import REPOSITORY, Module, imported

# Alembic finds its environment and revisions by their place in the folder.
FOUND_BY_PLACE = ("treasury.store.migrations",)
# A shipped instrument may be used by the tests alone: checkers and the clairvoyant bound are.
USED_BY_TESTS = ("treasury_simulations.",)


def rooms(modules: Iterable[Module]) -> list[Module]:
    """The packages: every `__init__.py`."""
    return [module for module in modules if module.path.name == "__init__.py"]


def wordless(modules: Iterable[Module]) -> list[str]:
    """Modules that do not open with a docstring."""
    return [module.name for module in modules if not ast.get_docstring(module.tree)]


def settings() -> dict[str, dict[str, object]]:
    """pyproject.toml."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def placed(layers: Iterable[str]) -> set[str]:
    """The modules that a layers contract names."""
    return {name.strip(" ()") for layer in layers for name in layer.split("|")}


def mentioned(tree: ast.Module) -> set[str]:
    """Dotted names a file imports or spells out in a string, such as a lazy command's place."""
    names: set[str] = set()
    for _, _, full in imported(tree):
        # `from a.b import c` may mean the module a.b.c or the name c in a.b.
        names |= {full, full.rpartition(".")[0]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    return names


def entry_points(project: dict[str, object]) -> set[str]:
    """The modules that pyproject.toml's scripts and entry points name."""
    groups = project.get("entry-points", {})
    assert isinstance(groups, dict)
    tables = [project.get("scripts", {}), *groups.values()]
    return {place.partition(":")[0] for table in tables for place in table.values()}


def unused(modules: list[Module], tests: Iterable[ast.Module], entries: set[str]) -> list[str]:
    """Modules that nothing imports, names or registers."""
    product = {module.name: mentioned(module.tree) - {module.name} for module in modules}
    by_product = set().union(*product.values()) | entries
    by_tests = set().union(*(mentioned(tree) for tree in tests))
    found = []
    for module in modules:
        name = module.name
        if module.path.name in {"__init__.py", "__main__.py"} or name.startswith(FOUND_BY_PLACE):
            continue
        if name in by_product or (name.startswith(USED_BY_TESTS) and name in by_tests):
            continue
        found.append(name)
    return found


def test_every_module_opens_with_its_purpose(modules: list[Module]) -> None:
    """Each file starts with a docstring; a room's says what may and may not live there."""
    assert wordless(modules) == []
    silent = [
        room.name
        for room in rooms(modules)
        if room.name.count(".") == 1 and "ives here" not in (ast.get_docstring(room.tree) or "")
    ]
    assert silent == []


def test_every_room_has_its_place_in_the_import_order(modules: list[Module]) -> None:
    """Each room and loose module of the agent is named in the layers contract."""
    linter = settings()["tool"]["importlinter"]
    assert isinstance(linter, dict)
    layers = next(contract for contract in linter["contracts"] if contract["id"] == "layers")
    order = placed(layers["layers"])
    top = {module.name for module in modules if module.name.count(".") == 1}
    agent = {name for name in top if name.startswith("treasury.")} - {"treasury.__main__"}
    assert sorted(agent - order) == []


def test_nothing_is_unused(modules: list[Module], files: list[Path]) -> None:
    """Each module is imported, named in a string or registered as an entry point."""
    tests = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in files
        if path.suffix == ".py" and path.relative_to(REPOSITORY).parts[0] == "tests"
    ]
    project = settings()["project"]
    assert unused(modules, tests, entry_points(project)) == []


def plant(folder: Path, name: str, text: str) -> Module:
    """A module with this text."""
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(text)
    return Module(name, path, ast.parse(text))


def test_the_checks_see_a_wordless_and_an_unused_module(tmp_path: Path) -> None:
    """A module without docstring and one that only a test uses are reported, used ones are not."""
    house = [
        plant(
            tmp_path, "treasury.a", '"""A."""\nfrom treasury import b\nlazy = "treasury.c:run"\n'
        ),
        plant(tmp_path, "treasury.b", "x = 1\n"),
        plant(tmp_path, "treasury.c", '"""C."""\n'),
        plant(tmp_path, "treasury.d", '"""D."""\nimport treasury.d\n'),
        plant(tmp_path, "treasury_simulations.e", '"""E."""\n'),
    ]
    test = ast.parse("import treasury.d\nfrom treasury_simulations.e import check\n")
    assert wordless(house) == ["treasury.b"]
    assert unused(house, [test], {"treasury.a"}) == ["treasury.d"]
    assert placed(["treasury.cli", "(treasury.web) | treasury.x"]) == {
        "treasury.cli",
        "treasury.web",
        "treasury.x",
    }
