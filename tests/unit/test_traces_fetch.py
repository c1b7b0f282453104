"""Downloads against a server that misbehaves: resumed, checked, whole or not there."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from treasury.domain.errors import NotFound, TraceError
from treasury_simulations.traces.catalogue import DATASETS, Dataset, RemoteFile
from treasury_simulations.traces.fetch import SUMS_FILE, fetch, find_dataset
from treasury_simulations.traces.importers import IMPORTERS

pytestmark = pytest.mark.sockets

CONTENT = bytes(range(256)) * 2_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path; the attributes say how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.tag = '"one"'
        self.ranges = True
        self.wrong_range = False
        self.status = 0
        # Bytes after which the connection is cut, an entry an answer; later answers are whole.
        self.cuts: list[int] = []
        # Range headers asked for, "" for none.
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """The address of the file."""
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class Handler(BaseHTTPRequestHandler):
    """GET with ranges, entity tags, cuts and errors."""

    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer as the server's attributes say."""
        server = self.server
        asked = self.headers.get("Range", "")
        server.asked.append(asked)
        content, start, status = server.content, 0, 200
        tag = self.headers.get("If-Range", server.tag)
        if asked and server.ranges and tag == server.tag:
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
        if server.wrong_range:
            status = 206
        if server.status:
            status = server.status
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = content[start:]
        self.send_response(status)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            at = 7 if server.wrong_range else start
            self.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[:cut])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server on loopback, reached without any proxy."""
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def dataset(server: Server, sha256: str | None = None, size: int | None = None) -> Dataset:
    """A data set of one file on the server."""
    file = RemoteFile(url=server.url, name="data.bin", sha256=sha256, size=size)
    return Dataset(name="test", summary="", licence="CC0", attribution="", kind="", files=(file,))


def no_wait(_seconds: float) -> None:
    """Pause for no time."""


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_whole_and_pinned(server: Server, tmp_path: Path) -> None:
    """The first download records its sum in the form `sha256sum -c` reads; nothing else is left."""
    found = fetch(dataset(server), tmp_path / "new", sleep=no_wait)[0]
    assert found.path.read_bytes() == CONTENT
    assert (found.sha256, found.checked, found.downloaded) == (DIGEST, "first use", True)
    assert (tmp_path / "new" / SUMS_FILE).read_text() == f"{DIGEST}  data.bin\n"
    assert names(tmp_path / "new") == [SUMS_FILE, "data.bin"]


def test_a_whole_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    """What is there and has the pinned sum stays; the server is not asked."""
    fetch(dataset(server), tmp_path, sleep=no_wait)
    found = fetch(dataset(server), tmp_path, sleep=no_wait)[0]
    assert (found.checked, found.downloaded) == ("pinned", False)
    assert len(server.asked) == 1


def test_cut_connections_are_resumed(server: Server, tmp_path: Path) -> None:
    """After each cut only the missing bytes are asked for."""
    server.cuts = [100_000, 0, 200_000]
    found = fetch(dataset(server, DIGEST, len(CONTENT)), tmp_path, sleep=no_wait)[0]
    assert found.path.read_bytes() == CONTENT
    assert found.checked == "known"
    assert server.asked == ["", "bytes=100000-", "bytes=100000-", "bytes=300000-"]


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    """A server that brings nothing new five times is given up; what came is kept."""
    pauses: list[float] = []
    server.cuts = [5_000, 0, 0, 0, 0, 0]
    with pytest.raises(TraceError, match=r"broke after 5000 of .*; 5000 bytes are kept"):
        fetch(dataset(server), tmp_path, sleep=pauses.append)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert not (tmp_path / "data.bin").exists()
    fetch(dataset(server), tmp_path, sleep=no_wait)
    assert server.asked[-1] == "bytes=5000-"
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_progress_counts_from_what_is_there(server: Server, tmp_path: Path) -> None:
    """Progress rises to the file's length over all attempts together."""
    server.cuts = [100_000]
    seen: list[tuple[int, int | None]] = []
    fetch(
        dataset(server),
        tmp_path,
        sleep=no_wait,
        progress=lambda _name, done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in seen} == {len(CONTENT)}


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    """The whole file sent in answer to a range replaces the part."""
    server.ranges = False
    server.cuts = [100_000]
    fetch(dataset(server), tmp_path, sleep=no_wait)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_changed_file_is_not_joined_to_the_old_part(server: Server, tmp_path: Path) -> None:
    """When the entity tag differs the download starts over with the new version."""
    server.cuts = [100_000, 0, 0, 0, 0, 0]
    with pytest.raises(TraceError, match="are kept"):
        fetch(dataset(server), tmp_path, sleep=no_wait)
    server.content, server.tag = CONTENT[::-1], '"two"'
    fetch(dataset(server), tmp_path, sleep=no_wait)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    """A run that died before the last rename costs no second download."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    fetch(dataset(server, DIGEST), tmp_path, sleep=no_wait)
    assert names(tmp_path) == [SUMS_FILE, "data.bin"]
    (tmp_path / "data.bin").rename(tmp_path / "data.bin.part")
    fetch(dataset(server, DIGEST, len(CONTENT)), tmp_path, sleep=no_wait)
    assert len(server.asked) == 1


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    """A part that cannot belong to the file is not kept."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    fetch(dataset(server, DIGEST), tmp_path, sleep=no_wait)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("known", [True, False])
def test_wrong_bytes_are_refused_and_kept_aside(
    server: Server, tmp_path: Path, known: bool
) -> None:
    """Other bytes than the known or pinned sum says are an error; they are kept as `.bad`."""
    if not known:
        (tmp_path / SUMS_FILE).write_text(f"{DIGEST}  data.bin\n")
    server.content = b"x" * len(CONTENT)
    where = "known" if known else f"pinned in .*{SUMS_FILE}"
    with pytest.raises(TraceError, match=rf"checksum differs: .*the one {where} is {DIGEST}"):
        fetch(dataset(server, DIGEST if known else None), tmp_path, sleep=no_wait)
    assert (tmp_path / "data.bin.bad").read_bytes() == server.content
    assert not (tmp_path / "data.bin").exists()
    assert not (tmp_path / "data.bin.part").exists()


def test_a_file_that_changed_on_the_disk_is_set_aside(server: Server, tmp_path: Path) -> None:
    """A local file that no longer has its sum is kept as `.bad` and downloaded again."""
    fetch(dataset(server), tmp_path, sleep=no_wait)
    (tmp_path / "data.bin").write_bytes(b"mine")
    assert fetch(dataset(server), tmp_path, sleep=no_wait)[0].downloaded
    assert (tmp_path / "data.bin.bad").read_bytes() == b"mine"
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_wrong_size_is_refused(server: Server, tmp_path: Path) -> None:
    """A size that is known is checked even where no sum is."""
    with pytest.raises(TraceError, match="512000 bytes came where 5 are known"):
        fetch(dataset(server, size=5), tmp_path, sleep=no_wait)
    assert names(tmp_path) == ["data.bin.bad"]


def test_final_answers_are_not_repeated(server: Server, tmp_path: Path) -> None:
    """404 is told at once; 503 is asked again a few times first."""
    server.status = 404
    with pytest.raises(TraceError, match="the server answers 404"):
        fetch(dataset(server), tmp_path, sleep=no_wait)
    assert len(server.asked) == 1
    server.status = 503
    with pytest.raises(TraceError, match=r"cannot be downloaded: .*503"):
        fetch(dataset(server), tmp_path, sleep=no_wait)
    assert len(server.asked) == 6


def test_a_range_nobody_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    """Bytes from another place are never taken for those that are missing."""
    server.wrong_range = True
    with pytest.raises(TraceError, match="206 with another range"):
        fetch(dataset(server), tmp_path, sleep=no_wait)
    assert not (tmp_path / "data.bin").exists()


def test_an_unwritable_folder_is_a_user_error(server: Server, tmp_path: Path) -> None:
    """A file in the place of the folder is named."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(TraceError, match=r"taken: cannot be written"):
        fetch(dataset(server), tmp_path / "taken", sleep=no_wait)
    assert server.asked == []


def test_a_spoilt_list_of_sums_is_a_user_error(server: Server, tmp_path: Path) -> None:
    """A pin that cannot be read is never ignored."""
    (tmp_path / SUMS_FILE).write_text("nonsense\n")
    with pytest.raises(TraceError, match=f"{SUMS_FILE}, line 1: expected"):
        fetch(dataset(server), tmp_path, sleep=no_wait)


def test_the_registry_is_complete() -> None:
    """Every entry has a licence, encrypted addresses that name a commit, and a kind that exists."""
    for entry in DATASETS.values():
        assert entry.licence
        assert entry.attribution
        assert not entry.kind or entry.kind in IMPORTERS
        assert len({file.name for file in entry.files}) == len(entry.files) > 0
        for file in entry.files:
            assert file.url.startswith("https://github.com/")
            commit = file.url.split("/raw/")[1].split("/")[0]
            assert len(commit) >= 7
            assert int(commit, 16) >= 0
    with pytest.raises(NotFound, match='did you mean "philly-jobs"'):
        find_dataset("phily-jobs")
