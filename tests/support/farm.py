"""A daemon with real jobs on the local market, to be treated badly, and what must hold after."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from treasury.bootstrap.wiring import PROVIDERS
from treasury.cli.client import NoDaemon
from treasury.cli.live.daemon import LiveDaemon, free_port
from treasury.domain.errors import UserError
from treasury.domain.events import JobEnded, JobQueued
from treasury.domain.turn import Entry
from treasury.store import SqlStore
from treasury_providers.local_processes import belonging, kill
from treasury_providers.local_state import State
from treasury_simulations.live_proof import Trained, Verdict, prove

INSTALLATION = "farm"
RUN = "from treasury.cli import main; main()"
_STEP = 0.05
_PATIENCE = 120.0

_CONFIG = """\
[engine]
installation = "{installation}"
tick = "500ms"
accrual = "1s"
horizon = "{horizon}"
quarantine = "2s"
boot_limit = "30s"
stop_limit = "30s"

[[budget]]
cost_centre = "lab"
amount = "60 USD"

[[budget]]
cost_centre = "team"
amount = "50 USD"
parent = "lab"

[provider.here]
kind = "local"
slots = 3
zones = 2
on_demand = "90 USD/h"
squeezes = 0
life = "{life}"
notice = "2s"
tick = "1s"

[strategy.optimal]
patience = "1s"

[daemon]
db = "{db}"
lease = "5s"

[bus]
embedded = {embedded}
port = {bus_port}

[api]
port = {api_port}
"""


def pause(seconds: float) -> None:
    """Let the others work: these tests are about processes, and processes take their time."""
    threading.Event().wait(seconds)


def until(condition: Callable[[], object], what: str, seconds: float = _PATIENCE) -> None:
    """Wait for something that happens outside."""
    for _ in range(int(seconds / 0.1)):
        if condition():
            return
        pause(0.1)
    raise AssertionError(f"not in {seconds:g} s: {what}")


class Farm:
    """One daemon in a folder. db: a PostgreSQL URL, empty for SQLite. bus_port: of a broker that
    runs already, 0 for the embedded one."""

    def __init__(
        self,
        folder: Path,
        *,
        db: str = "",
        bus_port: int = 0,
        horizon: str = "60s",
        life: str = "0s",
        program: str = RUN,
    ) -> None:
        self.folder = folder
        api_port = free_port()
        config = _CONFIG.format(
            installation=INSTALLATION,
            horizon=horizon,
            life=life,
            db=db or "treasury.db",
            embedded="false" if bus_port else "true",
            bus_port=bus_port or free_port(),
            api_port=api_port,
        )
        self.daemon = LiveDaemon(folder, config, api_port, program)
        self.market = self.daemon.state / PROVIDERS / "here"
        self.trained: list[Trained] = []
        self.acknowledged: list[str] = []
        self._db = db or str(self.daemon.db)

    def start(self) -> None:
        """Start the daemon and wait until it leads."""
        self.daemon.start()
        self.daemon.wait_ready(_PATIENCE)

    def submit(self, seconds: float = 3.0, count: int = 1) -> None:
        """Submit jobs of the example trainer; those whose answer came are acknowledged. Returns
        without one where nobody answers."""
        for _ in range(count):
            name = f"job-{len(self.trained) + 1}"
            steps = round(seconds / _STEP)
            places = {what: self.folder / what / name for what in ("witness", "result")}
            trained = Trained(job=name, seed=name, steps=steps, **places)
            self.trained.append(trained)
            command = [
                *(sys.executable, "-m", "treasury_simulations.trainer", "--every", "10"),
                *("--seed", name, "--steps", str(steps), "--step-seconds", str(_STEP)),
                *(f"--{what}={place}" for what, place in places.items()),
            ]
            job = {
                "id": name,
                "cost_centre": "team",
                "gpu": "H100",
                "duration": f"{max(1, round(seconds))}s",
                "command": command,
                "checkpoint": {"dir": "kept", "to": (self.folder / "kept").as_uri()},
                "grace": "2s",
            }
            with suppress(UserError, OSError):
                self.daemon.client.post("/v1/jobs", job)
                self.acknowledged.append(name)

    def settle(self) -> None:
        """Wait until every job that was taken is over and every machine gone, the daemon started
        again should it end; then end it."""

        def over() -> bool:
            if not self.daemon.alive():
                self.daemon.start()
            try:
                answer = self.daemon.client.get("/v1/jobs", ended=True)
                leases = self.daemon.client.get("/v1/leases")["leases"]
            except (UserError, OSError):
                return False
            ended = {row["id"] for row in answer["ended"]}
            return not answer["jobs"] and not leases and ended >= {*self.acknowledged}

        try:
            until(over, f"all jobs are over\n{self.daemon.tail()}")
        except AssertionError as error:
            with suppress(NoDaemon):
                print(self.daemon.client.get("/v1/jobs"), self.daemon.client.get("/v1/leases"))
            raise AssertionError(f"{error}\n{self.daemon.tail(60)}") from None
        assert self.daemon.stop() == 0, self.daemon.tail()

    def entries(self) -> list[Entry]:
        """The journal."""
        with closing(SqlStore.open(self._db, read_only=True)) as store:
            return list(store.entries())

    def check(self) -> tuple[Verdict, ...]:
        """Every law, after `settle`: no orphan, no doubled job, no overspend, the ledger is the
        meter, and nothing that was acknowledged is lost."""
        entries = self.entries()
        taken = [f.spec.id for e in entries for f in e.facts if isinstance(f, JobQueued)]
        assert len(taken) == len({*taken}), "a job was taken twice"
        lost = {*self.acknowledged} - {*taken}
        assert not lost, f"acknowledged and lost: {lost}"
        ended = {f.job: f.state for e in entries for f in e.facts if isinstance(f, JobEnded)}
        assert {ended.get(job) for job in taken} == {"finished"}, ended
        return self.laws()

    def laws(self) -> tuple[Verdict, ...]:
        """Every law of a run that is over, whatever became of its jobs."""
        entries = self.entries()
        taken = {f.spec.id for e in entries for f in e.facts if isinstance(f, JobQueued)}
        verdicts = prove(entries, self.market, [job for job in self.trained if job.job in taken])
        faults = [fault for verdict in verdicts for fault in verdict.faults]
        assert not faults, "\n".join(faults)
        return verdicts

    def running(self) -> int:
        """How many jobs have begun a step and are not over."""
        rows = self.daemon.client.get("/v1/jobs")["jobs"]
        return sum(row["state"] == "running" for row in rows)

    def agents(self) -> list[int]:
        """The node agents of all machines."""
        found = []
        for machine in State(self.market).machines():
            for pid in belonging(machine.folder):
                with suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    if b"treasury.node" in words:
                        found.append(pid)
        return found

    def close(self) -> None:
        """Leave no process behind."""
        self.daemon.kill()
        for machine in State(self.market).machines():
            kill(machine.folder)


@contextmanager
def farm(folder: Path, **how: object) -> Iterator[Farm]:
    """A farm that is cleared at the end."""
    found = Farm(folder, **how)
    try:
        yield found
    finally:
        found.close()


def kill_process(pid: int) -> None:
    """SIGKILL to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


__all__ = ["INSTALLATION", "RUN", "Farm", "farm", "kill_process", "pause", "until"]
