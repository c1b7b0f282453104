"""Jobs on machines through real brokers: begun, saved, stopped, ended; and whatever is killed."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.brokers import AnyBroker
from tests.support.nodes import Control, Node, Release, restarted, trainer, until
from treasury.domain import events as e
from treasury.domain.lease import LeaseState
from treasury.domain.task import Task
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.engine import Book
from treasury.store.memory import MemoryStore

# Real processes, and reconnects that take their time.
pytestmark = pytest.mark.slow
MakeNode = Callable[..., Node]


@pytest.fixture
async def control(broker: AnyBroker) -> AsyncIterator[Control]:
    """A running agent with its bus."""
    made = Control(broker, Book(), MemoryStore())
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def node(broker: AnyBroker, tmp_path: Path) -> AsyncIterator[MakeNode]:
    """Makes machines; what is left of them is killed."""
    made: list[Node] = []

    def make(lease: int, **config: object) -> Node:
        made.append(Node(tmp_path, broker, lease, **config))
        return made[-1]

    yield make
    for machine in made:
        await machine.destroy()


def steps(folder: Path, job: str) -> list[int]:
    """The steps in the newest checkpoint of a job's first rank."""
    root = folder / "store" / job / "rank-0"
    manifest = max((root / "manifests").iterdir())
    (file,) = json.loads(manifest.read_text())["body"]["files"]
    found: list[int] = json.loads((root / "objects" / file["object"]).read_text())
    return found


async def training(control: Control, node: MakeNode, folder: Path, count: int) -> Node:
    """A machine on which the job is at its steps, so many in all."""
    (lease,) = await control.place("job", trainer(folder, count))
    machine = node(lease)
    await machine.start()
    await until(lambda: control.state("job") == "running", "running")
    return machine


async def test_a_job_runs_to_its_end(control: Control, node: MakeNode, tmp_path: Path) -> None:
    """Boot, start, progress, result, logs: the journal tells each, and the machine goes back."""
    (lease,) = await control.place("job", trainer(tmp_path, 30, env={"WORD": "hello"}))
    machine = node(lease)
    await machine.start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert steps(tmp_path, "job") == list(range(30))
    begun = control.facts(e.WorkRunning)
    assert [fact.job for fact in begun] == ["job"]
    saved = [fact.work_done for fact in control.facts(e.WorkCheckpointed)]
    assert saved and saved == sorted(saved) and saved[-1] <= HOUR
    lines = [line async for line in control.bus.logs("job")]
    assert lines == [f"step {n} hello" for n in range(1, 31)]
    assert any(isinstance(c, Release) and c.lease == lease for c in control.commands)
    assert await machine.ended() == 0
    assert machine.program() is None


async def test_a_preempted_job_loses_nothing(
    control: Control, node: MakeNode, tmp_path: Path
) -> None:
    """Stopped by order it saves all it did; on another machine it goes on at that very step."""
    (first,) = await control.place("job", trainer(tmp_path, 60))
    machine = node(first)
    await machine.start()
    await until(lambda: control.book.jobs["job"].work_done > 0, "a checkpoint")
    await control.agent.submit(e.PreemptJob("job", "ann"))
    await until(lambda: control.state("job") == "queued", "queued")
    done = len(steps(tmp_path, "job"))
    assert 10 <= done < 60
    # The book and the checkpoint agree, to the millionth that is told.
    assert abs(control.book.jobs["job"].work_done * 60 - done * HOUR) <= HOUR // 10_000
    assert await machine.ended() == 0
    await control.agent.submit(e.MoveJob("job", next(iter(control.book.offers)), 9 * 10**9, "ann"))
    (second,) = await control.grant()
    await node(second).start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert steps(tmp_path, "job") == list(range(60))


async def test_a_notice_saves_the_work_and_is_told(
    control: Control, node: MakeNode, tmp_path: Path
) -> None:
    """The market's warning: the machine saves by itself, the job is queued with what it did."""
    (lease,) = await control.place("job", trainer(tmp_path, 200))
    machine = node(lease)
    await machine.start()
    await until(lambda: control.book.jobs["job"].work_done > 0, "a checkpoint")
    ends_at = control.clock.now() + 20 * SECOND
    (machine.folder / "notice").write_text(str(ends_at))
    await until(lambda: control.state("job") == "queued", "queued")
    assert [fact.ends_at for fact in control.facts(e.LeaseNoticed)] == [ends_at]
    assert steps(tmp_path, "job") == list(range(len(steps(tmp_path, "job"))))
    assert machine.program() is None


async def test_a_failing_program_fails_its_job(control: Control, node: MakeNode) -> None:
    """Exit codes and programs that are not there are told in words."""
    (lease,) = await control.place("bad", Task(command=("sh", "-c", "exit 3")))
    await node(lease).start()
    await until(lambda: control.state("bad") == "failed", "failed")
    (lease,) = await control.place("none", Task(command=("no-such-program",)))
    await node(lease).start()
    await until(lambda: control.state("none") == "failed", "failed")
    details = [fact.detail for fact in control.facts(e.JobEnded)]
    assert details == ["exit code 3", "no-such-program: No such file or directory"]


async def test_a_job_outlives_a_killed_node_agent(
    control: Control, node: MakeNode, tmp_path: Path
) -> None:
    """Kill -9 of the agent: the program goes on, the next agent adopts it, and its end is told."""
    machine = await training(control, node, tmp_path, 60)
    program = machine.program()
    await machine.kill()
    assert program is not None and machine.program() == program
    await machine.start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert steps(tmp_path, "job") == list(range(60))
    assert len(list((machine.folder / "state" / "runs").iterdir())) == 1


async def test_the_end_is_told_though_nobody_watched(
    control: Control, node: MakeNode, tmp_path: Path
) -> None:
    """A program that ends while its agent is dead: the exit code was kept, and is reported."""
    machine = await training(control, node, tmp_path, 25)
    await machine.kill()
    await until(lambda: machine.program() is None, "the program's end")
    assert control.state("job") == "running"
    await machine.start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert steps(tmp_path, "job") == list(range(25))


async def test_no_report_is_lost_with_the_broker(
    control: Control, broker: AnyBroker, node: MakeNode, tmp_path: Path
) -> None:
    """The broker is killed in the middle and forgets all: work goes on, its end is told later."""
    machine = await training(control, node, tmp_path, 40)
    await broker.kill()
    await until(lambda: machine.program() is None, "the program's end")
    assert control.state("job") == "running"
    await broker.start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert await machine.ended() == 0
    assert steps(tmp_path, "job") == list(range(40))


async def test_a_broker_that_is_absent_at_boot_costs_only_time(
    broker: AnyBroker, node: MakeNode, tmp_path: Path
) -> None:
    """Agent and machine start without a broker; when it comes the job runs."""
    await broker.kill()
    control = Control(broker, Book(), MemoryStore())
    await control.start()
    (lease,) = await control.place("job", trainer(tmp_path, 10))
    await node(lease).start()
    assert control.bus.status()["connected"] is False
    await broker.start()
    await until(lambda: control.state("job") == "finished", "finished")
    await control.stop()


async def test_a_killed_control_forgets_nothing(
    control: Control, broker: AnyBroker, node: MakeNode, tmp_path: Path
) -> None:
    """While no control lives the work ends; the next one hears of it, and commits it."""
    machine = await training(control, node, tmp_path, 40)
    await control.stop()
    await until(lambda: machine.program() is None, "the program's end")
    second = restarted(control, broker)
    await second.start()
    await until(lambda: second.state("job") == "finished", "finished")
    assert await machine.ended() == 0
    await second.stop()


async def test_a_gang_starts_together_and_ends_with_its_first_rank(
    control: Control, node: MakeNode
) -> None:
    """Each rank knows its place and its peers; the job ends when rank 0 does."""
    say = 'echo "$TREASURY_RANK of $TREASURY_NODES: $TREASURY_PEERS"; sleep 0.$TREASURY_RANK; '
    command = ("sh", "-c", say + 'test "$TREASURY_RANK" = 0 || sleep 60')
    leases = await control.place("gang", Task(command=command), nodes=2)
    machines = [node(lease) for lease in leases]
    for machine in machines:
        await machine.start()
    await until(lambda: control.state("gang") == "finished", "finished")
    assert [await machine.ended() for machine in machines] == [0, 0]
    lines = sorted([line async for line in control.bus.logs("gang")])
    peers = "127.0.0.1,127.0.0.1"
    assert lines == [f"[{rank}] {rank} of 2: {peers}" for rank in range(2)]
    assert all(machine.program() is None for machine in machines)


async def test_secrets_reach_the_program_and_nothing_else(
    control: Control, broker: AnyBroker, node: MakeNode, tmp_path: Path
) -> None:
    """A secret is in the program's environment; no file of the machine, no order, no journal has
    it."""
    control.secrets["TOKEN"] = "canary-7f3a"
    check = 'test "$(printf %s "$TOKEN" | cut -c8-)" = 7f3a && sleep 0.3'
    (lease,) = await control.place("job", Task(command=("sh", "-c", check), secrets=("TOKEN",)))
    machine = node(lease)
    await machine.start()
    await until(lambda: control.state("job") == "finished", "finished")
    assert await machine.ended() == 0
    files = [path for path in machine.folder.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"canary" in path.read_bytes()]
    assert "canary" not in repr(list(control.store.entries()))


async def test_a_lonely_machine_ends_by_itself(
    control: Control, node: MakeNode, tmp_path: Path
) -> None:
    """Nobody extends the fuse: the work is saved and stopped, then the machine ends."""
    (lease,) = await control.place("job", trainer(tmp_path, 1_000))
    switched_off = tmp_path / "off"
    machine = node(lease, poweroff_command=["touch", str(switched_off)], fuse_ns=600 * SECOND)
    await machine.start()
    await until(lambda: control.book.jobs["job"].work_done > 0, "a checkpoint")
    await control.stop()
    await machine.kill()
    kept = machine.folder / "state" / "agent.json"
    state = json.loads(kept.read_text())
    funded = control.book.funded_until(control.book.leases[lease])
    # By the machine's clock it may go on for no longer than it is paid for.
    assert state["fuse"]["wall"] <= funded + SECOND
    state["fuse"]["deadline"] -= 2 * MINUTE - 8 * SECOND
    state["fuse"]["span"] = 8 * SECOND
    kept.write_text(json.dumps(state))
    await machine.start()
    assert await machine.ended() == 0
    assert switched_off.exists() and machine.program() is None
    assert steps(tmp_path, "job") == list(range(len(steps(tmp_path, "job"))))


async def test_a_machine_whose_lease_is_over_is_dismissed(control: Control, node: MakeNode) -> None:
    """A machine that still reports after its lease ended is told to end; others' are not."""
    (lease,) = await control.place("job", Task(command=("sleep", "60")))
    await control.agent.submit(e.CancelJob("job"))
    assert control.book.leases[lease].state is LeaseState.RELEASING
    await control.agent.submit(e.MachineReleased(lease, control.clock.now()))
    assert lease not in control.book.leases
    machine, stranger = node(lease), node(lease + 5)
    await machine.start()
    await stranger.start()
    assert await machine.ended() == 0
    assert stranger.process is not None and stranger.process.returncode is None
