"""Listening: the application behind a socket, with limits that aiohttp leaves to others."""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

from aiohttp import web

from treasury.domain.errors import UserError
from treasury.web.app import make_app
from treasury.web.guard import LOOPBACK, SILENT
from treasury.web.house import House
from treasury.web.tokens import Tokens

# Where the command line finds a running daemon, beside its tokens.
ADDRESS_FILE: Final = "api.json"
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


class ApiServer:
    """The API as a part of the daemon. Make it and run it on the agent's loop.

    host, port: where to listen; port 0 takes a free one. hosts: further names under which it may be
    asked. Raises UserError for an address that others can reach without `exposed`: the protocol is
    plain, and whoever listens in has the token.
    """

    def __init__(
        self,
        house: House,
        tokens: Tokens,
        *,
        host: str = "127.0.0.1",
        port: int = 8750,
        hosts: Sequence[str] = (),
        exposed: bool = False,
    ) -> None:
        if host not in LOOPBACK and not exposed:
            raise UserError(
                f"{host} can be reached from other machines, and the API is not encrypted: listen"
                " on 127.0.0.1 behind a proxy that is, or say that it may be exposed"
            )
        self.url = ""
        self._house, self._host, self._port = house, host, port
        self._app = make_app(house, tokens, hosts=(*hosts, host))

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
            self._forget_address()
            await runner.cleanup()

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
            self._write_address()
            await listener.start_serving()
            await loop.create_future()

    def _write_address(self) -> None:
        path = self._house.state / ADDRESS_FILE
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"url": self.url, "pid": os.getpid()}) + "\n")
        part.replace(path)

    def _forget_address(self) -> None:
        """Remove the file, unless another process wrote it meanwhile."""
        path = self._house.state / ADDRESS_FILE
        with suppress(OSError, ValueError):
            if json.loads(path.read_text()).get("pid") == os.getpid():
                path.unlink()


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
