"""Listening: an application behind a socket, with limits that aiohttp leaves to others."""

import asyncio
from typing import Final, cast

from aiohttp import web

from treasury.domain.errors import UserError
from treasury.web.guard import LOOPBACK, SILENT

CONNECTIONS_MAX: Final = 1_024
# How long [s] a connection may be open before its first request is whole, and between two.
_FIRST: Final = 10.0
_BETWEEN: Final = 30.0
# How long [s] requests may go on when the daemon ends.
_LEAVING: Final = 2.0
_BACKLOG: Final = 512
_FULL_BODY: Final = b'{"error":"too many connections: ask again soon"}'
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_FULL_BODY), _FULL_BODY)


class Listener:
    """An application as a part of the daemon. Make it and run it on the agent's loop.

    host, port: where to listen; port 0 takes a free one. url: where it does. Raises UserError for
    an address that others can reach without `exposed`: the protocol is plain, and whoever listens
    in has the token.
    """

    def __init__(self, app: web.Application, host: str, port: int, *, exposed: bool) -> None:
        if host not in LOOPBACK and not exposed:
            raise UserError(
                f"{host} can be reached from other machines, and the API is not encrypted: listen"
                " on 127.0.0.1 behind a proxy that is, or say that it may be exposed"
            )
        self.url = ""
        self._app, self._host, self._port = app, host, port

    async def run(self) -> None:
        """Listen until cancelled. Raises UserError when the address is taken."""
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_BETWEEN,
            lingering_time=1.0,
            max_line_size=4096,
            max_field_size=4096,
            shutdown_timeout=_LEAVING,
        )
        await runner.setup()
        try:
            await self._listen(runner)
        finally:
            self.closed()
            await runner.cleanup()

    def opened(self) -> None:
        """Called when the address is known, before the first request."""

    def closed(self) -> None:
        """Called when nothing is taken any more."""

    async def _listen(self, runner: web.AppRunner) -> None:
        server = runner.server
        if server is None:
            raise RuntimeError("the application was not set up")
        loop = asyncio.get_running_loop()
        doorway = Doorway(server, self._app[SILENT])
        try:
            listener = await loop.create_server(
                doorway, self._host, self._port, backlog=_BACKLOG, start_serving=False
            )
        except OSError as error:
            raise UserError(
                f"the API cannot listen on {self._host}:{self._port}: {error.strerror or error};"
                " choose another port"
            ) from error
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            name = f"[{self._host}]" if ":" in self._host else self._host
            self.url = f"http://{name}:{port}"
            self.opened()
            await listener.start_serving()
            await loop.create_future()


class Doorway:
    """Makes a protocol for each connection, as `loop.create_server` asks for it."""

    def __init__(
        self, server: web.Server, silent: set[object], limit: int = CONNECTIONS_MAX
    ) -> None:
        self._server, self._silent, self._limit = server, silent, limit

    def __call__(self) -> asyncio.Protocol:
        """Aiohttp's protocol, or a refusal when too many are connected."""
        if len(self._server.connections) >= self._limit:
            return _Full()
        protocol = self._server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(_FIRST, self._close_if_silent, protocol)
        return protocol

    def _close_if_silent(self, protocol: web.RequestHandler) -> None:
        """Close a connection that took too long for its first request."""
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()


class _Full(asyncio.Protocol):
    """One connection too many: it is told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer without reading anything."""
        sender = cast(asyncio.Transport, transport)
        sender.write(_FULL)
        sender.close()
