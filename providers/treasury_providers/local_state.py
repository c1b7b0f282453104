"""What is known of this host's machines, in files that outlive whoever wrote them.

    grants/<token>.json           a request that was granted: written once, before anything starts
    machines/<token>-<index>/     a machine
        boot                      the start script it was given
        lock                      locked by the machine's first process for as long as it lives
        process.json              that process, written once: a machine boots once
        bid                       the present bid, replaced as a whole
        notice                    when the market takes it [ns], written once, for all to see
        ended.json                when and why it ended, written once: the first to say so is right
        home/                     its disk, gone with it

Each file is complete or absent, in whatever instant anybody is killed.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from treasury.domain.commands import Acquire
from treasury_providers.local_market import PricePath

T = TypeVar("T", bound=msgspec.Struct)
# The variable by which the processes of a machine are told from all others. Its name must not
# begin with TREASURY_: the node agent keeps those from the jobs.
MARK: Final = "LOCAL_SLOT"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A granted request. rate: nano-USD/h for each machine, for good. zone: empty where the market
    never takes machines back. reclaims: when [ns] it takes each one, whatever the price. notice:
    its warning [ns]. step, minimum: what is billed is rounded up to [ns]."""

    request: Acquire
    granted_at: int
    rate: int
    zone: str
    path: PricePath
    reclaims: tuple[int, ...]
    notice: int
    step: int
    minimum: int


class Process(msgspec.Struct, frozen=True):
    """A machine's first process."""

    pid: int
    started_at: int


class Ended(msgspec.Struct, frozen=True):
    """A machine that is gone: billing ended at `at` [ns]."""

    at: int
    cause: str


class Machine:
    """The files of one machine. name: what the market calls it."""

    def __init__(self, root: Path, grant: Grant, index: int) -> None:
        self.root, self.grant, self.index = root, grant, index
        self.lease = grant.request.leases[index]
        self.name = f"{grant.request.token}-{index}"
        self.folder = root / "machines" / self.name
        self.home = self.folder / "home"
        self.notice = self.folder / "notice"

    def ended(self) -> Ended | None:
        """When and why it ended, None while it has not."""
        return _read(self.folder / "ended.json", Ended)

    def end(self, at: int, cause: str) -> Ended:
        """Say that it ended; an earlier word stands. Its disk goes. Every process of it must be
        dead."""
        _write_once(self.folder / "ended.json", msgspec.json.encode(Ended(at, cause)))
        shutil.rmtree(self.home, ignore_errors=True)
        said = self.ended()
        return Ended(at, cause) if said is None else said

    def prepare(self, boot: str) -> None:
        """Make its directory with the start script."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(self.folder / "boot", boot.encode())

    def process(self) -> Process | None:
        """Its first process, None before it has begun."""
        return _read(self.folder / "process.json", Process)

    def begin(self, process: Process) -> None:
        """Say which process is its first."""
        _write_once(self.folder / "process.json", msgspec.json.encode(process))

    def noticed(self) -> int | None:
        """When the market takes it [ns], None before it has said so."""
        return _read_number(self.notice)

    def warn(self, ends_at: int) -> None:
        """Say that the market takes it at an instant [ns]."""
        _write_once(self.notice, str(ends_at).encode())

    @property
    def bid(self) -> int:
        """The most that is paid for it [nano-USD/h]."""
        bid = _read_number(self.folder / "bid")
        return self.grant.request.bid if bid is None else bid

    @bid.setter
    def bid(self, bid: int) -> None:
        _replace(self.folder / "bid", str(bid).encode())

    def lock(self) -> int | None:
        """Become this machine's first process until the end, by whatever; None where another one
        is. Returns a descriptor that the children do not inherit."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def alive(self) -> bool:
        """Whether its first process, which must have begun, still lives: it holds the lock. A
        number can be another process's by now, a lock cannot."""
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False


class State:
    """All grants and machines under a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("grants", "machines"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def grant(self, token: str) -> Grant | None:
        """What was granted to a token."""
        return _read(self.root / "grants" / f"{token}.json", Grant)

    def write(self, grant: Grant) -> None:
        """Grant a request: from here on its machines exist."""
        path = self.root / "grants" / f"{grant.request.token}.json"
        _write_once(path, msgspec.json.encode(grant))

    def machines(self) -> Iterator[Machine]:
        """Every machine that was granted and is not yet forgotten, oldest grant first."""
        files = (self.root / "grants").glob("*.json")
        grants = [grant for path in files if (grant := _read(path, Grant)) is not None]
        for grant in sorted(grants, key=lambda grant: (grant.granted_at, grant.request.leases)):
            for index in range(len(grant.request.leases)):
                yield Machine(self.root, grant, index)

    def forget(self, grant: Grant) -> None:
        """Remove all that is known of a request whose machines are gone."""
        (self.root / "grants" / f"{grant.request.token}.json").unlink(missing_ok=True)
        for index in range(len(grant.request.leases)):
            shutil.rmtree(Machine(self.root, grant, index).folder, ignore_errors=True)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return None


def _aside(path: Path, data: bytes) -> Path:
    """A complete file beside a path, on the disk and not only on its way there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return aside


def _replace(path: Path, data: bytes) -> None:
    _aside(path, data).replace(path)


def _write_once(path: Path, data: bytes) -> None:
    """Write a file unless it is there: a link, unlike a rename, never replaces one."""
    aside = _aside(path, data)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)


__all__ = ["MARK", "Ended", "Grant", "Machine", "Process", "State"]
