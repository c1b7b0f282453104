"""The door to Azure: one SDK client, one HTTP session for plain REST, one way to sign in.

Opened when first used, so that making an adapter sends nothing. The SDK's own retries are off: they
hide refusals, and who retries what is the agent's to decide.
"""

import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from treasury.domain.errors import NotPermitted, Unreachable
from treasury.domain.time import MINUTE
from treasury.ports import Site
from treasury_providers.azure.errors import from_answer, from_sdk
from treasury_providers.azure.settings import Settings, is_loopback
from treasury_providers.common.errors import translated
from treasury_providers.common.sdk import load_sdk

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
_SCOPE: Final = "https://management.azure.com/.default"


class Door:
    """Calls to Azure, with every failure as a ProviderError."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self._settings, self._site = settings, site
        self._compute: Any = None
        self._session: Any = None
        self._credential: Any = None
        self._date = ""

    @property
    def compute(self) -> Any:
        """The SDK's ComputeManagementClient (azure.mgmt.compute.aio)."""
        if self._compute is None:
            sdk = load_sdk("azure.mgmt.compute.aio", "azure")
            settings = self._settings
            extra: dict[str, Any] = {}
            if is_loopback(settings.endpoint):
                # The SDK sends no token over plain http; a counterpart on this host needs one.
                extra["authentication_policy"] = _plain_policy(self._sign_in())
            self._compute = sdk.ComputeManagementClient(
                self._sign_in(),
                settings.subscription,
                base_url=settings.endpoint,
                retry_total=0,
                connection_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                **extra,
            )
        return self._compute

    async def token(self) -> str:
        """An access token for Resource Manager. Raises ProviderError."""
        with translated(self._site.clock, from_sdk, changes=False):
            answer = await self._sign_in().get_token(_SCOPE)
        return str(answer.token)

    async def arm(
        self, method: str, path: str, *, version: str, body: object = None, query: str = ""
    ) -> Any:
        """A call of Resource Manager that the compute SDK has no method for: the decoded answer."""
        url = f"{self._settings.endpoint}{path}?api-version={version}{query}"
        headers = {"Authorization": f"Bearer {await self.token()}"}
        return await self._call(method, url, headers, body)

    async def anonymous(self, url: str) -> Any:
        """A public page: the decoded answer, numbers as Decimal."""
        return await self._call("GET", url, {}, None)

    async def pages(self, items: Any) -> AsyncIterator[Any]:
        """The items of an SDK listing, page by page, or a ProviderError."""
        pages = aiter(items)
        while True:
            with translated(self._site.clock, from_sdk, changes=False):
                try:
                    item = await anext(pages)
                except StopAsyncIteration:
                    return
            yield item

    async def date(self, path: str) -> str:
        """The `Date` of an answer: what time it is there."""
        await self.arm("GET", path, version="2022-12-01")
        return self._date

    async def close(self) -> None:
        """Close connections; opened again when needed."""
        compute, session, credential = self._compute, self._session, self._credential
        self._compute = self._session = self._credential = None
        for opened in (compute, session, credential):
            if opened is not None:
                await opened.close()

    async def _call(self, method: str, url: str, headers: Mapping[str, str], body: object) -> Any:
        aiohttp = load_sdk("aiohttp", "azure")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=2 * READ_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
            )
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=4), trust_env=True
            )
        with translated(self._site.clock, from_sdk, changes=False):
            async with self._session.request(method, url, headers=headers, json=body) as response:
                raw = await response.read()
                status, answered = response.status, dict(response.headers)
                self._date = answered.get("Date", "")
        decoded = _decode(raw)
        if status >= 400:
            code, text = _problem(decoded)
            raise from_answer(status, code, text, answered, self._site.clock.now(), changes=False)
        if decoded is None:
            raise Unreachable(f"{url.partition('?')[0]}: the answer cannot be read")
        return decoded

    def _sign_in(self) -> Any:
        if self._credential is None:
            if self._settings.token_file:
                self._credential = TokenFile(Path(self._settings.token_file), self._site)
            else:
                identity = load_sdk("azure.identity.aio", "azure")
                self._credential = identity.DefaultAzureCredential()
        return self._credential


class TokenFile:
    """A credential whose token somebody else keeps fresh in a file, as workload identities do."""

    def __init__(self, path: Path, site: Site) -> None:
        self._path, self._site = path, site

    async def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """The file's present content. Raises NotPermitted when it cannot be read."""
        from azure.core.credentials import AccessToken

        now = self._site.clock.now()
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NotPermitted(f"token_file: {error.strerror}", until=now + MINUTE) from error
        # Short-lived on purpose: the file is read again soon.
        return AccessToken(text, now // 1_000_000_000 + 60)

    async def close(self) -> None:
        """Nothing is kept open."""


def _plain_policy(credential: Any) -> Any:
    from azure.core.pipeline.policies import AsyncHTTPPolicy

    class Plain(AsyncHTTPPolicy):  # type: ignore[type-arg] # generic only while type-checking
        """Signs requests that stay on this host."""

        async def send(self, request: Any) -> Any:
            token = await credential.get_token(_SCOPE)
            request.http_request.headers["Authorization"] = f"Bearer {token.token}"
            return await self.next.send(request)

    return Plain()


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_float=Decimal) if raw else {}
    except ValueError:
        return None


def _problem(decoded: Any) -> tuple[str, str]:
    error = decoded.get("error") if isinstance(decoded, dict) else None
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("code", "")), str(error.get("message", ""))
