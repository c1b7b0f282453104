"""Chromium without a driver: commands and answers through a pair of pipes."""

import fcntl
import itertools
import json
import os
import select
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Debian, Fedora and upstream name it differently.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A browser that says nothing for so long is broken, not slow [s].
PATIENCE = 60
# A name that no resolver may answer, a proxy that nobody serves: whatever leaves, fails.
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=http://127.0.0.1:9")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """Chromium driven through a pair of pipes: no port, no driver, no library."""

    def __init__(self, program: str, profile: str, flags: Sequence[str] = OFFLINE) -> None:
        # The browser reads commands from descriptor 3 and writes answers to descriptor 4; ours are
        # moved out of the way first, so that the shell's redirections cannot close each other.
        ends = [*os.pipe(), *os.pipe()]
        theirs_in, self._commands, self._answers, theirs_out = (_moved(end) for end in ends)
        arguments = [program, *QUIET, *flags, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(arguments)} 3<&{theirs_in} 4>&{theirs_out}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread = b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            readable, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert readable, "the browser does not answer"
            piece = os.read(self._answers, 1 << 16)
            assert piece, "the browser is gone"
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def value(self, expression: str) -> Any:
        """What an expression (or the promise it makes) comes to in the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def view(self, url: str, *, width: int = 1400, scheme: str = "light") -> None:
        """Show a page. What it does from the first byte on is in `events`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=url)

    def close(self) -> None:
        """End the browser and wait for it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._answers)


def _moved(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(descriptor)
    return high


def complaints(browser: Browser) -> list[object]:
    """Errors and warnings of the page, and questions it asked the user."""
    found: list[object] = []
    for event in browser.events:
        method, parameters = event.get("method"), event.get("params", {})
        if method in {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}:
            found.append(parameters)
        if method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
            found.append(parameters["args"])
    return found


@contextmanager
def browsing(
    require: Callable[[object, str], None], flags: Sequence[str] = OFFLINE
) -> Iterator[Browser]:
    """A browser with a profile of its own; skips where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    require(program, f"no browser on PATH: one of {', '.join(NAMES)}")
    require(shutil.which("bash"), "no bash on PATH: it hands the browser its pipes")
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        started = Browser(program, profile, flags)
        yield started
        started.close()
