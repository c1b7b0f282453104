"""Checkpoints: a directory copied to a place that outlives the machine, and back.

    <checkpoint_to>/<job>/rank-<r>/objects/<placement>-<sha256>
                                  /manifests/<placement>-<number>.json

Objects first, the manifest last: what has no manifest was never saved. A manifest names each file
with its size and hash, and carries its own; restoring checks them and goes back to the manifest
before it when anything is missing or torn. Names begin with the placement, which rises: what a
machine that was given up for dead still writes sorts below its successor's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from treasury.node.files import write_whole
from treasury.node.remotes import Remote, RemoteError

_CHUNK = 1_048_576
_MANIFEST = re.compile(r"([0-9]{19})-([0-9]{9})\.json")
# A file that changes while it is read is read again this often.
_TRIES = 3
_KEEP = 2


class TornError(Exception):
    """A checkpoint that is not what its manifest says, or a directory that would not hold still."""


@dataclass(frozen=True)
class Saved:
    """What a manifest says besides its files. Durations in ns of the job's whole life."""

    progress_ppm: int | None
    elapsed_ns: int


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _inside(root: Path, name: str) -> Path:
    """A file of the directory. Raises TornError for one that would lie outside."""
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts):
        raise TornError(f"a file called {name[:100]!r}")
    return root.joinpath(*parts)


class CheckpointStore:
    """The checkpoints of one rank of a job, as one placement sees them."""

    def __init__(
        self,
        remote: Remote,
        job: str,
        rank: int,
        placement: int,
        scratch: Path,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """scratch: a folder on the filesystem of the checkpoint directory. cancelled: asked
        between files, whether to give up."""
        self._remote, self._placement, self._scratch = remote, placement, scratch
        self._root = f"{quote(job, safe='')}/rank-{rank}"
        self._cancelled = cancelled
        self._number = 0
        # path -> (size, mtime, inode, hash): what this placement has uploaded already.
        self._known: dict[str, tuple[int, int, int, str]] = {}
        self._stored: set[str] = set()

    # --- saving -----------------------------------------------------------------------------------

    def save(self, directory: Path, saved: Saved) -> None:
        """Copy a directory; durable on return. Raises TornError, RemoteError, OSError."""
        manifests = self._manifests()
        if not self._number:
            own = [n for p, n, _ in manifests if p == self._placement]
            self._number = max(own, default=0)
        files = []
        for path in sorted(files_in(directory)):
            if self._cancelled():
                raise TornError("given up for something more urgent")
            files.append(self._upload(directory, path))
        body = {
            "version": 1,
            "progress_ppm": saved.progress_ppm,
            "elapsed_ns": saved.elapsed_ns,
            "files": files,
        }
        self._scratch.mkdir(parents=True, exist_ok=True)
        local = self._scratch / "manifest.json"
        write_whole(local, json.dumps({"body": body, "sha256": _digest(body)}).encode())
        self._number += 1
        name = f"{self._placement:019d}-{self._number:09d}.json"
        self._remote.put(local, f"{self._root}/manifests/{name}")
        self._prune([*manifests, (self._placement, self._number, name)])

    def _upload(self, directory: Path, path: Path) -> dict[str, Any]:
        name = path.relative_to(directory).as_posix()
        for _ in range(_TRIES):
            before = path.stat()
            stamp = (before.st_size, before.st_mtime_ns, before.st_ino)
            known = self._known.get(name)
            sha = known[3] if known and known[:3] == stamp else _hash(path)
            target = f"{self._placement:019d}-{sha}"
            if target not in self._stored:
                self._remote.put(path, f"{self._root}/objects/{target}")
            after = path.stat()
            if stamp == (after.st_size, after.st_mtime_ns, after.st_ino):
                self._known[name] = (*stamp, sha)
                self._stored.add(target)
                return {
                    "path": name,
                    "size": before.st_size,
                    "sha256": sha,
                    "object": target,
                    "mode": before.st_mode & 0o777,
                }
        raise TornError(f"{name} keeps changing: write it beside, then rename it")

    def _prune(self, manifests: list[tuple[int, int, str]]) -> None:
        """Forget all but the newest manifests, and what only they need. Failing costs space."""
        ordered = sorted(manifests)
        gone = [m for m in ordered[:-_KEEP] if m[0] <= self._placement]
        if not gone:
            return
        try:
            needed = set()
            for _, _, name in ordered[-_KEEP:]:
                needed |= {file["object"] for file in self._read(name)["files"]}
            for _, _, name in gone:
                self._remote.delete(f"{self._root}/manifests/{name}")
            for name in self._remote.names(f"{self._root}/objects"):
                if name not in needed and name < f"{self._placement:019d}.":
                    self._remote.delete(f"{self._root}/objects/{name}")
                    self._stored.discard(name)
        except (RemoteError, TornError):
            return

    # --- restoring --------------------------------------------------------------------------------

    def restore(self, directory: Path) -> Saved | None:
        """Replace a directory by the newest checkpoint that is whole; None where there is none.

        Raises RemoteError where the place cannot be asked: starting anew would throw work away.
        """
        for _, _, name in sorted(self._manifests(), reverse=True):
            try:
                return self._restore(directory, name)
            except TornError:
                continue
        return None

    def _restore(self, directory: Path, manifest: str) -> Saved:
        body = self._read(manifest)
        there = set(self._remote.names(f"{self._root}/objects"))
        fresh = self._scratch / "restored"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for file in body["files"]:
            if self._cancelled():
                raise RemoteError("given up for something more urgent")
            target = _inside(fresh, file["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            if file["object"] not in there:
                raise TornError(f"{file['path']} is missing")
            self._remote.get(f"{self._root}/objects/{file['object']}", target)
            if target.stat().st_size != file["size"] or _hash(target) != file["sha256"]:
                raise TornError(f"{file['path']} is not what was saved")
            target.chmod(file["mode"])
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(directory)
        return Saved(body["progress_ppm"], body["elapsed_ns"])

    def _manifests(self) -> list[tuple[int, int, str]]:
        found = []
        for name in self._remote.names(f"{self._root}/manifests"):
            match = _MANIFEST.fullmatch(name)
            if match:
                found.append((int(match[1]), int(match[2]), name))
        return found

    def _read(self, name: str) -> dict[str, Any]:
        """A manifest's body. Raises TornError unless it is whole and of our making."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        local = self._scratch / "manifest.read"
        self._remote.get(f"{self._root}/manifests/{name}", local)
        try:
            manifest = json.loads(local.read_bytes())
            body = manifest["body"]
            if manifest["sha256"] != _digest(body) or body["version"] != 1:
                raise TornError(f"{name} is torn")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TornError(f"{name} is torn") from error
        found: dict[str, Any] = body
        return found


def files_in(directory: Path) -> Iterator[Path]:
    """Regular files, however deep. Links are not followed: they may lead out."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path
