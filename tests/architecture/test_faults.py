"""Every fault of the catalogue is shown by something: a storm that draws it, or a test that is."""

import ast
import re
from collections.abc import Iterable, Iterator

import msgspec

from tests.architecture.house import REPOSITORY
from treasury_simulations.storm.catalogue import Fault, Group, catalogue, page
from treasury_simulations.storm.weather import FAULTS

# How many faults each group has, by the letter of their codes, in the catalogue's order.
COUNTS = {"P": 42, "D": 25, "B": 13, "R": 16, "C": 7, "N": 15, "O": 12}
PLACE = re.compile(r"(tests/[\w/]+/test_\w+\.py)::(test_\w+)")


def defined(path: str) -> set[str]:
    """The tests that a file of the repository defines; none where there is no such file."""
    place = REPOSITORY / path
    if not place.is_file():
        return set()
    tree = ast.parse(place.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def unshown(fault: Fault) -> Iterator[str]:
    """What is wrong with the cover of a fault."""
    if not fault.covered:
        yield f"{fault.code} is shown by nothing"
    if len(set(fault.covered)) < len(fault.covered):
        yield f"{fault.code} names something twice"
    for name in fault.covered:
        if name.startswith("storm:"):
            if name.removeprefix("storm:") not in FAULTS:
                yield f"{fault.code}: no storm draws {name}"
            continue
        match = PLACE.fullmatch(name)
        if match is None or match[2] not in defined(match[1]):
            yield f"{fault.code}: there is no test {name}"


def miscounted(groups: Iterable[Group]) -> list[str]:
    """Codes that are missing, doubled or out of their order."""
    expected = [f"{letter}{n + 1}" for letter, count in COUNTS.items() for n in range(count)]
    given = [fault.code for group in groups for fault in group.fault]
    return sorted(set(expected) ^ set(given)) or ([] if expected == given else given)


def test_every_fault_is_shown_by_something_that_exists() -> None:
    """Each of the 130 is named once, in order, with tests that are defined or storms that draw
    it."""
    groups = catalogue()
    assert miscounted(groups) == []
    found = [line for group in groups for fault in group.fault for line in unshown(fault)]
    assert found == []


def test_the_page_is_the_catalogue() -> None:
    """docs/faults.md is what `treasury storm --catalogue` prints."""
    written = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
    assert written == page(), "treasury storm --catalogue > docs/faults.md"


def test_the_checks_see_each_way_to_be_unshown() -> None:
    """No cover, a test that is gone, a file that is gone, a storm nobody draws, a name twice."""
    here = "tests/architecture/test_faults.py"
    good = f"{here}::test_the_page_is_the_catalogue"
    for covered in (
        (),
        (f"{here}::test_what_was_removed",),
        ("tests/unit/test_nowhere.py::test_the_page_is_the_catalogue",),
        ("storm:frogs",),
        (good, good),
        ("something",),
    ):
        assert len(list(unshown(Fault("P1", "x", "y", covered)))) == 1
    assert list(unshown(Fault("P1", "x", "y", (good, "storm:killed")))) == []


def test_the_checks_see_codes_that_are_missing_or_doubled() -> None:
    """A fault left out, one twice, and two in the wrong order are each reported."""
    first, *rest = catalogue()
    faults = first.fault
    for changed in (
        faults[1:],
        (faults[0], *faults),
        (faults[1], faults[0], *faults[2:]),
    ):
        assert miscounted([msgspec.structs.replace(first, fault=changed), *rest])
