"""Downloads of public data sets: resumed, checked, whole or not there.

urllib, because one file at a time needs no event loop, the standard library follows redirects and
proxy settings, and a download must work before any optional package is installed.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from treasury.domain.errors import NotFound, TraceError, did_you_mean
from treasury_simulations.traces.catalogue import DATASETS, Dataset, RemoteFile

# Called with (name of the file, bytes there, bytes in all or None).
FetchProgress = Callable[[str, int, int | None], None]

SUMS_FILE: Final = "SHA256SUMS"
_CHUNK: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 30
# Attempts in a row that bring nothing new; a connection that keeps breaking but moves on may go on.
_ATTEMPTS: Final = 5
_PAUSES_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)
_OK: Final = 200
_PARTIAL: Final = 206
_RANGE_REFUSED: Final = 416
# Answers that the same request will get again.
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 410, 451})


class Fetched(msgspec.Struct, frozen=True):
    """A file that is there and whole. checked: "known" sum, "pinned" earlier, or "first use"."""

    path: Path
    sha256: str
    checked: str
    downloaded: bool


class _Broken(Exception):
    """A transfer that ended early; what came is kept."""


def find_dataset(name: str) -> Dataset:
    """A data set by its name. Raises NotFound with the names there are."""
    if name not in DATASETS:
        raise NotFound(f"no public data set {name!r}; {did_you_mean(name, DATASETS)}")
    return DATASETS[name]


def _silent(_name: str, _done: int, _total: int | None) -> None:
    """Report to nobody."""


def fetch(
    dataset: Dataset,
    folder: Path,
    *,
    sleep: Callable[[float], None],
    progress: FetchProgress = _silent,
) -> list[Fetched]:
    """Download all files of a data set into `folder`; those that are there and right are kept.

    sleep: waits some seconds between attempts (the caller's clock).
    Raises TraceError when a file cannot be had or its checksum differs from the known or pinned
    one (what came is kept beside it as `.bad`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_fetch_file(file, folder, progress, sleep) for file in dataset.files]
    except OSError as error:
        raise TraceError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _fetch_file(
    file: RemoteFile, folder: Path, progress: FetchProgress, sleep: Callable[[float], None]
) -> Fetched:
    path = folder / file.name
    pinned = read_sums(folder).get(file.name)
    expected = file.sha256 or pinned
    checked = "known" if file.sha256 else "pinned" if pinned else "first use"
    if path.exists():
        found = sha256_of(path)
        if expected is None or found == expected:
            _pin(folder, file.name, found)
            return Fetched(path, found, checked, downloaded=False)
        path.replace(_beside(path, ".bad"))
    part = _beside(path, ".part")
    _download(file, part, progress, sleep)
    found = sha256_of(part)
    if expected is not None and found != expected:
        bad = _beside(path, ".bad")
        part.replace(bad)
        origin = "known" if file.sha256 else f"pinned in {folder / SUMS_FILE}"
        raise TraceError(
            f"{file.url}: the checksum differs: sha256 {found}, the one {origin} is {expected}; "
            f"what came is kept as {bad}"
        )
    part.replace(path)
    _pin(folder, file.name, found)
    return Fetched(path, found, checked, downloaded=True)


def _download(
    file: RemoteFile, part: Path, progress: FetchProgress, sleep: Callable[[float], None]
) -> None:
    """Bring `part` to its full length, going on where earlier attempts (or runs) stopped."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(file, part, progress)
        except (OSError, http.client.HTTPException, _Broken) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code in _FINAL:
                raise TraceError(f"{file.url}: the server answers {error.code}") from error
            if isinstance(error, OSError) and error.filename == str(part):
                raise
            failures = failures + 1 if _size(part) <= before else 0
            if failures >= _ATTEMPTS:
                raise TraceError(
                    f"{file.url}: cannot be downloaded: {error}; {_size(part)} bytes are kept and "
                    "the next attempt goes on from there"
                ) from error
            sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)])
            continue
        if file.size is not None and _size(part) != file.size:
            bad = _beside(part.with_suffix(""), ".bad")
            part.replace(bad)
            raise TraceError(
                f"{file.url}: {_size(bad)} bytes came where {file.size} are known; kept as {bad}"
            )
        return


def _transfer(file: RemoteFile, part: Path, progress: FetchProgress) -> None:
    """One request. Returns when the file is whole; raises _Broken and the like when it is not."""
    have = _size(part)
    if have and have == file.size:
        return
    headers = {"User-Agent": "treasury", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        tag = _tag_file(part)
        if tag.exists():
            headers["If-Range"] = tag.read_text(encoding="ascii")
    request = urllib.request.Request(file.url, headers=headers)  # noqa: S310 - addresses are ours
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_REFUSED or not have:
            raise
        if _range_total(error.headers.get("Content-Range")) == have:
            return
        part.unlink()
        raise _Broken("the part kept from before is longer than the file") from error
    with response:
        resumed = response.status == _PARTIAL and _range_start(response) == have
        if response.status not in (_OK, _PARTIAL) or (response.status == _PARTIAL and not resumed):
            part.unlink(missing_ok=True)
            raise _Broken(f"the server answers {response.status} with another range")
        _keep_tag(part, response.headers.get("ETag"))
        length = response.headers.get("Content-Length")
        begun = have if resumed else 0
        total = begun + int(length) if length is not None and length.isdigit() else file.size
        done = begun
        with open(part, "ab" if resumed else "wb") as sink:
            while chunk := response.read(_CHUNK):
                _store(sink, chunk, part)
                done += len(chunk)
                progress(file.name, done, total)
            os.fsync(sink.fileno())
    if total is not None and done < total:
        raise _Broken(f"the connection broke after {done} of {total} bytes")
    _tag_file(part).unlink(missing_ok=True)


def _store(sink: BinaryIO, chunk: bytes, part: Path) -> None:
    """Write at once: a full disk is found here, and is no fault of the network."""
    try:
        sink.write(chunk)
        sink.flush()
    except OSError as error:
        raise TraceError(f"{part}: cannot be written: {error.strerror}") from error


def _keep_tag(part: Path, tag: str | None) -> None:
    """Keep a strong entity tag: a resumed download must not join two versions of a file."""
    if tag is not None and tag.isascii() and not tag.startswith("W/"):
        _tag_file(part).write_text(tag, encoding="ascii")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _range_start(response: http.client.HTTPResponse) -> int:
    """First byte of a 206 answer, -1 where it does not say."""
    value = response.headers.get("Content-Range", "")
    first = value.removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _range_total(value: str | None) -> int:
    total = (value or "").rpartition("/")[2]
    return int(total) if total.isdigit() else -1


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """The pinned sums of a folder: name -> sha256. The file has the form `sha256sum -c` reads."""
    path = folder / SUMS_FILE
    sums: dict[str, str] = {}
    if not path.exists():
        return sums
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise TraceError(f"{path}, line {number}: expected '<sha256>  <file name>'")
        sums[name] = digest
    return sums


def _pin(folder: Path, name: str, digest: str) -> None:
    sums = read_sums(folder)
    if sums.get(name) == digest:
        return
    sums[name] = digest
    new = folder / (SUMS_FILE + ".part")
    new.write_text(
        "".join(f"{sums[key]}  {key}\n" for key in sorted(sums)), encoding="utf-8", newline="\n"
    )
    new.replace(folder / SUMS_FILE)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _tag_file(part: Path) -> Path:
    return _beside(part, ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
