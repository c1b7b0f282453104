"""Small files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# A progress, token or notice file larger than this is not one.
_SMALL = 4_096


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file's content, durably: a reader sees the old or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a JSON value, durably."""
    write_whole(path, json.dumps(value).encode())


def read_json(path: Path) -> Any:
    """The value in a file; None where it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_small(path: Path) -> str | None:
    """The text of a small file that a program wrote; None where there is none to be read."""
    try:
        with path.open("rb") as file:
            return file.read(_SMALL).decode("ascii", "replace").strip()
    except OSError:
        return None
