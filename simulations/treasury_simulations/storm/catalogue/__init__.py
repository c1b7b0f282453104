"""The catalogue of faults: what can go wrong, what is to happen then, and which test shows it.

One file a group. `covered` names what covers a fault: `storm:NAME`, a fault that swarms draw, or
`tests/PATH.py::TEST`, a test of the repository.
"""

import tomllib
from importlib.resources import files
from typing import Final

import msgspec

GROUPS: Final = ("provider", "database", "broker", "process", "clock", "hostile", "operator")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One misfortune. code: a letter for the group and a number; covered: who shows it."""

    code: str
    what: str
    expected: str
    covered: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How it is covered: by storm, contract test, end-to-end test or unit test."""
        kinds = {_kind(name): None for name in self.covered}
        return ", ".join(kinds)


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of one kind."""

    title: str
    fault: tuple[Fault, ...]


def _kind(name: str) -> str:
    if name.startswith("storm:"):
        return "storm"
    folder = name.split("/")[1] if name.count("/") else name
    return {"e2e": "end-to-end", "storms": "storm"}.get(folder, folder)


def catalogue() -> tuple[Group, ...]:
    """Every group with its faults, in order."""
    here = files(__package__)
    return tuple(
        msgspec.convert(tomllib.loads((here / f"{name}.toml").read_text("utf-8")), Group)
        for name in GROUPS
    )


def page() -> str:
    """The catalogue as the page docs/faults.md."""
    lines = [
        "# Faults",
        "",
        "What can go wrong, what is to happen then, and what shows that it does. Made from the",
        "catalogue in `treasury_simulations/storm/catalogue` by `treasury storm --catalogue`.",
    ]
    total = 0
    for group in catalogue():
        lines += ["", f"## {group.title} ({len(group.fault)})", ""]
        lines += ["| | What happens | What is to follow | Shown by |", "|---|---|---|---|"]
        for fault in group.fault:
            shown = "<br>".join(f"`{name}`" for name in fault.covered)
            lines.append(f"| {fault.code} | {fault.what} | {fault.expected} | {shown} |")
        total += len(group.fault)
    lines += ["", f"{total} faults in all.", ""]
    return "\n".join(lines)
