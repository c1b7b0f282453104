"""Orders by the API about money, markets and conduct; and that an order is carried out once."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tests.support.api import JOB, START, open_rig
from tests.support.table import Table
from treasury.domain import events as e
from treasury.domain.bill import BillPart
from treasury.domain.errors import StoreError
from treasury.domain.money import MICRO
from treasury.domain.time import DAY
from treasury.web.routes import HOUSE


def facts(rig: Any, kind: type) -> list[Any]:
    """Facts of a kind in the journal."""
    return [f for entry in rig.store.entries() for f in entry.facts if isinstance(f, kind)]


async def test_budgets_are_told_as_a_tree_and_changed(tmp_path: Path) -> None:
    """A top-up arrives, what is not there cannot be taken back, and unknown centres are named."""
    async with open_rig(tmp_path) as rig:
        rows = (await rig.get("/v1/budgets"))["budgets"]
        assert [(row["cost_centre"], row["depth"]) for row in rows] == [("org", 0), ("team", 1)]
        row = await rig.post("/v1/budgets/team/change", {"amount": 5 * MICRO, "by": "ann"})
        assert row["limit"] == 105 * MICRO
        assert [f.by for f in facts(rig, e.BudgetChanged)] == ["ann"]
        told = await rig.post("/v1/budgets/team/change", {"amount": -(10**12)}, 409)
        assert "available" in told["error"] and told["field"] == "amount"
        told = await rig.post("/v1/budgets/teem/change", {"amount": 1}, 404)
        assert "did you mean" in told["error"]
        await rig.post("/v1/budgets/team/change", {"amount": 0}, 422)
        await rig.post("/v1/budgets/team/change", {"amount": 10**18}, 422)
        await rig.post("/v1/budgets/team/change", {"amount": 1.5}, 422)
        told = await rig.post("/v1/budgets/team/change", {"amount": 1, "x": 1}, 422)
        assert "unknown field" in told["error"]


async def test_a_frozen_centre(tmp_path: Path) -> None:
    """Freezing holds until it is taken back; twice is once."""
    async with open_rig(tmp_path) as rig:
        for _ in range(2):
            assert (await rig.post("/v1/budgets/team/freeze", {"frozen": True}))["frozen"]
        assert not (await rig.post("/v1/budgets/team/freeze", {"frozen": False}))["frozen"]
        assert len(facts(rig, e.BudgetFrozen)) == 2


async def test_a_provider_is_left_and_had_again(tmp_path: Path) -> None:
    """Draining stops what runs there; a name nobody knows is refused with the nearest."""
    table = Table(now=START)
    table.run()
    async with open_rig(tmp_path, table) as rig:
        told = await rig.post("/v1/providers/aws/drain", {"by": "ann"})
        assert told == {"provider": "aws", "drained": True, "machines": 1}
        assert rig.book.jobs["j"].state.value == "stopping"
        assert (await rig.get("/v1/status"))["drained"] == ["aws"]
        assert not (await rig.post("/v1/providers/aws/drain", {"drained": False}))["drained"]
        assert "aws" in (await rig.post("/v1/providers/awz/drain", code=404))["error"]


async def test_conduct_and_reload(tmp_path: Path) -> None:
    """Conduct is one of three; a reload tells what changed."""
    table = Table(now=START)
    table.run()
    async with open_rig(tmp_path, table) as rig:
        told = await rig.post("/v1/conduct", {"conduct": "observe"})
        assert told == {"conduct": "observe", "machines": 1, "rate": 10**9}
        assert (await rig.get("/v1/status"))["conduct"] == "observe"
        await rig.post("/v1/conduct", {"conduct": "panic"}, 422)
        assert (await rig.post("/v1/reload"))["changes"] == ["engine.tick: 1m -> 2m"]


async def test_parts_of_a_bill_are_booked_in_order(tmp_path: Path) -> None:
    """Parts get the next numbers; other numbers and amounts beyond reason are refused."""
    part = BillPart(
        provider="aws",
        cost_centre="team",
        lines=(),
        covered=((START - DAY, START),),
        total="1.5",
        billed=1_500_000,
        booked=0,
        difference=1_500_000,
    )
    async with open_rig(tmp_path) as rig:
        body = msgspec.to_builtins(part)
        assert (await rig.post("/v1/bills", {"first": 1, "parts": [body, body]}))["booked"] == 2
        told = await rig.post("/v1/bills", {"first": 1, "parts": [body]}, 409)
        assert told["right"] == "3"
        for bad in ({"difference": 10**30}, {"billed": 10**17}, {"provider": "a:b"}):
            await rig.post("/v1/bills", {"first": 3, "parts": [{**body, **bad}]}, 422)
        assert rig.book.bills == 2


async def test_the_same_key_is_the_same_order(tmp_path: Path) -> None:
    """An order that is sent again gets the first answer; another one under its key is refused."""
    async with open_rig(tmp_path) as rig:
        first = await rig.post("/v1/jobs", JOB, 201, key="k1")
        again = await rig.post("/v1/jobs", JOB, 201, key="k1")
        assert first == again and len(rig.book.jobs) == 1
        await rig.post("/v1/jobs", JOB, 201, key="k2")
        assert len(rig.book.jobs) == 2
        told = await rig.post("/v1/jobs", {**JOB, "nodes": 2}, 409, key="k1")
        assert told["field"] == "Idempotency-Key"
        await rig.post("/v1/budgets/team/change", {"amount": 1}, 409, key="k1")
        await rig.post("/v1/jobs", JOB, 400, key="two words")
        together = [rig.post("/v1/jobs", JOB, 201, key="k3") for _ in range(8)]
        assert len({told["id"] for told in await asyncio.gather(*together)}) == 1
        assert len(rig.book.jobs) == 3


async def test_a_key_outlives_the_process_for_a_day(tmp_path: Path) -> None:
    """The next daemon on the same state gives the same answer, until a day is over."""
    async with open_rig(tmp_path) as rig:
        first = await rig.post("/v1/budgets/team/change", {"amount": 7}, key="k")
    async with open_rig(tmp_path, store=rig.store) as later:
        assert await later.post("/v1/budgets/team/change", {"amount": 7}, key="k") == first
        assert len(facts(rig, e.BudgetChanged)) == 1
        later.clock.instant += DAY + 1
        await later.post("/v1/budgets/team/change", {"amount": 7}, key="k")
        assert later.book.level("team").limit == 100 * MICRO + 14


async def test_a_refusal_can_be_tried_again_under_its_key(tmp_path: Path) -> None:
    """What was not done is not remembered as done."""
    async with open_rig(tmp_path) as rig:
        await rig.post("/v1/jobs", {**JOB, "cost_centre": "x"}, 422, key="k")
        await rig.post("/v1/budgets/team/change", {"amount": -(10**12)}, 409, key="m")
        await rig.post("/v1/budgets/team/change", {"amount": 10**12}, key="n")
        await rig.post("/v1/budgets/team/change", {"amount": -(10**12)}, key="m")


class LosesAnswers:
    """An agent whose answers are lost after the commit, as when a process dies there."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.lose = True
        self.watch = agent.watch

    @property
    def book(self) -> Any:
        return self._agent.book

    async def submit(self, *inputs: Any) -> Any:
        entry = await self._agent.submit(*inputs)
        if self.lose:
            raise StoreError("the answer was lost")
        return entry


async def test_an_order_whose_answer_was_lost_is_not_carried_out_twice(tmp_path: Path) -> None:
    """A job and a top-up that were committed without an answer are found by the next attempt."""
    async with open_rig(tmp_path) as rig:
        agent = LosesAnswers(rig.agent)
        # Before anything was asked of it.
        object.__setattr__(rig.client.server.app[HOUSE], "agent", agent)
        await rig.post("/v1/jobs", JOB, 503, key="j")
        await rig.post("/v1/budgets/team/change", {"amount": 7}, 503, key="b")
        agent.lose = False
        taken = await rig.post("/v1/jobs", JOB, 201, key="j")
        row = await rig.post("/v1/budgets/team/change", {"amount": 7}, key="b")
        assert taken["id"] == "job" and list(rig.book.jobs) == ["job"]
        assert row["limit"] == 100 * MICRO + 7
        assert len(facts(rig, e.BudgetChanged)) == 1
