"""The application: the route table behind the door."""

from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Final

from aiohttp import web

from treasury.web.guard import BODY_MAX, GATE, HOSTS, LOOPBACK, SILENT, Gate, door, endpoint
from treasury.web.house import House
from treasury.web.idempotency import Keys
from treasury.web.journal import Journal
from treasury.web.openapi import PATH, document
from treasury.web.problems import JSON
from treasury.web.routes import HOUSE, JOURNAL, KEYS, RESERVED, TOKENS, Call, Route
from treasury.web.table import ROUTES
from treasury.web.tokens import FILE, Tokens


@cache
def _document() -> bytes:
    return document(ROUTES)


async def _show_document(_call: Call) -> web.Response:
    """This document."""
    return web.Response(body=_document(), content_type=JSON)


_DOCUMENT: Final = Route(
    method="GET",
    path=PATH,
    handler=_show_document,
    summary="The OpenAPI document",
    role="open",
)


def make_app(
    house: House,
    tokens: Tokens | None = None,
    *,
    hosts: Iterable[str] = (),
    gate: Gate | None = None,
) -> web.Application:
    """The API of a running daemon; made and served on the agent's loop.

    tokens: those of the state directory's file where none are given. hosts: names, besides the
    loopback's, under which it may be asked. gate: how many may be inside at once.
    """
    app = web.Application(middlewares=[door], client_max_size=BODY_MAX)
    app[HOUSE] = house
    app[TOKENS] = tokens or Tokens(house.state / FILE)
    app[GATE] = gate or Gate()
    app[HOSTS] = frozenset([*LOOPBACK, *(host.lower() for host in hosts)])
    app[KEYS] = Keys(house.state)
    app[RESERVED] = {}
    app[SILENT] = set()
    for route in (*ROUTES, _DOCUMENT):
        app.router.add_route(route.method, route.path, endpoint(route))
    app.cleanup_ctx.append(_live)
    app.on_shutdown.append(_let_go)
    return app


async def _live(app: web.Application) -> AsyncIterator[None]:
    """Watch the agent from the first request to the last."""
    app[JOURNAL] = Journal(app[HOUSE])
    yield
    app[JOURNAL].close()
    await app[KEYS].close()


async def _let_go(app: web.Application) -> None:
    """Streams end before connections are closed."""
    app[JOURNAL].close()
