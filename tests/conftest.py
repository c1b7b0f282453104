"""What every test has: determinism, closed sockets, and skips that can be forbidden."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

# The fixture `database`: an empty one of each kind.
pytest_plugins = ["tests.support.postgres"]

# The same examples each time, no time limit on any, nothing remembered between runs.
settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")

# Folders whose tests talk to real counterparts; everywhere else a socket is a mistake.
OPEN_FOLDERS = ("contract", "e2e")

Require = Callable[[object, str], None]


def _require(condition: object, reason: str) -> None:
    """Skip unless `condition`; with TREASURY_REQUIRE_ALL=1 a missing counterpart is a failure."""
    if condition:
        return
    if os.environ.get("TREASURY_REQUIRE_ALL") == "1":
        pytest.fail(f"required by TREASURY_REQUIRE_ALL: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(condition, reason)`: go on only where the counterpart is there."""
    return _require


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference traces that TREASURY_SHARED names."""
    folder = os.environ.get("TREASURY_SHARED", "")
    _require(folder, "TREASURY_SHARED is unset: it names the folder of reference traces")
    path = Path(folder)
    _require(path.is_dir(), f"TREASURY_SHARED={folder} is not a folder")
    return path


@pytest.fixture(autouse=True)
def _closed_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not about the network may not reach one."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in OPEN_FOLDERS or request.node.get_closest_marker("sockets"):
        return

    def guarded(name: str) -> Callable[..., Any]:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *arguments: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                _refuse(name)
            return original(self, *arguments)

        return call

    for name in ("bind", "connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(name))


def _refuse(name: str) -> NoReturn:
    pytest.fail(f"socket.{name}: only tests in {', '.join(OPEN_FOLDERS)} may use the network")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's settings for colour and width do not reach the output under test."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
