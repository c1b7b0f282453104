"""Whatever a person can type or meet is written down: verbs, configuration keys, errors."""

import ast
import re
from collections.abc import Iterator
from typing import Any, Union, get_args

import click
import msgspec

from tests.architecture.house import REPOSITORY

ERRORS = REPOSITORY / "treasury" / "domain" / "errors.py"


def verbs(command: click.Command, name: str) -> Iterator[str]:
    """Each command below a group, as typed: `treasury ledger balance`."""
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command, info_name=name)
    for verb in command.list_commands(context):
        below = command.get_command(context, verb)
        assert below is not None, f"{name} {verb} is listed and cannot be loaded"
        yield from verbs(below, f"{name} {verb}")


def keys(section: type[msgspec.Struct], place: str = "") -> Iterator[str]:
    """Each key of a configuration section and of the sections below it, as a dotted path."""
    for field in msgspec.structs.fields(section):
        path = f"{place}.{field.name}" if place else field.name
        below = list(structs(field.type))
        for part in below:
            yield from keys(part, path)
        if not below:
            yield path


def structs(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    """The sections that an annotation holds, in whatever container."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in get_args(annotation):
        yield from structs(argument)


def unwritten(paths: Iterator[str], text: str) -> list[str]:
    """Keys whose last word the text does not show as code."""
    shown = set(re.findall(r"`[^`\n]*?(\w+)`", text))
    return [path for path in paths if path.rpartition(".")[2] not in shown]


def drawn(tree: str) -> dict[str, str]:
    """Child to parent, as a tree drawn with box characters says."""
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in tree.splitlines():
        match = re.match(r"([│├└─\s]*)([A-Z]\w*)(?=\s{2}|$)", line)
        if not match:
            continue
        depth, name = len(match.group(1)), match.group(2)
        while branch and branch[-1][0] >= depth:
            branch.pop()
        if branch:
            parents[name] = branch[-1][1]
        branch.append((depth, name))
    return parents


def defined(tree: ast.Module) -> dict[str, str]:
    """Child to parent, as class statements say."""
    return {
        node.name: node.bases[0].id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.bases and isinstance(node.bases[0], ast.Name)
    }


def test_every_verb_is_documented() -> None:
    """docs/cli.md shows each command of the command line as it is typed."""
    from treasury.cli.main import cli

    text = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    typed = list(verbs(cli, "treasury"))
    assert len(typed) > 5
    assert [verb for verb in typed if not re.search(rf"{verb}\b", text)] == []


def test_every_configuration_key_is_documented_and_shown() -> None:
    """docs/configuration.md names each key as code; config.example.toml uses each."""
    from treasury.config.sections import FileSection

    text = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert unwritten(keys(FileSection), text) == []
    example = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8")
    names = {path.rpartition(".")[2] for path in keys(FileSection)}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", example)) == []


def test_every_error_is_in_the_tree() -> None:
    """The tree at the top of errors.py shows each class below its parent, and no other."""
    module = ast.parse(ERRORS.read_text(encoding="utf-8"))
    classes = defined(module)
    assert classes.pop("TreasuryError") == "Exception"
    assert drawn(ast.get_docstring(module) or "") == classes


def test_the_checks_see_what_is_missing() -> None:
    """An unwritten key, a misplaced error and a nested verb are each noticed."""

    class Inner(msgspec.Struct):
        depth: int
        width: int

    class Outer(msgspec.Struct):
        inner: tuple[Inner, ...]
        maybe: Union[Inner, None]  # noqa: UP007 - both spellings are met in annotations
        named: dict[str, int]

    assert list(keys(Outer)) == [
        "inner.depth",
        "inner.width",
        "maybe.depth",
        "maybe.width",
        "named",
    ]
    assert unwritten(keys(Inner), "`inner.depth` is here, width is not") == ["width"]
    assert drawn("A\n├── B   text\n│   └── C   text Xy\n└── D") == {"B": "A", "C": "B", "D": "A"}
    assert defined(ast.parse("class B(A): ...\nclass C(B): ...")) == {"B": "A", "C": "B"}
    group = click.Group("ledger", commands={"balance": click.Command("balance")})
    root = click.Group("root", commands={"ledger": group, "explain": click.Command("explain")})
    assert list(verbs(root, "t")) == ["t explain", "t ledger balance"]
