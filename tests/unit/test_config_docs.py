"""docs/configuration.md says of every key what the code does: its default and a value it takes."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from treasury.config import default_path
from treasury.config.decode import Problem, decode
from treasury.config.sections import (
    ApiSection,
    BudgetSection,
    BusSection,
    DaemonSection,
    DeadlineSection,
    DemandModel,
    EngineSection,
    JobSection,
    ProviderSection,
    SimulationSection,
    WindowSection,
)

DOCUMENT = default_path().parent / "docs" / "configuration.md"
# In the order of the document's tables.
SECTIONS = (
    EngineSection,
    BudgetSection,
    WindowSection,
    ProviderSection,
    DaemonSection,
    BusSection,
    ApiSection,
    SimulationSection,
    DemandModel,
    DeadlineSection,
    JobSection,
)
# Keys that have tables of their own.
OWN_TABLE = {"demand", "deadlines"}


def tables(path: Path) -> list[dict[str, tuple[str, str]]]:
    """Of each table of keys: key -> (default, example), as written."""
    if not path.exists():
        pytest.skip("treasury is installed without its documentation")
    found: list[dict[str, tuple[str, str]]] = []
    for block in path.read_text(encoding="utf-8").split("| key | kind | default | example |")[1:]:
        rows = re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| ([^|]+) \| `([^|]+)` \|", block)
        found.append({key: (default.strip("`"), example) for key, default, example in rows})
    return found


def read(kind: Any, text: str) -> Any:
    """A value as a section's field reads it."""
    wrapper = msgspec.defstruct("Wrapper", [("x", kind)])
    problems: list[Problem] = []
    table = tomllib.loads(f"x = {text}", parse_float=Decimal)
    value = decode(wrapper, table, problems)
    assert problems == []
    return value.x


@pytest.mark.parametrize("number", range(len(SECTIONS)), ids=[kind.__name__ for kind in SECTIONS])
def test_a_table_tells_the_truth(number: int) -> None:
    """Keys are those of the section, defaults those of the code, and every example is taken."""
    written, section = tables(DOCUMENT)[number], SECTIONS[number]
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    assert set(written) == set(fields) - OWN_TABLE
    for key, (default, example) in written.items():
        field = fields[key]
        assert (default == "required") == field.required, key
        read(field.type, example)
        if field.required:
            continue
        actual = field.default
        if actual is msgspec.NODEFAULT:
            assert callable(field.default_factory)
            actual = field.default_factory()
        expected = actual if default == "none" else read(field.type, default)
        assert expected == actual, key
        assert default != "none" or not actual, key


def test_every_section_has_its_table() -> None:
    """No table of keys goes unchecked."""
    assert len(tables(DOCUMENT)) == len(SECTIONS)
