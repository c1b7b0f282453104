"""Where checkpoints are kept: four calls on a place named by a URL.

`file://` needs the standard library. `s3://`, `gs://` and `az://` go through fsspec where it and
the filesystem's package can be imported, otherwise through the market's own tool. An object is
there whole or not at all.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from treasury.node.files import sync_folder

_CHUNK = 1_048_576


class RemoteError(Exception):
    """A place that cannot be read or written now; the message names it and the cause."""


class Remote(Protocol):
    """A place for objects. Names are relative, with `/` between levels. Raises RemoteError."""

    def put(self, source: Path, name: str) -> None:
        """Store a file's content under a name."""

    def get(self, name: str, target: Path) -> None:
        """Write an object's content to a file."""

    def names(self, folder: str) -> list[str]:
        """The last levels of the names in a folder; none where there is no such folder."""

    def delete(self, name: str) -> None:
        """Forget an object; one that is not there is fine."""


class FileRemote:
    """A folder, such as a network filesystem's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: Path, name: str) -> None:
        """Copy beside the name, make it durable, then rename."""
        target = self._root / name
        fresh = target.with_name(f".{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as reader, fresh.open("wb") as writer:
                shutil.copyfileobj(reader, writer, _CHUNK)
                writer.flush()
                os.fsync(writer.fileno())
            fresh.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise RemoteError(f"{target}: {error.strerror}") from error

    def get(self, name: str, target: Path) -> None:
        """Copy."""
        try:
            shutil.copyfile(self._root / name, target)
        except OSError as error:
            raise RemoteError(f"{self._root / name}: {error.strerror}") from error

    def names(self, folder: str) -> list[str]:
        """Entries that are finished."""
        try:
            found = [path.name for path in (self._root / folder).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RemoteError(f"{self._root / folder}: {error.strerror}") from error
        return sorted(name for name in found if not name.startswith("."))

    def delete(self, name: str) -> None:
        """Unlink."""
        try:
            (self._root / name).unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RemoteError(f"{self._root / name}: {error.strerror}") from error


class FsspecRemote:
    """A store that fsspec has a filesystem for."""

    def __init__(self, url: str, filesystem: Any) -> None:
        self._filesystem = filesystem
        self._root = url.partition("://")[2].rstrip("/")

    def _do(self, call: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._filesystem, call)(*arguments, **options)
        except FileNotFoundError:
            raise
        except Exception as error:
            # Each filesystem raises its vendor's own kinds.
            raise RemoteError(f"{self._root}: {type(error).__name__}: {error}") from error

    def put(self, source: Path, name: str) -> None:
        """Upload; the store shows an object when it is whole."""
        if "file" in self._filesystem.protocol or "memory" in self._filesystem.protocol:
            self._do("makedirs", f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        self._do("put_file", str(source), f"{self._root}/{name}")

    def get(self, name: str, target: Path) -> None:
        """Download."""
        try:
            self._do("get_file", f"{self._root}/{name}", str(target))
        except FileNotFoundError as error:
            raise RemoteError(f"{self._root}/{name}: not there") from error

    def names(self, folder: str) -> list[str]:
        """List, past what the filesystem remembers of earlier listings."""
        self._do("invalidate_cache")
        try:
            found = self._do("ls", f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def delete(self, name: str) -> None:
        """Remove."""
        try:
            self._do("rm_file", f"{self._root}/{name}")
        except FileNotFoundError:
            return


# Scheme -> the tool's commands; {url} is an object or folder, {file} a local file.
_TOOLS = {
    "s3": {
        "put": ["aws", "s3", "cp", "--only-show-errors", "{file}", "{url}"],
        "get": ["aws", "s3", "cp", "--only-show-errors", "{url}", "{file}"],
        "names": ["aws", "s3", "ls", "{url}/"],
        "delete": ["aws", "s3", "rm", "--only-show-errors", "{url}"],
    },
    "gs": {
        "put": ["gcloud", "storage", "cp", "{file}", "{url}"],
        "get": ["gcloud", "storage", "cp", "{url}", "{file}"],
        "names": ["gcloud", "storage", "ls", "{url}/"],
        "delete": ["gcloud", "storage", "rm", "{url}"],
    },
    "az": {
        "put": ["azcopy", "copy", "{file}", "{url}", "--output-level", "quiet"],
        "get": ["azcopy", "copy", "{url}", "{file}", "--output-level", "quiet"],
        "names": ["azcopy", "list", "{url}", "--output-type", "json"],
        "delete": ["azcopy", "remove", "{url}", "--output-level", "quiet"],
    },
}
# How the tools say that a folder is not there, or an object to be removed.
_ABSENT = ("matched no objects", "NoSuchKey", "404", "Not Found", "BlobNotFound", "cannot find")


class ToolRemote:
    """A store that its market's command line tool reaches."""

    def __init__(self, url: str, env: dict[str, str], timeout: float = 3_600.0) -> None:
        self._scheme, _, rest = url.rstrip("/").partition("://")
        self._env, self._timeout = env, timeout
        self._url = url.rstrip("/")
        if self._scheme == "az":
            account = env.get("AZURE_STORAGE_ACCOUNT", "")
            if not account:
                raise RemoteError(f"{url}: AZURE_STORAGE_ACCOUNT is not set")
            self._url = f"https://{account}.blob.core.windows.net/{rest}"

    def _run(self, call: str, name: str, file: str = "") -> str:
        url = f"{self._url}/{name}"
        command = [word.format(url=url, file=file) for word in _TOOLS[self._scheme][call]]
        try:
            run = subprocess.run(  # noqa: S603 - a fixed command, no shell
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RemoteError(f"{command[0]}: {error}") from error
        if run.returncode:
            said = (run.stderr or run.stdout).strip()[-500:]
            # `aws s3 ls` of an empty folder: code 1 and not a word.
            if any(word in said for word in _ABSENT) or (call == "names" and not said):
                raise FileNotFoundError(url)
            raise RemoteError(f"{command[0]} {call}: {said or f'exit code {run.returncode}'}")
        return run.stdout

    def put(self, source: Path, name: str) -> None:
        """Upload."""
        self._run("put", name, str(source))

    def get(self, name: str, target: Path) -> None:
        """Download."""
        try:
            self._run("get", name, str(target))
        except FileNotFoundError as error:
            raise RemoteError(f"{error}: not there") from error

    def names(self, folder: str) -> list[str]:
        """List."""
        try:
            lines = self._run("names", folder).splitlines()
        except FileNotFoundError:
            return []
        return sorted({_listed(self._scheme, line) for line in lines} - {""})

    def delete(self, name: str) -> None:
        """Remove."""
        try:
            self._run("delete", name)
        except FileNotFoundError:
            return


def _listed(scheme: str, line: str) -> str:
    """The object's last level in a line of a tool's listing; empty for other lines."""
    if scheme == "s3":
        # "2026-01-02 03:04:05   1234 name"; folders are "PRE name/".
        parts = line.split(None, 3)
        return parts[3] if len(parts) == 4 and parts[0] != "PRE" else ""
    if scheme == "gs":
        return "" if line.endswith(("/", ":")) else line.strip().rpartition("/")[2]
    try:
        said = json.loads(json.loads(line).get("MessageContent", "{}"))
    except ValueError:
        return ""
    return str(said.get("Path", "")).rpartition("/")[2] if isinstance(said, dict) else ""


_FSSPEC = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


def remote(url: str, env: dict[str, str]) -> Remote:
    """The place a URL names. env: what the job sees, which holds its credentials.

    Raises RemoteError for an unknown scheme, or where neither library nor tool is there.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "file" and rest.startswith("/"):
        return FileRemote(Path(rest))
    if not separator or scheme not in _TOOLS:
        raise RemoteError(f"{url}: expected file:///..., s3://..., gs://... or az://...")
    try:
        # The filesystem reads this process's environment, which a job's credentials never enter.
        if not _own_credentials(env):
            importlib.import_module(_FSSPEC[scheme])
            return FsspecRemote(url, importlib.import_module("fsspec").filesystem(scheme))
    except ImportError:
        pass
    tool = _TOOLS[scheme]["put"][0]
    if shutil.which(tool, path=env.get("PATH")) is None:
        raise RemoteError(f"{url}: neither {_FSSPEC[scheme]} nor {tool} is on this machine")
    return ToolRemote(url, env)


def _own_credentials(env: dict[str, str]) -> Sequence[str]:
    """Variables of the job that say who it is at a store."""
    heads = ("AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "AZCOPY_")
    return [n for n, v in env.items() if n.startswith(heads) and os.environ.get(n) != v]
