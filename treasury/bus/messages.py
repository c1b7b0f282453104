"""What is said on the bus, version 1. Durations and instants in ns, progress in ppm.

Order, Secrets, Ack   from the control to one machine
Report, Log           from one machine to the control
Price, Event, Status  from the control to whoever listens
NodeConfig            the file a machine's node agent is started with

Runs on Python 3.9 with the standard library only.
"""

# ruff: noqa: RUF009 - `part` makes dataclass fields
from __future__ import annotations

from dataclasses import dataclass

from treasury.bus.fields import Anything, Flag, Int, ListOf, MapOf, Maybe, Part, Text, part

PPM = 1_000_000
SECOND = 1_000_000_000

_NAME = Text(256)
_PATH = Text(4_096)
_ARGUMENTS = ListOf(Text(32_768))
_VARIABLE = Text(256, r"[A-Za-z_][A-Za-z0-9_]*")
_PPM = Int(0, PPM)
# Of one agent's state directory, and of one start of a machine: hexadecimal.
_IDENTITY = Text(32, r"[0-9a-f]{1,32}")
_PULSE = Text(64, r"[0-9a-f]{1,32}-[0-9]{1,20}")


@dataclass(frozen=True)
class TaskOrder:
    """What a machine is to run: see `treasury.domain.task.Task`. Durations in ns.

    checkpoint_every_ns: at most so often a checkpoint is made while it runs, 0 for the machine's
    own period. It is left out where it is 0: node agents of before know no such field.
    """

    command: tuple[str, ...] = part(_ARGUMENTS)
    image: str = part(Text(512), default="")
    env: dict[str, str] = part(MapOf(Text(32_768)), default_factory=dict)
    secrets: tuple[str, ...] = part(ListOf(_VARIABLE, 256), default=())
    workdir: str = part(_PATH, default="")
    checkpoint_dir: str = part(_PATH, default="")
    checkpoint_to: str = part(_PATH, default="")
    checkpoint_hook: tuple[str, ...] = part(_ARGUMENTS, default=())
    grace_ns: int = part(Int(), default=30 * SECOND)
    max_duration_ns: int = part(Int(), default=0)
    checkpoint_every_ns: int = part(Int(), default=0, young=True)


@dataclass(frozen=True)
class Work:
    """A placement's share of one machine. peers: host names or addresses of the gang by rank,
    empty where they are not known. work_done_ppm: where the job resumes."""

    placement: int = part(Int())
    job: str = part(_NAME)
    task: TaskOrder = part(Part(TaskOrder))
    rank: int = part(Int(0, 65_535), default=0)
    nodes: int = part(Int(1, 65_536), default=1)
    peers: tuple[str, ...] = part(ListOf(_NAME, 65_536), default=())
    work_done_ppm: int = part(_PPM, default=0)


@dataclass(frozen=True)
class Order:
    """The state a machine is wanted in; retained, and the whole of it each time.

    epoch, number: together they only rise; a machine ignores what does not. heard: the newest
    `pulse` of the machine's own the control has seen; fuse_ns counts from the instant that pulse
    was sent, so that neither a wrong clock nor a slow broker can lengthen it. work: what is to run,
    null for nothing; stop: checkpoint and stop it; release: the machine goes back.
    """

    epoch: int = part(Int())
    number: int = part(Int())
    lease: int = part(Int())
    fuse_ns: int = part(Int())
    heard: str | None = part(Maybe(_PULSE), default=None)
    work: Work | None = part(Maybe(Part(Work)), default=None)
    stop: bool = part(Flag(), default=False)
    release: bool = part(Flag(), default=False)


@dataclass(frozen=True)
class Secrets:
    """Values of a placement's secret variables; never retained, so that no broker keeps them."""

    placement: int = part(Int())
    values: dict[str, str] = part(MapOf(Text(32_768), 256))


@dataclass(frozen=True)
class Ack:
    """Reports of a `boot` up to `seq` are committed; retained."""

    boot: str = part(_IDENTITY)
    seq: int = part(Int())


KINDS = ("hello", "heartbeat", "began", "saved", "stopped", "ended", "notice", "fuse")
# waiting: for secrets. gone: nothing is wanted and nothing runs.
PHASES = ("gone", "waiting", "starting", "running", "stopping", "stopped", "ended")


@dataclass(frozen=True)
class Report:
    """What has happened on a machine, and how its work stands.

    boot, seq: reports other than heartbeats are numbered without gaps per boot, kept on disk and
    sent again until acknowledged; a heartbeat carries the number of the last one. base: the first
    number not acknowledged. pulse: the instant of sending by the machine's own forward clock.

    order: the number of the newest order obeyed. address: where the machine's gang reaches it.

    placement, phase, rank: the work, as it stands now. base_ppm: where it resumed. elapsed_ns: how
    long its program has run. progress_ppm, saved_ns: progress and elapsed time at the last durable
    point. reason: in a word why the machine stopped the work by itself. error: why the work failed.
    lacks: the placement whose secrets are needed. ends_at: of a notice.
    """

    lease: int = part(Int())
    boot: str = part(_IDENTITY)
    seq: int = part(Int())
    base: int = part(Int())
    kind: str = part(Text(16, "|".join(KINDS)))
    at: int = part(Int())
    pulse: str = part(_PULSE)
    order: int = part(Int(), default=0)
    address: str = part(Text(255), default="")
    placement: int | None = part(Maybe(Int()), default=None)
    phase: str = part(Text(16, "|".join(PHASES)), default="gone")
    rank: int = part(Int(0, 65_535), default=0)
    base_ppm: int = part(_PPM, default=0)
    elapsed_ns: int = part(Int(), default=0)
    progress_ppm: int | None = part(Maybe(_PPM), default=None)
    saved_ns: int | None = part(Maybe(Int()), default=None)
    reason: str = part(Text(64), default="")
    error: str = part(Text(2_000), default="")
    lacks: int | None = part(Maybe(Int()), default=None)
    ends_at: int | None = part(Maybe(Int()), default=None)
    utilisation_ppm: int | None = part(Maybe(_PPM), default=None)
    tokens: int | None = part(Maybe(Int()), default=None)
    dropped: int = part(Int(), default=0)


@dataclass(frozen=True)
class Log:
    """Lines a program wrote. number: rises by one a message; dropped: lines left out before."""

    lease: int = part(Int())
    placement: int = part(Int())
    rank: int = part(Int(0, 65_535))
    number: int = part(Int())
    lines: tuple[str, ...] = part(ListOf(Text(4_096), 500))
    dropped: int = part(Int(), default=0)


@dataclass(frozen=True)
class Price:
    """A quote as the agent took it. rate: nano-USD per machine-hour; depth: -1 where unknown."""

    offer: str = part(_NAME)
    provider: str = part(_NAME)
    rate: int = part(Int())
    observed_at: int = part(Int())
    depth: int = part(Int(-1), default=-1)


@dataclass(frozen=True)
class Event:
    """A committed turn. facts: as in the journal, each with its `type`; null where they are too
    many for one message: ask the HTTP API. A gap in `seq` is filled there, too."""

    epoch: int = part(Int())
    seq: int = part(Int())
    at: int = part(Int())
    facts: tuple[object, ...] | None = part(Maybe(ListOf(Anything(), 4_096)))


@dataclass(frozen=True)
class Status:
    """Whether an agent leads; retained, and its last will. A lower epoch's word is void."""

    epoch: int = part(Int())
    online: bool = part(Flag())
    at: int = part(Int())


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is. tls: with the certificates in the file `ca`, or the system's own."""

    host: str = part(Text(255))
    port: int = part(Int(1, 65_535), default=1_883)
    tls: bool = part(Flag(), default=False)
    ca: str = part(_PATH, default="")


@dataclass(frozen=True)
class NodeConfig:
    """What a node agent is started with. Durations in ns.

    A path that is not absolute begins at the file's own directory. password: of this lease's
    account, whose name is the lease's number. state: a directory of the agent's own, which survives
    it. fuse_ns: how long the machine may go on by itself before the control is first heard.
    poweroff_command: ends the machine; empty: the agent only exits. metadata: the market whose
    notices are watched for; metadata_url: another address of its service. notice_file: when it
    exists a notice is given, at the instant [ns UTC] it holds.
    """

    installation: str = part(Text(64, r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"))
    lease: int = part(Int())
    password: str = part(Text(256))
    broker: BrokerAddress = part(Part(BrokerAddress))
    state: str = part(_PATH)
    fuse_ns: int = part(Int(SECOND), default=600 * SECOND)
    heartbeat_ns: int = part(Int(SECOND // 10), default=5 * SECOND)
    checkpoint_every_ns: int = part(Int(SECOND // 10), default=60 * SECOND)
    poweroff_command: tuple[str, ...] = part(_ARGUMENTS, default=())
    metadata: str = part(Text(8, "|aws|azure|gcp"), default="")
    metadata_url: str = part(Text(2_048), default="")
    notice_file: str = part(_PATH, default="")
    log_bytes: int = part(Int(4_096), default=16 * 1_024 * 1_024)
    log_lines_per_second: int = part(Int(1, 100_000), default=200)


# Each message with the topic it is published on, as the documents and the schemas name them.
PUBLISHED = {
    "node/<lease>/order": Order,
    "node/<lease>/secret": Secrets,
    "node/<lease>/ack": Ack,
    "node/<lease>/report": Report,
    "node/<lease>/log": Log,
    "prices/<provider>": Price,
    "events": Event,
    "status": Status,
}
