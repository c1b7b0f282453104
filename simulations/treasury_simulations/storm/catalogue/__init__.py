"""The catalogue of faults: what can go wrong, what is to happen then, and which test shows it.

One file a group. `covered` names what covers a fault: `storm:NAME`, a fault that swarms draw, or
`tests/PATH.py::TEST`, a test of the repository.
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import msgspec

GROUPS: Final = ("provider", "database", "broker", "process", "clock", "hostile", "operator")

_WORDS: Final = {
    "storm": "storms",
    "end-to-end": "end-to-end tests",
    "contract": "contract tests",
    "unit": "unit tests",
}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One misfortune. code: a letter for the group and a number; covered: who shows it."""

    code: str
    what: str
    expected: str
    covered: tuple[str, ...] = ()

    @property
    def how(self) -> tuple[str, ...]:
        """How it is covered: by storm, contract, end-to-end, unit or other tests."""
        return tuple(dict.fromkeys(_kind(name) for name in self.covered))


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
    groups = catalogue()
    lines += ["", *_summary([fault for group in groups for fault in group.fault])]
    for group in groups:
        lines += ["", f"## {group.title} ({len(group.fault)})", ""]
        lines += ["| | What happens | What is to follow | Shown by |", "|---|---|---|---|"]
        for fault in group.fault:
            shown = "<br>".join(f"`{name}`" for name in fault.covered)
            lines.append(f"| {fault.code} | {fault.what} | {fault.expected} | {shown} |")
    return "\n".join([*lines, ""])


def _summary(faults: Sequence[Fault]) -> list[str]:
    """How many there are, and how many of them each kind of test shows."""
    kinds = Counter(kind for fault in faults for kind in fault.how)
    shown = ", ".join(f"{kinds[kind]} by {words}" for kind, words in _WORDS.items())
    return [f"{len(faults)} faults: {shown}; most by more than one."]
