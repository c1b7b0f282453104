"""Notices: the market's warning that it takes the machine, from the service each market has.

AWS    IMDSv2: a token, then `spot/instance-action`; `recommendations/rebalance` is advice
Azure  scheduled events of kind Preempt or Terminate; acknowledged when the work is saved
GCP    `instance/preempted`, a request that hangs until the answer changes
file   the instant [ns] in a file, as the local provider writes it

Each watcher is `poll() -> Notice | Advice | None`, called over and over in a thread of its own.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

from treasury.node.files import read_small

SECOND = 1_000_000_000
# What a market says at least when it does not say when.
_SHORTEST = 30 * SECOND
_MOST = 65_536
_TOKEN_S = 21_600
_HANG_S = 60


@dataclass(frozen=True)
class Notice:
    """The machine is taken at `ends_at` [ns UTC]. event: what to acknowledge, if anything."""

    ends_at: int
    event: str = ""


@dataclass(frozen=True)
class Advice:
    """The machine is likelier to be taken than before: a good moment for a checkpoint."""


class Watcher(Protocol):
    """A market's way of warning. pause: seconds between polls."""

    pause: float

    def poll(self) -> Notice | Advice | None:
        """Ask once. Raises OSError or ValueError where there is no answer."""

    def acknowledge(self, event: str) -> None:
        """The work is saved: the market may begin."""


class _Straight(urllib.request.HTTPRedirectHandler):
    """The metadata service is one hop away; whoever redirects is somebody else."""

    def redirect_request(self, *arguments: Any) -> None:
        """Follow nothing."""
        del arguments


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Straight())


def _ask(
    url: str, headers: Mapping[str, str], method: str = "GET", body: bytes | None = None,
    timeout: float = 5.0,
) -> str | None:  # fmt: skip
    """The answer's text; None for 404."""
    request = urllib.request.Request(  # noqa: S310 - the address is the operator's
        url, data=body, headers=dict(headers), method=method
    )
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            text: str = answer.read(_MOST).decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return None
            raise


def _instant(text: str) -> int:
    """The instant [ns UTC] of ISO 8601 with Z, or of an RFC 1123 date. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # noqa: FURB162 - before 3.11
    except ValueError:
        moment = parsedate_to_datetime(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)  # noqa: UP017 - datetime.UTC is of 3.11
    return int(moment.timestamp()) * SECOND


class Aws:
    """EC2: `spot/instance-action` through IMDSv2."""

    pause = 5.0

    def __init__(self, wall: Callable[[], int], url: str = "") -> None:
        self._wall, self._url = wall, url or "http://169.254.169.254"
        self._token = ""
        self._advised = False

    def _get(self, path: str) -> str | None:
        for _ in range(2):
            if not self._token:
                headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
                self._token = _ask(f"{self._url}/latest/api/token", headers, "PUT", b"") or ""
            try:
                return _ask(
                    f"{self._url}/latest/meta-data/{path}",
                    {"X-aws-ec2-metadata-token": self._token},
                )
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
                # The token has run out.
                self._token = ""
        return None

    def poll(self) -> Notice | Advice | None:
        """Ask for an action, then for advice."""
        text = self._get("spot/instance-action")
        if text:
            action = json.loads(text)
            return Notice(_instant(str(action["time"])))
        if not self._advised and self._get("events/recommendations/rebalance"):
            self._advised = True
            return Advice()
        return None

    def acknowledge(self, event: str) -> None:
        """EC2 does not wait for anybody."""


class Azure:
    """Azure: scheduled events that name this machine."""

    pause = 1.0
    _EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
    _NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"

    def __init__(self, wall: Callable[[], int], url: str = "") -> None:
        self._wall, self._url = wall, url or "http://169.254.169.254"
        self._name = ""

    def poll(self) -> Notice | Advice | None:
        """Ask for events. The first request turns the service on and may take two minutes."""
        headers = {"Metadata": "true"}
        if not self._name:
            self._name = (_ask(self._url + self._NAME, headers) or "").strip()
        text = _ask(self._url + self._EVENTS, headers, timeout=120.0)
        for event in json.loads(text or "{}").get("Events", []):
            if event.get("EventType") not in ("Preempt", "Terminate"):
                continue
            if self._name and self._name not in event.get("Resources", []):
                continue
            before = str(event.get("NotBefore") or "")
            # A started event has no instant any more.
            ends_at = _instant(before) if before else self._wall() + _SHORTEST
            return Notice(ends_at, str(event["EventId"]))
        return None

    def acknowledge(self, event: str) -> None:
        """Let the event begin: what is not needed any more is not paid for."""
        body = json.dumps({"StartRequests": [{"EventId": event}]}).encode()
        _ask(self._url + self._EVENTS, {"Metadata": "true"}, "POST", body)


class Gcp:
    """Compute Engine: `instance/preempted`."""

    # The request itself hangs.
    pause = 0.0

    def __init__(self, wall: Callable[[], int], url: str = "", hang_s: int = _HANG_S) -> None:
        self._wall, self._hang_s = wall, hang_s
        self._url = url or "http://metadata.google.internal"

    def poll(self) -> Notice | Advice | None:
        """Wait for a change, for a while."""
        query = f"wait_for_change=true&timeout_sec={self._hang_s}"
        if not self._asked:
            # The first answer is the present one: it may have changed before we came.
            query = "alt=text"
        path = f"/computeMetadata/v1/instance/preempted?{query}"
        text = _ask(self._url + path, {"Metadata-Flavor": "Google"}, timeout=self._hang_s + 10.0)
        self._asked = True
        if (text or "").strip().upper() == "TRUE":
            return Notice(self._wall() + _SHORTEST)
        return None

    _asked = False

    def acknowledge(self, event: str) -> None:
        """Compute Engine does not wait for anybody."""


class NoticeFile:
    """A file whose appearance is the notice. It holds the instant [ns UTC], or nothing."""

    pause = 0.1

    def __init__(self, wall: Callable[[], int], path: str) -> None:
        self._wall, self._path = wall, Path(path)

    def poll(self) -> Notice | Advice | None:
        """Look."""
        text = read_small(self._path)
        if text is None:
            return None
        known = text.isascii() and text.isdigit() and len(text) < 20
        return Notice(int(text) if known else self._wall() + _SHORTEST)

    def acknowledge(self, event: str) -> None:
        """Nobody waits."""


MARKETS: dict[str, Callable[[Callable[[], int], str], Watcher]] = {
    "aws": Aws,
    "azure": Azure,
    "gcp": Gcp,
}


def watch(watcher: Watcher, hear: Callable[[Watcher, Notice | Advice], None]) -> None:
    """Poll in a thread until a notice was heard. A service that is away is asked again, later."""

    def follow() -> None:
        pause = threading.Event()
        wait = watcher.pause
        while True:
            try:
                told = watcher.poll()
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                wait = min(60.0, max(1.0, wait * 2))
            else:
                wait = watcher.pause
                if told is not None:
                    hear(watcher, told)
                if isinstance(told, Notice):
                    return
            pause.wait(wait)

    threading.Thread(target=follow, daemon=True).start()
