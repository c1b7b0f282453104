"""The door to Google: the SDK's clients in threads of our own, and plain REST for the price list.

The SDK has no asynchronous clients. Launches and releases have a pool apart from polling, so that
a slow price list never holds up a release. The SDK's own retries are off: they hide refusals.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from treasury.domain.errors import NotPermitted, Unreachable
from treasury.domain.time import MINUTE
from treasury.ports import Site
from treasury_providers.common.errors import translated
from treasury_providers.common.sdk import load_sdk
from treasury_providers.common.workers import Workers
from treasury_providers.gcp.errors import from_answer, from_sdk
from treasury_providers.gcp.settings import Settings

T = TypeVar("T")

# Of one HTTP call; the wait for a thread's answer is longer, so that the call ends first.
CALL_SECONDS: Final = 25.0
_WAIT_SECONDS: Final = 60.0
# Listings of a whole project take several pages in one go.
_PAGES_SECONDS: Final = 120.0
# Each pool has clients of its own, and their HTTP library keeps ten connections.
_LAUNCH_THREADS: Final = 10
_POLL_THREADS: Final = 8
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class Door:
    """Calls to Google, with every failure as a ProviderError."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self._settings, self._site = settings, site
        self._launching = Workers(f"{site.name}-launch", _LAUNCH_THREADS)
        self._polling = Workers(f"{site.name}-poll", _POLL_THREADS)
        self._lock = Lock()
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._session: Any = None
        self._date = ""

    @property
    def sdk(self) -> Any:
        """The module google.cloud.compute_v1."""
        return load_sdk("google.cloud.compute_v1", "gcp")

    async def change(self, client: str, method: str, request: Any) -> Any:
        """Call a method that changes something; its answer. Raises ProviderError."""

        def call() -> Any:
            return self._call("launch", client, method, request)

        with translated(self._site.clock, from_sdk, changes=True):
            return await self._launching.run(call, seconds=_WAIT_SECONDS, changes=True)

    async def follow(self, client: str, method: str, request: Any) -> Any:
        """Call a method that only asks, beside the launches it is about."""

        def call() -> Any:
            return self._call("launch", client, method, request)

        with translated(self._site.clock, from_sdk, changes=False):
            return await self._launching.run(call, seconds=_WAIT_SECONDS, changes=False)

    async def ask(self, client: str, method: str, request: Any) -> Any:
        """Call a method that only asks. Raises ProviderError."""

        def call() -> Any:
            return self._call("poll", client, method, request)

        return await self._poll(call, _WAIT_SECONDS)

    async def pages(
        self,
        client: str,
        method: str,
        request: Any,
        enough: Callable[[Any], bool] = lambda _page: False,
    ) -> list[Any]:
        """All pages of a listing, up to the first that is `enough`: complete, or it raises. A zone
        that Google could not reach is a hole in the listing, which it reports beside the rest."""

        def call() -> list[Any]:
            pages = []
            for page in self._call("poll", client, method, request).pages:
                _whole(page)
                pages.append(page)
                if enough(page):
                    break
            return pages

        return await self._poll(call, _PAGES_SECONDS)

    async def rest(self, url: str) -> Any:
        """A page that the compute SDK has no method for: the decoded answer, numbers as Decimal."""
        aiohttp = load_sdk("aiohttp", "gcp")
        token = await self._poll(self._token, _WAIT_SECONDS)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_PAGES_SECONDS, sock_connect=5, sock_read=30)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with self._session.get(url, headers=headers) as response:
                raw, status = await response.read(), response.status
                self._date = response.headers.get("Date", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{url.partition('?')[0]}: {type(error).__name__}") from None
        decoded = _decode(raw)
        if status >= 400:
            reasons, text = _problem(decoded)
            raise from_answer(status, reasons, text, self._site.clock.now(), changes=False)
        if not isinstance(decoded, dict):
            raise Unreachable(f"{url.partition('?')[0]}: the answer cannot be read")
        return decoded

    async def sign_in(self) -> str:
        """The project that the credentials belong to, where they say. Raises ProviderError."""

        def call() -> str:
            self._token()
            return str(getattr(self._credentials, "quota_project_id", "") or "")

        return await self._poll(call, _WAIT_SECONDS)

    async def date(self) -> str:
        """The `Date` of an answer: what time it is there. Raises ProviderError."""
        project = self._settings.project
        await self.rest(f"{self._settings.endpoint}/compute/v1/projects/{project}")
        return self._date

    async def close(self) -> None:
        """Take no more calls; those that run come to their own end."""
        self._launching.close()
        self._polling.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.transport.close()

    async def _poll(self, call: Callable[[], T], seconds: float) -> T:
        with translated(self._site.clock, from_sdk, changes=False):
            return await self._polling.run(call, seconds=seconds, changes=False)

    def _call(self, pool: str, client: str, method: str, request: Any) -> Any:
        """In a thread of a pool: the SDK's method, once."""
        found = self._client(pool, client)
        return getattr(found, method)(request, timeout=CALL_SECONDS, retry=None)

    def _client(self, pool: str, name: str) -> Any:
        key = f"{pool}/{name}"
        with self._lock:
            if key not in self._clients:
                kind = getattr(self.sdk, name, None)
                if kind is None:
                    raise NotPermitted(f"this google-cloud-compute has no {name}: update it")
                self._clients[key] = kind(
                    credentials=self._sign_in(),
                    client_options={"api_endpoint": self._settings.endpoint},
                )
            return self._clients[key]

    def _sign_in(self) -> Any:
        """In a thread, under the lock: credentials are looked for on disk and on the network."""
        if self._credentials is None:
            if self._settings.token_file:
                path, now = Path(self._settings.token_file), self._site.clock.now
                self._credentials = _token_file(path, now)
            else:
                auth = load_sdk("google.auth", "gcp")
                self._credentials, _ = auth.default(scopes=_SCOPES)
        return self._credentials

    def _token(self) -> str:
        from google.auth.transport.requests import Request

        with self._lock:
            credentials = self._sign_in()
            if not credentials.valid:
                credentials.refresh(Request())
            return str(credentials.token)


def _token_file(path: Path, now: Callable[[], int]) -> Any:
    """Credentials whose token somebody else keeps fresh in a file."""
    from google.auth.credentials import Credentials

    class TokenFile(Credentials):
        """Reads the file again for each call."""

        @property
        def valid(self) -> bool:
            """Never taken for granted: the file may have changed."""
            return False

        def refresh(self, _request: Any) -> None:
            """The file's present content. Raises NotPermitted when it cannot be read."""
            try:
                self.token = path.read_text(encoding="utf-8").strip()
            except OSError as error:
                text = f"token_file: {error.strerror}"
                raise NotPermitted(text, until=now() + MINUTE) from error

    made: Callable[[], Any] = TokenFile
    return made()


def _whole(page: Any) -> None:
    """Raise Unreachable for a page with a hole."""
    missing = [str(zone) for zone in page.unreachables]
    for scope, scoped in dict(page.items).items():
        code = str(scoped.warning.code or "")
        if code and code != "NO_RESULTS_ON_PAGE":
            missing.append(f"{scope} ({code})")
    if missing:
        raise Unreachable(f"the listing has holes: {', '.join(sorted(missing)[:5])}")


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_float=Decimal) if raw else {}
    except ValueError:
        return None


def _problem(decoded: Any) -> tuple[list[str], str]:
    error = decoded.get("error") if isinstance(decoded, dict) else None
    if not isinstance(error, dict):
        return [], ""
    reasons = [
        str(item["reason"])
        for item in error.get("errors", [])
        if isinstance(item, dict) and "reason" in item
    ]
    return reasons, str(error.get("message", ""))
