"""Jobs by the API: submitted as documents, looked at, ordered about, refused with reasons."""

from pathlib import Path

from tests.support.api import CANARY, JOB, START, VIEWER, open_rig
from tests.support.table import A, B, Table
from treasury.domain import events as e
from treasury.domain.job import JobState
from treasury.domain.money import NANO
from treasury.domain.time import HOUR


async def test_a_document_becomes_a_job(tmp_path: Path) -> None:
    """The job is in the book as the document says, with offsets counted from now."""
    async with open_rig(tmp_path) as rig:
        document = {**JOB, "name": "train", "deadline": "+12h", "env": {"LR": 0.1}}
        taken = await rig.post("/v1/jobs", document, 201)
        assert (taken["id"], taken["notes"]) == ("train", [])
        spec = rig.book.jobs["train"].spec
        assert (spec.work, spec.deadline) == (6 * HOUR, START + 12 * HOUR)
        assert spec.task.command == ("python", "train.py") and spec.task.env == {"LR": "0.1"}
        rows = (await rig.get("/v1/jobs"))["jobs"]
        assert [(row["id"], row["state"]) for row in rows] == [("train", "queued")]


async def test_names_that_are_taken_get_numbers_and_ids_are_refused(tmp_path: Path) -> None:
    """Two jobs may have one name, as their ids tell them apart; an id belongs to one."""
    async with open_rig(tmp_path) as rig:
        ids = [(await rig.post("/v1/jobs", {**JOB, "name": "t"}, 201))["id"] for _ in range(5)]
        assert ids == ["t", "t-2", "t-3", "t-4", "t-5"]
        await rig.post("/v1/jobs", {**JOB, "id": "x"}, 201)
        told = await rig.post("/v1/jobs", {**JOB, "id": "x"}, 409)
        assert told["field"] == "id" and "exists already" in told["error"]


async def test_a_dry_run_submits_nothing(tmp_path: Path) -> None:
    """It tells the job, its id and what stands in its way, and the book is as it was."""
    async with open_rig(tmp_path) as rig:
        document = {**JOB, "gpu": "H100:8", "resources": {"provider": "azzure"}}
        told = await rig.post("/v1/jobs?dry_run=true", document)
        assert told["id"] == "job" and told["spec"]["work"] == 6 * HOUR
        assert told["notes"][0] == "no market at hand sells H100"
        assert "no provider is called 'azzure'" in told["notes"][1]
        assert not rig.book.jobs


async def test_every_problem_of_a_document_is_told(tmp_path: Path) -> None:
    """The first with field, value and what is right, the others as text; centres by the book."""
    async with open_rig(tmp_path) as rig:
        told = await rig.post("/v1/jobs", {**JOB, "gpu": "H10", "nodes": 0}, 422)
        assert (told["field"], told["value"]) == ("gpu", "H10")
        assert told["right"].endswith('did you mean "H100"?')
        assert "nodes" in told["more"][0]
        told = await rig.post("/v1/jobs", {**JOB, "cost_centre": "teem"}, 422)
        assert told["field"] == "cost_centre" and told["right"] == 'did you mean "team"?'
        told = await rig.post("/v1/jobs", {**JOB, "secrets": {"A": CANARY}}, 422)
        assert told["field"] == "secrets" and CANARY not in str(told)
        told = await rig.post("/v1/jobs", {**JOB, "env": {"A": [CANARY]}}, 422)
        assert told["field"] == "env" and "value" not in told
        told = await rig.post("/v1/jobs", {**JOB, "deadline": "1970-01-02"}, 422)
        assert told["field"] == "deadline" and "after 1970-02-11" in told["right"]
        assert not rig.book.jobs


async def test_orders_about_a_job(tmp_path: Path) -> None:
    """Move, preempt and cancel do what they say, and say what they cannot do."""
    table = Table(now=START)
    table.run()
    table.submit("k")
    async with open_rig(tmp_path, table) as rig:
        assert (await rig.get("/v1/jobs/j"))["job"]["offer"] == A.id
        told = await rig.post("/v1/jobs/k/preempt", code=409)
        assert "only one that runs can stop" in told["error"]
        moved = await rig.post("/v1/jobs/j/move", {"offer": B.id, "bid": 9 * NANO})
        assert moved["state"] == "running" and rig.book.jobs["j"].successor is not None
        again = await rig.post("/v1/jobs/j/move", {"offer": B.id}, 409)
        assert "moving already" in again["error"]
        dear = await rig.post("/v1/jobs/k/move", {"offer": A.id, "bid": 1}, 409)
        assert "too_dear" in dear["error"]
        nowhere = await rig.post("/v1/jobs/k/move", {"offer": "aws/us/a"}, 404)
        assert nowhere["field"] == "offer"
        placed = await rig.post("/v1/jobs/k/move", {"offer": A.id})
        assert placed["state"] == "acquiring"
        stopped = await rig.post("/v1/jobs/j/preempt")
        assert stopped["state"] == "stopping"
        assert (await rig.post("/v1/jobs/j/cancel"))["state"] == "cancelled"
        assert (await rig.post("/v1/jobs/j/cancel"))["state"] == "cancelled"
        assert "cancelled already" in (await rig.post("/v1/jobs/j/preempt", code=409))["error"]
        assert (await rig.get("/v1/jobs/j"))["ended"]["state"] == "cancelled"
        assert "did you mean" in (await rig.post("/v1/jobs/kk/cancel", code=404))["error"]
        over = (await rig.get("/v1/jobs?ended=true"))["ended"]
        assert over == [{"id": "j", "state": "cancelled"}]


async def test_who_approved_is_written_down(tmp_path: Path) -> None:
    """An approval is signed as said, or with the token's name; control characters are refused."""
    table = Table(now=START)
    table.submit("j")
    table.submit("k")
    async with open_rig(tmp_path, table) as rig:
        await rig.post("/v1/jobs/j/approve", {"by": "ann"})
        await rig.post("/v1/jobs/k/approve")
        told = await rig.post("/v1/jobs/k/approve", {"by": "a\nb"}, 422)
        assert told["field"] == "by"
        facts = [fact for entry in rig.store.entries() for fact in entry.facts]
        signed = [(f.job, f.by) for f in facts if isinstance(f, e.JobApproved)]
        assert signed == [("j", "ann"), ("k", "admin")]


async def test_the_environment_is_for_admins(tmp_path: Path) -> None:
    """People write into env what should be a secret: those who only look do not see it."""
    async with open_rig(tmp_path) as rig:
        await rig.post("/v1/jobs", {**JOB, "env": {"PASSWORD": CANARY}}, 201)
        assert CANARY in str(await rig.get("/v1/jobs/job"))
        for path in ("/v1/jobs", "/v1/jobs/job", "/v1/events", "/v1/snapshot", "/v1/status"):
            assert CANARY not in str(await rig.get(path, token=VIEWER)), path
        stream = await rig.get("/v1/events", headers={"Accept": "text/event-stream"})
        assert "PASSWORD" in stream and CANARY not in stream


async def test_what_a_job_wrote(tmp_path: Path) -> None:
    """Lines come as text; a job that nobody knows is not there."""
    async with open_rig(tmp_path) as rig:
        await rig.post("/v1/jobs", JOB, 201)
        assert await rig.get("/v1/jobs/job/logs") == "first\nsecond\n"
        assert await rig.get("/v1/jobs/job/logs?follow=true") == "first\nsecond\n"
        await rig.get("/v1/jobs/nope/logs", 404)


async def test_machines_offers_and_the_snapshot(tmp_path: Path) -> None:
    """What is held, what could be had and at which value, and what a strategy would see."""
    table = Table(now=START)
    table.run()
    async with open_rig(tmp_path, table) as rig:
        (lease,) = (await rig.get("/v1/leases"))["leases"]
        assert (lease["machine"], lease["rate"], lease["state"]) == ("i-1", NANO, "ready")
        assert lease["funded_until"] == START + 2 * HOUR
        offers = (await rig.get("/v1/offers?gpu=V100"))["offers"]
        assert [(row["id"], row["score"]) for row in offers] == [(A.id, 100), (B.id, 50)]
        assert (await rig.get("/v1/offers?region=mars"))["offers"] == []
        snapshot = await rig.get("/v1/snapshot")
        assert snapshot["jobs"][0]["state"] == JobState.RUNNING.value
        assert snapshot["version"] == rig.book.plan_version
