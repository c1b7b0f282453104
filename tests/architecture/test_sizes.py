"""Nothing is too long to be read in one go."""

import ast
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 70
LINE_CHARACTERS = 100


def oversized(path: Path) -> list[str]:
    """Each place in a Python file that is longer than the law allows."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    if len(lines) > FILE_LINES:
        found.append(f"{path}: {len(lines)} lines, at most {FILE_LINES}")
    found += [
        f"{path}:{number}: {len(line)} characters, at most {LINE_CHARACTERS}"
        for number, line in enumerate(lines, 1)
        if len(line) > LINE_CHARACTERS
    ]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length >= FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, under 70")
    return found


def test_files_functions_and_lines_are_short(files: list[Path]) -> None:
    """Files hold at most 400 lines, functions fewer than 70, lines at most 100 characters."""
    found = [place for path in files if path.suffix == ".py" for place in oversized(path)]
    assert not found, "\n".join(found)


def test_the_check_sees_each_kind_of_excess(tmp_path: Path) -> None:
    """A long file, a long function and a long line are each reported, and their limits are not."""
    planted = tmp_path / "long.py"
    body = "    pass\n" * (FUNCTION_LINES - 1)
    planted.write_text(f"def f():\n{body}" + "#\n" * FILE_LINES + f"x = '{'y' * 100}'\n")
    assert len(oversized(planted)) == 3
    allowed = tmp_path / "fits.py"
    body = "    pass\n" * (FUNCTION_LINES - 2)
    allowed.write_text(f"def f():\n{body}" + f"# {'y' * 98}\n" * (FILE_LINES - FUNCTION_LINES + 1))
    assert oversized(allowed) == []
