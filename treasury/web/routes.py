"""The route table's rows, and what a handler is given."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from treasury.domain.errors import BadValue
from treasury.jobfile.units import read_line
from treasury.web.house import House
from treasury.web.idempotency import Answer, Attempt, Keys
from treasury.web.journal import Journal
from treasury.web.problems import JSON, refused
from treasury.web.tokens import Principal, Tokens

Role = Literal["open", "viewer", "admin"]
Handler = Callable[["Call"], Awaitable[Any]]

HOUSE: Final = web.AppKey("house", House)
KEYS: Final = web.AppKey("keys", Keys)
JOURNAL: Final = web.AppKey("journal", Journal)
TOKENS: Final = web.AppKey("tokens", Tokens)
# Ids of jobs that are being submitted, and how often.
RESERVED: Final = web.AppKey("reserved", dict[str, int])


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """An operation. role: who may; body: the type of what is sent, or a JSON schema of it; reply:
    the type of what is answered, or a media type; status: of success; errors: the others that
    are its own; streams: it may take as long as it likes."""

    method: str
    path: str
    handler: Handler
    summary: str
    role: Role = "viewer"
    query: type[msgspec.Struct] = NoQuery
    body: Any = None
    reply: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    streams: bool = False

    @property
    def orders(self) -> bool:
        """Whether it changes something, and may carry an Idempotency-Key."""
        return self.method == "POST"


class Call:
    """A request that was let in: who asks, and what for."""

    def __init__(
        self, request: web.Request, route: Route, raw: bytes, principal: Principal
    ) -> None:
        self.request, self.route, self.raw = request, route, raw
        self.house: House = request.app[HOUSE]
        self.journal: Journal = request.app[JOURNAL]
        self.reserved: dict[str, int] = request.app[RESERVED]
        self.principal = principal
        self.query: Any = self._query()

    @property
    def book(self) -> Any:
        """The agent's book."""
        return self.house.agent.book

    @property
    def now(self) -> int:
        """The instant [ns]: never before what the book was last decided for."""
        return max(self.house.clock.now(), self.house.agent.book.now)

    def name(self, part: str) -> Any:
        """A part of the path."""
        return self.request.match_info[part]

    def body(self) -> Any:
        """What was sent, as the route's type. Raises msgspec's errors."""
        if self.request.content_type != JSON:
            raise refused(415, "the body has to be JSON", field="Content-Type", right=JSON)
        return msgspec.json.decode(self.raw, type=self.route.body)

    def by(self, name: str) -> str:
        """Who is to be named in the journal: as said, or the token's owner."""
        try:
            return read_line(name or self.principal.name)
        except BadValue as error:
            raise BadValue("by", error.value, error.right) from None

    async def once(self, act: Callable[[Attempt], Awaitable[Any]]) -> web.Response:
        """Carry an order out, once for each Idempotency-Key; what `act` returns is the answer."""

        async def encoded(attempt: Attempt) -> Answer:
            return Answer(self.route.status, msgspec.json.encode(await act(attempt)))

        content = b"\0".join(
            [self.request.method.encode(), self.request.path_qs.encode(), self.raw]
        )
        answer = await self.request.app[KEYS].once(
            self.principal.name,
            self.request.headers.get("Idempotency-Key", ""),
            content,
            self.house.clock.now(),
            self.book.seq,
            encoded,
        )
        return web.Response(body=answer.body, status=answer.status, content_type=JSON)

    def _query(self) -> Any:
        given = self.request.query
        values = {name: given[name] for name in given}
        twice = [name for name in values if len(given.getall(name)) > 1]
        if twice:
            raise refused(422, f"{twice[0]} is there more than once", field=twice[0])
        return msgspec.convert(values, self.route.query, strict=False)
