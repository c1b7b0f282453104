"""The node agent as one file that any Python 3.9 runs: `python3 node.pyz CONFIG`.

A zip of this room, the bus's messages, and the installed paho-mqtt. Built the same from the same
code: the file's hash is what machines check before they run it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

_OURS = {
    "treasury": ("__init__.py",),
    "treasury.bus": ("__init__.py", "fields.py", "messages.py", "topics.py"),
}
_MAIN = "import sys\nfrom treasury.node.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
# The oldest instant a zip can hold: the file may not depend on when it was made.
_BIRTH = (1980, 1, 1, 0, 0, 0)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package called {package}", name=package)
    return Path(next(iter(spec.submodule_search_locations)))


def _files() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    for package, names in _OURS.items():
        for name in names:
            place = f"{package.replace('.', '/')}/{name}"
            yield place, (_folder(package) / name).read_bytes()
    for package in ("treasury.node", "paho"):
        root = _folder(package)
        for path in sorted(root.rglob("*.py")):
            place = f"{package.replace('.', '/')}/{path.relative_to(root).as_posix()}"
            yield place, path.read_bytes()


def bundle() -> bytes:
    """The file's bytes. Raises ModuleNotFoundError where paho-mqtt is not installed."""
    buffer = BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _files():
            entry = zipfile.ZipInfo(name, _BIRTH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """What a machine checks, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
