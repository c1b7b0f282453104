"""A real agent and bus with machines that are processes here: the book is real, the market is a
test's own hand."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.brokers import SECRET, TOPICS, AnyBroker
from treasury.bus.client import BusClient
from treasury.bus.control import BusRunner
from treasury.bus.fields import encode, plain
from treasury.bus.messages import Status
from treasury.bus.secrets import CONTROL, password
from treasury.domain import events as e
from treasury.domain.budget import Budget
from treasury.domain.commands import Acquire, Release, StartWork, StopWork
from treasury.domain.hardware import Shape
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Offer, Quote, Tenure, offer_id
from treasury.domain.money import MICRO, NANO
from treasury.domain.settings import EngineSettings
from treasury.domain.task import Task
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book, replay
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import InlineOffload, SystemClock
from treasury.store.memory import MemoryStore

# Counts to GOAL, a step each twentieth of a second, saving each tenth step and when told to stop.
# At the end it writes what it has seen: each step once, or it has lost or repeated work.
TRAINER = """
import json, os, signal, sys, time
goal = int(sys.argv[1])
path = os.path.join(os.environ["TREASURY_CHECKPOINT_DIR"], "steps.json")
steps = json.load(open(path)) if os.path.exists(path) else []
def save():
    with open(path + ".new", "w") as file:
        json.dump(steps, file)
    os.replace(path + ".new", path)
    with open(os.environ["TREASURY_PROGRESS"] + ".new", "w") as file:
        file.write(f"{len(steps)} {goal}")
    os.replace(os.environ["TREASURY_PROGRESS"] + ".new", os.environ["TREASURY_PROGRESS"])
def leave(*_):
    save()
    print("saved and gone at", len(steps), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
while len(steps) < goal:
    time.sleep(0.05)
    steps.append(len(steps))
    print("step", len(steps), os.environ.get("WORD", ""), flush=True)
    if len(steps) % 10 == 0:
        save()
save()
"""


def shelf(zone: str) -> Offer:
    """A machine of one zone."""
    able = Capabilities(billing_step_ns=1, billing_minimum_ns=0, boot_ns=MINUTE, gang_max=8)
    identity = offer_id("aws", "us", zone, "p3", Tenure.SPOT)
    return Offer(identity, "aws", "us", zone, Shape("V100", 1, 16, "p3"), Tenure.SPOT, able)


A, B = shelf("a"), shelf("b")


class Control:
    """An agent, its bus, and the market's answers. Commands of each turn are kept."""

    def __init__(self, broker: AnyBroker, book: Book, store: MemoryStore, epoch: int = 1) -> None:
        self.store, self.clock = store, SystemClock()
        self.agent = Agent(book, store, self.clock, InlineOffload())
        self.commands: list[Any] = []
        self.secrets: dict[str, str] = {}
        will = TOPICS.status, encode(Status(epoch, online=False, at=0))
        dice = random.Random(epoch)
        name, word = CONTROL, password(SECRET, CONTROL)
        client = BusClient(broker.address, name, word, f"control-{epoch}", self.clock, dice, will)
        self.bus = BusRunner(
            self.agent,
            client,
            TOPICS,
            self.clock,
            epoch=epoch,
            secrets=lambda names: {n: self.secrets[n] for n in names},
        )
        self.agent.watch(self._note)
        self._tasks: list[asyncio.Task[None]] = []

    def _note(self, entry: Entry, book: Book) -> None:
        del book
        self.commands += [approved.command for approved in entry.commands]

    @property
    def book(self) -> Book:
        return self.agent.book

    async def start(self) -> None:
        """Run the loop and the bus."""
        self._tasks = [asyncio.create_task(part.run()) for part in (self.agent, self.bus)]
        if not self.book.seq:
            settings = EngineSettings(tick=HOUR, accrual=MINUTE, horizon=2 * MINUTE)
            await self.agent.submit(
                e.Configure(settings, (Budget(cost_centre="team", amount=1_000 * MICRO),)),
                e.ListOffers("aws", (A, B)),
            )
            now = self.clock.now()
            for offer, rate in ((A, NANO), (B, 2 * NANO)):
                await self.agent.submit(e.SeeQuotes((Quote(offer.id, rate, 9, now, now),)))

    async def stop(self) -> None:
        """End at once, as a killed process does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def place(self, job: str, task: Task, *, nodes: int = 1, **fields: Any) -> list[int]:
        """Submit a job, put it on A, have its machines granted; their leases."""
        spec = JobSpec(
            id=job,
            cost_centre="team",
            requirement=Requirement({"V100": 1_000}, nodes=nodes),
            work=HOUR,
            submitted_at=self.clock.now(),
            task=task,
            **fields,
        )
        await self.agent.submit(e.SubmitJob(spec))
        await self.agent.submit(e.MoveJob(job, A.id, 9 * NANO, "ann"))
        return await self.grant()

    async def grant(self) -> list[int]:
        """Have the last request granted."""
        acquire = next(c for c in reversed(self.commands) if isinstance(c, Acquire))
        machines = tuple(f"i-{lease}" for lease in acquire.leases)
        now = self.clock.now()
        await self.agent.submit(
            e.AcquireGranted(acquire.token, acquire.placement, machines, now, NANO)
        )
        return list(acquire.leases)

    def facts(self, kind: type) -> list[Any]:
        """Committed facts of a kind."""
        return [f for entry in self.store.entries() for f in entry.facts if isinstance(f, kind)]

    def state(self, job: str) -> str:
        """Where a job stands, or how it ended."""
        if job in self.book.jobs:
            return self.book.jobs[job].state.value
        return self.book.ended.get(job, "")


def restarted(control: Control, broker: AnyBroker) -> Control:
    """The next process, with what the last one had committed."""
    book = replay(control.store.entries())
    return Control(broker, book, control.store, epoch=control.bus._epoch + 1)


class Node:
    """A machine: a node agent in a process of its own."""

    def __init__(self, folder: Path, broker: AnyBroker, lease: int, **config: Any) -> None:
        self.folder, self.lease = folder / f"machine-{lease}", lease
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "config.json"
        value = {
            "installation": "test",
            "lease": lease,
            "password": password(SECRET, str(lease)),
            "broker": plain(broker.address),
            "state": "state",
            "heartbeat_ns": SECOND // 5,
            "checkpoint_every_ns": SECOND // 5,
            "notice_file": "notice",
            **config,
        }
        self.config.write_text(json.dumps(value))
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *command: str) -> None:
        """Start the agent."""
        self.process = await asyncio.create_subprocess_exec(
            *(command or (sys.executable, "-m", "treasury.node")),
            str(self.config),
            cwd=Path(__file__).parents[2],
        )

    async def kill(self) -> None:
        """Kill -9 of the agent alone."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def ended(self) -> int:
        """The agent's exit code, once it has ended by itself."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), 30)

    def program(self) -> int | None:
        """The wrapper of the program that runs here, if one does."""
        found = sorted(
            (self.folder / "state" / "runs").glob("*/pid"), key=lambda p: p.stat().st_mtime
        )
        if not found:
            return None
        pid = json.loads(found[-1].read_text())["pid"]
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return None
        return None if state == "Z" else pid

    async def destroy(self) -> None:
        """Whatever the test left."""
        if self.process is not None and self.process.returncode is None:
            await self.kill()
        pid = self.program()
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)


async def until(true: Callable[[], object], what: str = "", patience: float = 30.0) -> None:
    """Wait for something to become true."""
    for _ in range(int(patience * 50)):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came true: {what}")


def trainer(folder: Path, goal: int, **fields: Any) -> Task:
    """A task that runs TRAINER with checkpoints in `folder`/store."""
    script = folder / "trainer.py"
    script.write_text(TRAINER)
    fields.setdefault("checkpoint_dir", "ckpt")
    fields.setdefault("checkpoint_to", f"file://{folder}/store")
    return Task(command=(sys.executable, str(script), str(goal)), **fields)


Starter = Callable[[], Awaitable[None]]

__all__ = [
    "TRAINER",
    "A",
    "B",
    "Control",
    "Node",
    "Release",
    "StartWork",
    "StopWork",
    "restarted",
    "trainer",
    "until",
]
