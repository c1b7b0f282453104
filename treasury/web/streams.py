"""Answers that go on: facts as server-sent events, a job's output line by line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final

import msgspec
from aiohttp import hdrs, web

from treasury.domain.errors import NotFound, did_you_mean
from treasury.domain.ids import JobId
from treasury.web.journal import PAGE, Filter, Told
from treasury.web.problems import refused
from treasury.web.routes import Call

EVENTS: Final = "text/event-stream"
# A comment this often [s] tells both sides that the other one is still there.
_STILL_HERE: Final = 15.0
# How long [s] one who does not read may keep a stream open.
_STALLED: Final = 60.0
_LAST_ID: Final = "Last-Event-ID"


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """after: the last turn that is known. limit: turns looked at. job, kind: only such facts.
    follow: go on with what happens, as server-sent events."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = PAGE
    job: str = ""
    kind: str = ""
    follow: bool = False


class Events(msgspec.Struct, frozen=True):
    """Turns with the facts that were asked for. last: ask again with `after` of this; more: whether
    there is anything after it now."""

    turns: tuple[Told, ...]
    last: int
    more: bool


class LogsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """follow: go on with what the job writes until it ends."""

    follow: bool = False


async def events(call: Call) -> Any:
    """Facts after a turn: a page of JSON, or a stream of server-sent events for those who accept
    one. Without follow the stream ends where the journal does."""
    query = call.query
    streaming = query.follow or EVENTS in call.request.headers.get(hdrs.ACCEPT, "")
    if streaming:
        return await _stream(call, _last_id(call, query.after))
    wanted = Filter(query.job, query.kind)
    entries = await call.journal.after(query.after, query.limit)
    told = [found for entry in entries if (found := wanted.tell(entry)) is not None]
    last = entries[-1].seq if entries else min(query.after, call.book.seq)
    return Events(tuple(told), last, last < call.book.seq)


def _last_id(call: Call, after: int) -> int:
    """Where a reader that was cut off goes on."""
    text = call.request.headers.get(_LAST_ID, "")
    if not text:
        return after
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise refused(422, "no turn is numbered so", field=_LAST_ID, right="a turn's number")
    return int(text)


async def _stream(call: Call, after: int) -> web.StreamResponse:
    response = _begin(EVENTS)
    await response.prepare(call.request)
    query, journal = call.query, call.journal
    wanted = Filter(query.job, query.kind)
    try:
        while not journal.closed:
            entries = await journal.after(after)
            if entries:
                after = entries[-1].seq
                told = [found for entry in entries if (found := wanted.tell(entry)) is not None]
                if told:
                    await _write(response, b"".join(map(_event, told)))
            elif not query.follow:
                break
            else:
                await journal.wait(_STILL_HERE)
                if call.book.seq <= after:
                    await _write(response, b"id: %d\n: still here\n\n" % after)
    except (ConnectionError, TimeoutError):
        return response
    await response.write_eof()
    return response


def _event(told: Told) -> bytes:
    """One turn as an event; JSON has no line breaks of its own."""
    return b"id: %d\nevent: turn\ndata: %b\n\n" % (told.seq, msgspec.json.encode(told))


async def logs(call: Call) -> web.StreamResponse:
    """What a job wrote, as plain text."""
    job, book = JobId(call.name("job")), call.book
    if job not in book.jobs and job not in book.ended:
        hint = did_you_mean(job, list(book.jobs)[:1_000])
        raise NotFound(f"no job is called {job!r}; {hint}")
    lines: Any = call.house.logs(job, call.query.follow)
    response = _begin("text/plain")
    await response.prepare(call.request)
    try:
        async with aclosing(lines) as found:
            await _copy(found, response)
    except (ConnectionError, TimeoutError):
        return response
    await response.write_eof()
    return response


async def _copy(lines: AsyncIterator[str], response: web.StreamResponse) -> None:
    async for line in lines:
        await _write(response, line.encode("utf-8", "replace") + b"\n")


def _begin(kind: str) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    )
    response.content_type, response.charset = kind, "utf-8"
    return response


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(_STALLED):
        await response.write(chunk)
