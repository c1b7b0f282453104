"""The story of `treasury demo live`: market, budgets, jobs, and who orders what when.

Everything is a hundred times dearer than on a real market, so that two minutes are worth reading.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from treasury.cli.client import Client
from treasury.cli.live.daemon import LiveDaemon
from treasury.domain.errors import UserError
from treasury.domain.money import MICRO
from treasury_simulations.live_proof import Trained

MARKET: Final = "here"
OPERATOR: Final = "demo"
# Steps take this long, checkpoints come this often [steps].
_STEP_SECONDS: Final = 0.1
_EVERY: Final = 10
_TOP_UP: Final = 5 * MICRO

_CONFIG: Final = """\
# Written by `treasury demo live`.
[engine]
installation = "live"
tick = "1s"
accrual = "2s"
horizon = "20s"
quarantine = "5s"
boot_limit = "30s"
stop_limit = "30s"

[[budget]]
cost_centre = "lab"
amount = "200 USD"

[[budget]]
cost_centre = "research"
amount = "150 USD"
parent = "lab"

[[budget]]
cost_centre = "sweeps"
amount = "2.40 USD"
parent = "lab"

[provider.{market}]
kind = "local"
slots = 3
zones = 2
on_demand = "360 USD/h"
spot = 350
volatility = 500
squeezes = 60
life = "60s"
notice = "4s"
tick = "2s"
seed = {seed}
origin = {origin}

[strategy.optimal]
patience = "5s"
horizon = "60s"
payback = "20s"
spot_payback = "10s"
min_stay = "6s"
yield_after = "2s"

[daemon]
db = "{db}"
state = "{state}"
strategy = "optimal"
lease = "5s"

[bus]
embedded = true
port = {bus_port}

[api]
port = {api_port}
"""


def configuration(folder: Path, seed: int, origin: int, api_port: int, bus_port: int) -> str:
    """The daemon's configuration. origin: the instant [ns] at which prices begin to follow the
    seed."""
    return _CONFIG.format(
        market=MARKET,
        seed=seed,
        origin=origin,
        db=folder / "treasury.db",
        state=folder / "treasury-state",
        api_port=api_port,
        bus_port=bus_port,
    )


class Cast:
    """The jobs, and where each one's witness and result are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.trained: list[Trained] = []

    def job(self, name: str, seconds: int, centre: str = "research", priority: int = 0) -> Any:
        """A job file for the example trainer that works for so long."""
        steps = round(seconds / _STEP_SECONDS)
        trained = Trained(
            job=name,
            seed=name,
            steps=steps,
            witness=self._folder / "witness" / name,
            result=self._folder / "results" / f"{name}.json",
        )
        self.trained.append(trained)
        command = [
            *(sys.executable, "-m", "treasury_simulations.trainer"),
            *("--seed", name, "--steps", str(steps), "--step-seconds", str(_STEP_SECONDS)),
            *("--every", str(_EVERY), "--witness", str(trained.witness)),
            *("--result", str(trained.result)),
        ]
        return {
            "id": name,
            "cost_centre": centre,
            "gpu": "H100",
            "duration": f"{seconds}s",
            "start_overhead": "1s",
            "priority": priority,
            "command": command,
            "checkpoint": {
                "dir": "checkpoint",
                "to": (self._folder / "checkpoints").as_uri(),
                "interval": "2s",
            },
            "grace": "2s",
        }


class Act:
    """Something that happens `at` so many seconds after the beginning: tried again until it can be
    done, or until it is `late`. line: what the board says."""

    def __init__(
        self, at: float, line: str, do: Callable[[LiveDaemon], bool], late: float = 30.0
    ) -> None:
        self.at, self.line, self.do, self.late = at, line, do, at + late


def acts(cast: Cast) -> list[Act]:
    """The story, in order."""
    first = [cast.job("sweep-1", 32, centre="sweeps")]
    first += [cast.job(f"train-{n}", 22 + 3 * n) for n in range(1, 8)]
    first += [cast.job(f"eval-{n}", 14) for n in (1, 2)]
    urgent = [cast.job(f"urgent-{n}", 15, priority=100) for n in (1, 2)]
    return [
        Act(0, "ten jobs for nine machines", lambda daemon: _submit(daemon.client, first)),
        Act(
            10,
            "two urgent jobs, and nothing is free",
            lambda daemon: _submit(daemon.client, urgent),
        ),
        Act(18, "an operator migrates a job", lambda daemon: _migrate(daemon.client)),
        Act(28, "the daemon is killed, and started again", _kill),
        Act(46, "sweeps gets 5 USD more", lambda daemon: _top_up(daemon.client)),
    ]


def _submit(client: Client, jobs: list[Any]) -> bool:
    for job in jobs:
        client.post("/v1/jobs", job)
    return True


def _running(client: Client) -> Iterator[dict[str, Any]]:
    """Jobs that run and have a while to go, the longest first."""
    rows = client.get("/v1/jobs")["jobs"]
    running = [row for row in rows if row["state"] == "running" and not row["moving"]]
    yield from sorted(running, key=lambda row: row["work_done"] - row["work"])


def _migrate(client: Client) -> bool:
    """Move the first job that can be to the cheapest other pool with room."""
    offers = sorted(client.get("/v1/offers")["offers"], key=lambda row: row["rate"] or 0)
    free = [row["id"] for row in offers if row["rate"] and row["in_use"] < (row["depth"] or 0)]
    for job in _running(client):
        for offer in free:
            if offer == job["offer"] or job["cost_centre"] != "research":
                continue
            try:
                client.post(f"/v1/jobs/{job['id']}/move", {"offer": offer, "by": OPERATOR})
            except UserError:
                continue
            return True
    return False


def _kill(daemon: LiveDaemon) -> bool:
    """As a power cut would: nothing is told, nothing is saved. The machines go on meanwhile."""
    daemon.kill()
    daemon.start()
    return True


def _top_up(client: Client) -> bool:
    body = {"amount": _TOP_UP, "by": OPERATOR}
    client.post("/v1/budgets/sweeps/change", body)
    return True


__all__ = ["MARKET", "Act", "Cast", "acts", "configuration"]
