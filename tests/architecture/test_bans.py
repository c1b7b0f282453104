"""What the core may not reach for: clocks, dice, sockets, databases, logs; and who may approve."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.house import Module, imported

CORE_ROOMS = ("treasury.domain", "treasury.ledger", "treasury.budget", "treasury.engine")
CORE_BANNED = frozenset(
    {"asyncio", "socket", "sqlalchemy", "threading", "random", "time", "uuid", "logging"}
)
# Input and output need no import.
CORE_BANNED_BUILTINS = frozenset({"open", "print", "input", "breakpoint"})

AMBIENT = frozenset({
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "os.urandom",
    "time.localtime",
    "time.monotonic",
    "time.monotonic_ns",
    "time.sleep",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
})  # fmt: skip
# A person's command and the machine's own clock happen at the machine's time.
AMBIENT_ROOMS = ("treasury.cli", "treasury.runtime")
# (module, name): one use with a reason of its own.
AMBIENT_EXCEPTIONS = frozenset({
    # A database is made once, at the machine's time; nothing replays from its name and birthday.
    ("treasury.store.migrate", "uuid.uuid4"),
    ("treasury.store.migrate", "time.time_ns"),
    # A pretend machine is a process of its own with a clock of its own.
    ("treasury_providers.local_machine", "time.time_ns"),
})  # fmt: skip

APPROVER = "treasury.budget.guard"


def within(name: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module lies in one of the rooms."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def used(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of each imported name as it is used, attributes included."""
    # `import a.b` binds only `a`; the attributes that follow spell out the rest.
    names = {
        local.partition(".")[0]: full.partition(".")[0] if "." in local else full
        for _, local, full in imported(tree)
    }
    for node in ast.walk(tree):
        attributes: list[str] = []
        expression: ast.AST = node
        while isinstance(expression, ast.Attribute):
            attributes.append(expression.attr)
            expression = expression.value
        if isinstance(expression, ast.Name) and expression.id in names:
            yield expression.lineno, ".".join([names[expression.id], *reversed(attributes)])


def core_violations(name: str, tree: ast.Module) -> list[str]:
    """Banned imports and builtins in a module of the core."""
    if not within(name, CORE_ROOMS):
        return []
    found = [
        f"{name}:{line}: imports {full}"
        for line, _, full in imported(tree)
        if full.partition(".")[0] in CORE_BANNED
    ]
    return found + [
        f"{name}:{node.lineno}: calls {node.func.id}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in CORE_BANNED_BUILTINS
    ]


def ambient_violations(name: str, tree: ast.Module) -> list[str]:
    """Reads of the machine's clock, dice or identity where time is injected."""
    if within(name, AMBIENT_ROOMS):
        return []
    return [
        f"{name}:{line}: uses {full}"
        for line, full in used(tree)
        if full in AMBIENT
        and not any(full == what and within(name, (room,)) for room, what in AMBIENT_EXCEPTIONS)
    ]


def approval_violations(name: str, tree: ast.Module) -> list[str]:
    """Places that make an `Approved`, or rename it so that making one would not be seen."""
    if name == APPROVER:
        return []
    found = [
        f"{name}:{line}: imports Approved as {local}"
        for line, local, full in imported(tree)
        if full.endswith(".Approved") and local != "Approved"
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            label = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if label == "Approved":
                found.append(f"{name}:{node.lineno}: constructs Approved")
        elif (
            isinstance(node, ast.Assign | ast.NamedExpr)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Approved"
        ):
            found.append(f"{name}:{node.lineno}: gives Approved another name")
    return found


def test_the_core_reaches_for_nothing_outside(modules: list[Module]) -> None:
    """Domain, ledger, budget and engine import no clock, dice, socket, thread, database or log."""
    found = [place for module in modules for place in core_violations(module.name, module.tree)]
    assert not found, "\n".join(found)


def test_time_and_chance_are_injected(modules: list[Module]) -> None:
    """Only the command line and the runtime read the machine's clock; nobody draws identities."""
    found = [place for module in modules for place in ambient_violations(module.name, module.tree)]
    assert not found, "\n".join(found)


def test_only_the_guard_approves(modules: list[Module]) -> None:
    """`Approved` is constructed in treasury/budget/guard.py and nowhere else in the product."""
    found = [place for module in modules for place in approval_violations(module.name, module.tree)]
    assert not found, "\n".join(found)
    assert APPROVER in {module.name for module in modules}


def planted(folder: Path, text: str) -> ast.Module:
    """The tree of a file with this text."""
    path = folder / "planted.py"
    path.write_text(text)
    return ast.parse(path.read_text())


def test_the_checks_see_imports_at_any_depth(tmp_path: Path) -> None:
    """A banned import in a function, a `from` import and a call of open are each reported."""
    tree = planted(
        tmp_path,
        "from random import Random\ndef f():\n    import time as t\n    return open(t.time())\n",
    )
    assert len(core_violations("treasury.engine.step", tree)) == 3
    assert core_violations("treasury.runtime.loop", tree) == []


def test_the_checks_see_the_clock_under_any_name(tmp_path: Path) -> None:
    """An aliased module, a bare function and a class attribute are each followed to the clock."""
    tree = planted(
        tmp_path,
        "import time as t\nfrom time import monotonic as tick\nfrom datetime import datetime\n"
        "a = t.time()\nb = tick\nc = datetime.now()\nd = t.perf_counter()\n",
    )
    assert len(ambient_violations("treasury_simulations.world", tree)) == 3
    assert ambient_violations("treasury.cli.simulate", tree) == []
    moment = planted(tmp_path, "import time\na = time.time_ns()\n")
    assert ambient_violations("treasury.store.migrate", moment) == []
    assert len(ambient_violations("treasury.store.journal", moment)) == 1


def test_the_checks_see_every_way_to_approve(tmp_path: Path) -> None:
    """Two calls, a renaming import and a renaming assignment are each reported."""
    tree = planted(
        tmp_path,
        "from treasury.domain import plan\nfrom treasury.domain.plan import Approved\n"
        "from treasury.domain.plan import Approved as Yes\n"
        "a = Approved(1)\nb = plan.Approved(2)\nmake = Approved\nc: Approved\n",
    )
    assert len(approval_violations("treasury.engine.dispatch", tree)) == 4
    assert approval_violations(APPROVER, tree) == []
