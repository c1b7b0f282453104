"""Every call to AWS goes through here: clients made once, threads of our own, time limits, errors.

The SDK's own retries are off: they would ask a dry pool again in silence, and wait for seconds in
a thread; who calls decides what to ask again.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from treasury.domain.time import SECOND
from treasury.ports import Site
from treasury_providers.aws.errors import translate
from treasury_providers.aws.rows import read_faster
from treasury_providers.aws.settings import Settings
from treasury_providers.common.sdk import load_sdk
from treasury_providers.common.workers import Workers

# Beyond the SDK's own limits: a thread that answers late is let go.
_GRACE_SECONDS: Final = 5.0
_READ_SECONDS: Final = 20
_LAUNCH: Final = "launch"


class Calls:
    """Clients by (service, region, purpose). Launches and releases have threads apart from polls.

    pool "launch" is for calls that make or end machines, "poll" for questions, "listen" for queues.
    """

    def __init__(self, settings: Settings, site: Site) -> None:
        self._settings, self._site = settings, site
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._session: Any = None
        self._lock = threading.Lock()
        name, regions = f"{site.name}", len(settings.regions)
        self._pools = {
            _LAUNCH: Workers(f"{name}-launch", 8),
            "poll": Workers(f"{name}-poll", 8),
            "listen": Workers(f"{name}-listen", max(1, regions)),
        }

    async def run(
        self,
        service: str,
        region: str,
        use: Callable[[Any], Any],
        *,
        pool: str = "poll",
        seconds: float = 60.0,
    ) -> Any:
        """What `use(client)` returns, run in a thread. Raises ProviderError.

        seconds: for all of it; a question of many pages takes its time.
        """
        changes = pool == _LAUNCH
        if changes:
            seconds = self._settings.timeout / SECOND + _GRACE_SECONDS

        def call() -> Any:
            return use(self._client(service, region, pool))

        try:
            return await self._pools[pool].run(call, seconds=seconds, changes=changes)
        except Exception as error:
            failure = translate(error, self._site.clock.now(), changes=changes)
            if failure is error:
                raise
        # Out here the SDK's exception is not its context: it may hold what is not for logs.
        raise failure

    def close(self) -> None:
        """End the threads and their connections. May be called again."""
        for pool in self._pools.values():
            pool.close()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _client(self, service: str, region: str, pool: str) -> Any:
        """Clients may be shared by threads, a session may not: one is made at a time."""
        key = (service, region, pool)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, region, pool)
            return self._clients[key]

    def _make(self, service: str, region: str, pool: str) -> Any:
        boto3 = load_sdk("boto3", "aws")
        config = load_sdk("botocore.config", "aws")
        if self._session is None:
            self._session = boto3.session.Session(profile_name=self._settings.profile or None)
        read = self._settings.timeout // SECOND if pool == _LAUNCH else _READ_SECONDS
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self._settings.endpoint or None,
            config=config.Config(
                connect_timeout=5,
                read_timeout=max(1, read),
                retries={"total_max_attempts": 1},
                max_pool_connections=16,
                user_agent_extra="spot-treasury",
            ),
        )
        if service == "ec2":
            read_faster(client)
        return client


def pages(client: Any, operation: str, key: str, **parameters: Any) -> list[Any]:
    """The items of every page of an answer. A page that fails, fails the whole."""
    found: list[Any] = []
    for page in client.get_paginator(operation).paginate(**parameters):
        found.extend(page.get(key, ()))
    return found
