"""The daemon itself: how it is, what it measures, its description, its page, its configuration."""

import hashlib
from typing import Any

import msgspec
from aiohttp import web

from treasury.web.idempotency import Attempt
from treasury.web.page import POLICY, page
from treasury.web.problems import refused
from treasury.web.routes import Call


class Health(msgspec.Struct, frozen=True):
    """ok: whether it is as the address asks."""

    ok: bool


class Reload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """by: who asks for it."""

    by: str = ""


class Reloaded(msgspec.Struct, frozen=True):
    """What changed, a line each."""

    changes: tuple[str, ...]


async def health(_call: Call) -> Health:
    """The loop answers."""
    return Health(ok=True)


async def ready(call: Call) -> Any:
    """It leads, and its markets have been listed; 503 until then."""
    status = call.house.status()
    if status.get("ready"):
        return Health(ok=True)
    why = status.get("why")
    raise refused(503, f"not ready: {why}" if why else "not ready")


async def status(call: Call) -> dict[str, Any]:
    """How the daemon is, and what it was ordered."""
    book = call.book
    return {
        **call.house.status(),
        "seq": book.seq,
        "at": book.now,
        "conduct": book.conduct.value,
        "drained": list(book.drained),
        "jobs": len(book.jobs),
        "queued": book.queued,
        "machines": len(book.leases),
        "you": {"name": call.principal.name, "role": call.principal.role},
    }


async def metrics(call: Call) -> web.Response:
    """Prometheus' text format."""
    return web.Response(
        body=call.house.metrics(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def bundle(call: Call) -> web.Response:
    """The node agent; its hash is in its ETag, and a machine checks it against its own."""
    content = call.house.bundle()
    if not content:
        raise refused(404, "this daemon boots no machines")
    return web.Response(
        body=content,
        content_type="application/zip",
        headers={"ETag": f'"{hashlib.sha256(content).hexdigest()}"'},
    )


async def show_page(_call: Call) -> web.Response:
    """The live page."""
    return web.Response(
        text=page(), content_type="text/html", headers={"Content-Security-Policy": POLICY}
    )


async def reload(call: Call) -> Any:
    """Read the configuration again."""
    call.by(call.body().by)

    async def act(_attempt: Attempt) -> Reloaded:
        return Reloaded(tuple(await call.house.reload()))

    return await call.once(act)
