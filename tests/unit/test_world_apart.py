"""The world's truth is its own: it shares no rule with what it judges."""

import ast
from pathlib import Path

import pytest

import treasury_simulations

WORLD = ("listing", "machines", "market", "meter", "openings", "split", "world")
RULES = ("treasury.engine", "treasury.ledger", "treasury.budget", "treasury.optimizer")


@pytest.mark.parametrize("module", WORLD)
def test_the_world_imports_no_rule_of_the_agent(module: str) -> None:
    """Meter, market and machines know the domain's values and none of the engine's decisions."""
    path = Path(treasury_simulations.__file__).with_name(f"{module}.py")
    imported = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(node.module or "")
    assert [name for name in imported if name.startswith(RULES)] == []
    assert any(name.startswith("treasury") for name in imported)
