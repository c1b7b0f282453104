"""The stream of facts: replayed by number, followed live, filtered, cut off without a loss."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.support.api import JOB, START, open_rig
from tests.support.table import Table
from treasury.web import journal

SSE = {"Accept": "text/event-stream"}


def parsed(text: str) -> list[Any]:
    """The turns of a stream, each with the id it came under."""
    found = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if "data" in fields:
            turn = json.loads(fields["data"])
            assert int(fields["id"]) == turn["seq"] and fields["event"] == "turn"
            found.append(turn)
    return found


def kinds(turns: list[Any]) -> list[str]:
    """The kinds of all facts."""
    return [fact["type"] for turn in turns for fact in turn["facts"]]


async def test_pages_and_streams_tell_the_same(tmp_path: Path) -> None:
    """Page by page or as one stream, from the start or after any turn: the journal's facts."""
    table = Table(now=START)
    table.run()
    async with open_rig(tmp_path, table) as rig:
        await rig.post("/v1/jobs", JOB, 201)
        last, turns = 0, []
        while True:
            page = await rig.get(f"/v1/events?after={last}&limit=2")
            turns += page["turns"]
            last = page["last"]
            if not page["more"]:
                break
        assert [turn["seq"] for turn in turns] == [
            entry.seq for entry in rig.store.entries() if entry.facts
        ]
        assert parsed(await rig.get("/v1/events", headers=SSE)) == turns
        for after in (1, turns[-1]["seq"]):
            rest = [turn for turn in turns if turn["seq"] > after]
            assert parsed(await rig.get(f"/v1/events?after={after}", headers=SSE)) == rest
            resumed = await rig.get("/v1/events", headers={**SSE, "Last-Event-ID": str(after)})
            assert parsed(resumed) == rest
        beyond = await rig.get("/v1/events?after=999999")
        assert beyond == {"turns": [], "last": rig.book.seq, "more": False}
        await rig.get("/v1/events", 422, headers={**SSE, "Last-Event-ID": "x"})


async def test_facts_of_one_job_or_one_kind(tmp_path: Path) -> None:
    """A job's facts are those about it and about the machines that were opened for it."""
    table = Table(now=START)
    table.run()
    table.submit("other")
    async with open_rig(tmp_path, table) as rig:
        found = kinds(parsed(await rig.get("/v1/events?job=j", headers=SSE)))
        for kind in ("job_queued", "placement_opened", "leases_granted", "lease_ready"):
            assert found.count(kind) == 1
        assert "work_running" in found and "quoted" not in found
        only = await rig.get("/v1/events?kind=job_queued")
        assert kinds(only["turns"]) == ["job_queued", "job_queued"]


async def test_a_follower_misses_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    """What was committed before, while it was cut off, and since it came back arrives once each,
    in order, whether it is still in memory or only in the database."""
    monkeypatch.setattr(journal, "_KEPT", 4)
    async with open_rig(tmp_path) as rig:
        seen: list[int] = []

        async def follow(count: int) -> None:
            after = seen[-1] if seen else 0
            answer = await rig.client.get(
                f"/v1/events?follow=true&after={after}",
                headers={"Authorization": f"Bearer {'ad' * 32}"},
            )
            async for line in answer.content:
                if line.startswith(b"data: "):
                    seen.append(json.loads(line[6:])["seq"])
                    if len(seen) >= count:
                        break
            answer.close()

        following = asyncio.create_task(follow(13))
        for _ in range(10):
            await rig.post("/v1/jobs", JOB, 201)
        async with asyncio.timeout(10):
            await following
        for _ in range(10):
            await rig.post("/v1/jobs", JOB, 201)
        wanted = [entry.seq for entry in rig.store.entries() if entry.facts]
        async with asyncio.timeout(10):
            await follow(len(wanted))
        assert seen == wanted


async def test_streams_have_a_limit_of_their_own(tmp_path: Path) -> None:
    """Followers take no room from others, and there are only so many of them."""
    from treasury.web.guard import Gate

    async with open_rig(tmp_path, gate=Gate(streams_max=1)) as rig:
        path, headers = "/v1/events?follow=true", {"Authorization": f"Bearer {'ad' * 32}"}
        first = await rig.client.get(path, headers=headers)
        assert first.status == 200
        second = await rig.client.get(path, headers=headers)
        assert second.status == 503 and second.headers["Retry-After"]
        await rig.get("/v1/status")
        first.close()


async def test_the_journal_is_read_by_one_at_a_time(tmp_path: Path) -> None:
    """Readers of old turns share one database connection; none is disturbed by another."""

    class Jealous:
        def __init__(self) -> None:
            self.inside = 0

        async def run(self, function: Any) -> Any:
            assert not self.inside
            self.inside += 1
            await asyncio.sleep(0)
            self.inside -= 1
            return function()

    table = Table(now=START)
    table.run()
    async with open_rig(tmp_path, table, offload=Jealous()) as rig:
        pages = await asyncio.gather(*[rig.get("/v1/events") for _ in range(8)])
        assert all(page == pages[0] for page in pages)
