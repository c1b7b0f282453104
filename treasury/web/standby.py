"""What a daemon that stands by answers: that it lives, and who leads."""

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from treasury.domain.errors import UserError
from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury.web.guard import HOSTS, LOOPBACK, SILENT, door
from treasury.web.listen import Listener
from treasury.web.problems import refused

_RETRY: Final = 5 * SECOND


class StandbyServer:
    """Listens where the API will. leader: who leads; "" while that is not known.

    The leader of the same host has the address already: then it is tried again, since to be asked
    is not what this daemon is there for.
    """

    def __init__(
        self,
        leader: Callable[[], str],
        clock: Clock,
        *,
        host: str,
        port: int,
        hosts: Sequence[str] = (),
        exposed: bool = False,
    ) -> None:
        self._clock, self._leader = clock, leader
        self._host, self._port, self._hosts = host, port, (*hosts, host)
        self._exposed = exposed
        self._listener = self._new()

    @property
    def url(self) -> str:
        """Where it listens; "" before it does."""
        return self._listener.url

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            try:
                await self._listener.run()
            except UserError:
                await self._clock.sleep_until(self._clock.now() + _RETRY)
                self._listener = self._new()

    def _new(self) -> Listener:
        app = _application(self._leader, self._hosts)
        return Listener(app, self._host, self._port, exposed=self._exposed)


def _application(leader: Callable[[], str], hosts: Sequence[str]) -> web.Application:
    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "standby": True, "leader": leader()})

    async def elsewhere(_request: web.Request) -> web.Response:
        who = leader()
        raise refused(503, f"this daemon stands by: {who or 'another one'} leads", value=who)

    app = web.Application(middlewares=[door])
    app[SILENT] = set()
    app[HOSTS] = frozenset([*LOOPBACK, *(name.lower() for name in hosts)])
    app.router.add_get("/healthz", health)
    app.router.add_route("*", "/{rest:.*}", elsewhere)
    return app
