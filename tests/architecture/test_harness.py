"""The tests' own promises: closed sockets, skips that can be forbidden, warnings that fail."""

import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

Require = Callable[[object, str], None]


def test_a_missing_counterpart_skips(require: Require, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine lacks skips with its reason; what it has lets the test go on."""
    monkeypatch.delenv("TREASURY_REQUIRE_ALL", raising=False)
    require(Path(__file__), "this file is there")
    with pytest.raises(pytest.skip.Exception, match="no chromium"):
        require(None, "no chromium")


def test_a_skip_can_be_forbidden(require: Require, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TREASURY_REQUIRE_ALL=1 a missing counterpart fails the test."""
    monkeypatch.setenv("TREASURY_REQUIRE_ALL", "1")
    require(Path(__file__), "this file is there")
    with pytest.raises(pytest.fail.Exception, match="no chromium"):
        require("", "no chromium")


def test_the_network_is_closed() -> None:
    """A test outside contract and e2e that reaches for the network fails, loopback included."""
    with socket.socket() as caller, pytest.raises(pytest.fail.Exception, match=r"socket\.connect"):
        caller.connect(("127.0.0.1", 9))
    with socket.socket() as listener, pytest.raises(pytest.fail.Exception, match=r"socket\.bind"):
        listener.bind(("127.0.0.1", 0))


@pytest.mark.sockets
def test_the_marker_opens_it() -> None:
    """A test marked `sockets` may listen on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert listener.getsockname()[0] == "127.0.0.1"


def test_warnings_fail() -> None:
    """A warning nobody asked for is an error."""
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_generated_cases_are_the_same_each_time() -> None:
    """Property tests draw the same examples in every run and are not judged by speed."""
    assert settings.default is not None
    assert settings.default.derandomize
    assert settings.default.deadline is None
