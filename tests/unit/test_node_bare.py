"""The node agent on a bare machine: old Python, nothing installed, nothing of the agent's own."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import treasury.bus
import treasury.node
from treasury.node.bundle import bundle, sha256

NODE = Path(treasury.node.__file__).parent
BUS = Path(treasury.bus.__file__).parent
SHIPPED = [
    *sorted(NODE.glob("*.py")),
    *(BUS / n for n in ("fields.py", "messages.py", "topics.py")),
]
OLDEST = (3, 9)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_it_reads_as_python_3_9(path: Path) -> None:
    """Every shipped file parses as Python 3.9, and its annotations are never evaluated."""
    tree = ast.parse(path.read_text(), feature_version=OLDEST)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    body = [node for node in tree.body if not isinstance(node, ast.Expr)]
    if body:
        assert any(node.module == "__future__" for node in imports)
    keywords = [
        word.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords
    ]
    assert not {"strict", "slots", "kw_only"} & set(keywords)


def test_it_loads_nothing_of_the_agent() -> None:
    """Importing the whole node agent loads the standard library, paho, and our three modules."""
    script = (
        "import sys; before = set(sys.modules); import treasury.node.agent, treasury.node.__main__;"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout)
    ours = {name for name in loaded if name.startswith("treasury")}
    assert {name for name in ours if not name.startswith("treasury.node")} == {
        "treasury",
        "treasury.bus",
        "treasury.bus.fields",
        "treasury.bus.messages",
        "treasury.bus.topics",
    }
    tops = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert {name for name in tops if not name.startswith("_")} == {"paho", "treasury"}


def test_the_bundle_is_the_same_each_time_and_holds_no_more() -> None:
    """Its hash can be written into a boot script: it does not depend on when it is made."""
    data = bundle()
    assert data == bundle() and len(sha256(data)) == 64
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    places = {name for name in names if name.startswith("treasury/")}
    assert {name for name in places if "/node/" not in name} == {
        "treasury/__init__.py",
        "treasury/bus/__init__.py",
        "treasury/bus/fields.py",
        "treasury/bus/messages.py",
        "treasury/bus/topics.py",
    }
    assert "treasury/node/wrapper.py" in places and any(n.startswith("paho/") for n in names)


@pytest.mark.parametrize("text", ["{", '{"lease": 1}', '{"lease": NaN}', ""])
def test_a_wrong_config_is_one_line(tmp_path: Path, text: str) -> None:
    """A person's mistake in the file gives its name and what was expected, and exit code 2."""
    path = tmp_path / "node.json"
    path.write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "treasury.node", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {path}: message") and run.stderr.count("\n") == 1


def test_the_bundle_runs_on_an_old_python(tmp_path: Path) -> None:
    """One file, Python 3.9, nothing installed: it starts, is never heard, and ends by itself."""
    python = shutil.which("python3.9")
    run = subprocess.run(
        [python or "false", "-c", "import sys; print(sys.version_info[:2] == (3, 9))"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.stdout.strip() != "True" or python is None:
        # No distribution of today has one: not even where all counterparts are required.
        pytest.skip("python3.9 is not installed")
    pyz = tmp_path / "node.pyz"
    pyz.write_bytes(bundle())
    config = {
        "installation": "x",
        "lease": 1,
        "password": "y",
        "broker": {"host": "127.0.0.1", "port": 1},
        "state": "state",
        # Nobody will be heard: it ends by itself, at once.
        "fuse_ns": 1_000_000_000,
        "poweroff_command": ["touch", str(tmp_path / "off")],
    }
    (tmp_path / "node.json").write_text(json.dumps(config))
    ended = subprocess.run(
        [python, "-I", str(pyz), str(tmp_path / "node.json")],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "off").exists()
