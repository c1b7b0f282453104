"""The door: who may come in, how much they may carry, how long they may stay, and how many at once.

Loopback alone protects nothing: any page in a browser on this machine can send requests here. So
the Host has to be one of ours (a name that was rebound to 127.0.0.1 is not), an Origin has to be
our own, and every order needs a token that no page has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from treasury.web.problems import answer, refused
from treasury.web.routes import TOKENS, Call, Route
from treasury.web.tokens import Principal

BODY_MAX: Final = 256 * 1024
# Requests that are worked on at once; more are told to come back.
ACTIVE_MAX: Final = 256
STREAMS_MAX: Final = 64
# How long [s] a request may take, its body's arrival included.
TIME_MAX: Final = 30.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
# Who asks where no token is needed.
_ANYBODY: Final = Principal("", "viewer")
Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LOG: Final = logging.getLogger("treasury.web")


class Gate:
    """How many requests are inside."""

    def __init__(self, active_max: int = ACTIVE_MAX, streams_max: int = STREAMS_MAX) -> None:
        self.active = self.streams = self.shed = 0
        self._active_max, self._streams_max = active_max, streams_max

    def enter(self, streams: bool) -> bool:
        """Whether there is room for one more, which is counted then."""
        if (self.streams >= self._streams_max) if streams else (self.active >= self._active_max):
            self.shed += 1
            return False
        if streams:
            self.streams += 1
        else:
            self.active += 1
        return True

    def leave(self, streams: bool) -> None:
        """One that was let in is done."""
        if streams:
            self.streams -= 1
        else:
            self.active -= 1


GATE: Final = web.AppKey("gate", Gate)
# Connections that have not sent one whole request yet.
SILENT: Final = web.AppKey("silent", set[object])
HOSTS: Final = web.AppKey("hosts", frozenset[str])


def endpoint(route: Route) -> Endpoint:
    """A route's handler behind the door."""

    async def serve(request: web.Request) -> web.StreamResponse:
        gate = request.app[GATE]
        if not gate.enter(route.streams):
            raise refused(503, "too many requests at once: ask again soon")
        try:
            if route.streams:
                return await _serve(request, route)
            async with asyncio.timeout(TIME_MAX):
                return await _serve(request, route)
        finally:
            gate.leave(route.streams)

    return serve


async def _serve(request: web.Request, route: Route) -> web.StreamResponse:
    principal = _admit(request, route)
    raw = await request.read() if request.body_exists else b""
    call = Call(request, route, raw, principal)
    reply = await route.handler(call)
    if isinstance(reply, web.StreamResponse):
        return reply
    return web.Response(
        body=msgspec.json.encode(reply), status=route.status, content_type="application/json"
    )


@web.middleware
async def door(request: web.Request, handler: Endpoint) -> web.StreamResponse:
    """Every request passes here first, and every answer last."""
    request.app[SILENT].discard(request.protocol)
    try:
        check_origin(request)
        response = await handler(request)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        known = answer(error)
        if known is None:
            _LOG.exception("a request failed: %s %s", request.method, request.rel_url.path)
            known = answer(refused(500, "a mistake of treasury's own; the log says more"))
        if known is None:
            raise
        if known.status == 503 and hdrs.RETRY_AFTER not in known.headers:
            known.headers[hdrs.RETRY_AFTER] = "1"
        response = known
    if not response.prepared:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
    return response


def check_origin(request: web.Request) -> None:
    """Raise ApiError unless a request is meant for us, and not sent by somebody else's page."""
    hosts = request.app[HOSTS]
    # Not request.host, which makes one up where there is none.
    if _name(request.headers.get(hdrs.HOST, "")) not in hosts:
        raise refused(421, "this is not the host that was asked for", field="Host")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin != f"{request.scheme}://{request.headers[hdrs.HOST]}":
        raise refused(403, "requests from other origins are refused", field="Origin")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise refused(403, "requests from other sites are refused", field="Sec-Fetch-Site")
    if hdrs.CONTENT_ENCODING in request.headers:
        # A few kilobytes could be gigabytes.
        raise refused(415, "compressed bodies are not taken", field="Content-Encoding")


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty for what is none."""
    try:
        split = urlsplit(f"//{host}")
        _ = split.port
    except ValueError:
        return ""
    plain = split.username is None and not split.path and not split.query and not split.fragment
    return (split.hostname or "") if plain else ""


def _admit(request: web.Request, route: Route) -> Principal:
    """Who asks. Raises ApiError 401 for nobody, 403 for somebody who may not."""
    if route.role == "open":
        return _ANYBODY
    principal = request.app[TOKENS].principal(request.headers.get(hdrs.AUTHORIZATION, ""))
    if principal is None:
        error = refused(401, "a valid token is needed", field="Authorization", right="Bearer")
        error.headers.update(_CHALLENGE)
        raise error
    if not principal.may(route.role):
        raise refused(
            403, f"{principal.name} may look, not order", right=f"an {route.role}'s token"
        )
    return principal
