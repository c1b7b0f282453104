"""Starting the command costs what the command line costs: nothing heavy is loaded before a verb."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.house import REPOSITORY, SOURCE_ROOTS

# The command line's own library, and nothing else that is not Python's.
WELCOME = {"click", "treasury"}

SCRIPT = """
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def loaded(module: str, *search_path: Path) -> set[str]:
    """Top-level packages from outside the standard library that importing `module` loads."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, search_path))},
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(json.loads(run.stdout))
    return {name for name in names - sys.stdlib_module_names if not name.startswith("_")}


def test_the_command_line_starts_light() -> None:
    """`import treasury.cli.main` loads click and our own modules only."""
    assert loaded("treasury.cli.main", *(REPOSITORY / root for root in SOURCE_ROOTS)) <= WELCOME


def test_the_check_sees_a_heavy_import(tmp_path: Path) -> None:
    """A package that imports msgspec at its top is found out, one that waits is not."""
    (tmp_path / "eager.py").write_text("import json\nimport msgspec\n")
    (tmp_path / "lazy.py").write_text("def f():\n    import msgspec\n    return msgspec\n")
    assert {"eager", "msgspec"} <= loaded("eager", tmp_path)
    assert loaded("lazy", tmp_path) == {"lazy"}
