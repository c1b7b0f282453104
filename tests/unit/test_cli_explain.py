"""A job's story out of a database: what happened, where it ran, what it cost, what it waits for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from treasury.cli.explain import cli
from treasury.cli.main import run
from treasury.domain import events as ev
from treasury.domain.budget import Budget
from treasury.domain.hardware import Shape
from treasury.domain.ids import (
    CostCentre,
    JobId,
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
    Token,
)
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Capabilities, Offer, Quote, Tenure
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Why
from treasury.domain.settings import EngineSettings
from treasury.domain.time import HOUR, MINUTE, parse_instant
from treasury.domain.turn import Entry
from treasury.store import SqlStore

START = parse_instant("2023-03-01T00:00:00Z")
JOB, SPOT, FIXED = JobId("train"), OfferId("aws/r/z/spot"), OfferId("aws/r/on_demand")


def offer(name: OfferId, tenure: Tenure, gpu: str = "V100") -> Offer:
    """A machine with one accelerator at aws."""
    return Offer(name, ProviderName("aws"), "r", "z", Shape(gpu, 1), tenure, Capabilities())


def spec(name: str = "train", gpu: str = "V100", **other: Any) -> JobSpec:
    """Ten hours of work for two machines."""
    return JobSpec(
        id=JobId(name),
        cost_centre=CostCentre("team"),
        requirement=Requirement(throughput={gpu: 1_000}, nodes=2),
        work=10 * HOUR,
        submitted_at=START,
        **other,
    )


MARKET: tuple[ev.Fact, ...] = (
    ev.Configured(
        EngineSettings(),
        (
            Budget(cost_centre=CostCentre("lab"), amount=90 * MICRO, ceiling=2 * NANO),
            Budget(cost_centre=CostCentre("team"), amount=9 * MICRO, parent=CostCentre("lab")),
        ),
    ),
    ev.OffersListed(
        ProviderName("aws"), (offer(SPOT, Tenure.SPOT), offer(FIXED, Tenure.ON_DEMAND))
    ),
    ev.Quoted((Quote(SPOT, NANO, 1, START, START), Quote(FIXED, 3 * NANO, -1, START, START))),
)


def placement(number: int, name: OfferId, at: int, leases: Sequence[int]) -> ev.PlacementOpened:
    """Two machines asked for."""
    return ev.PlacementOpened(
        PlacementId(number),
        JOB,
        name,
        tuple(LeaseId(lease) for lease in leases),
        2 * NANO,
        Token("t"),
        at,
        migration=False,
        holds=((), ()),
    )


def metered(lease: int, charge: int) -> ev.LeaseMetered:
    """A charge so far."""
    return ev.LeaseMetered(LeaseId(lease), START, 0, charge, NANO, ())


Turns = list[tuple[int, Sequence[ev.Fact]]]


def explain(folder: Path, turns: Turns, *options: str) -> Result:
    """The verb's answer about a journal of these turns (hours after the start, facts)."""
    path = folder / "x.db"
    store = SqlStore.open(path)
    for seq, (hours, facts) in enumerate(turns, start=1):
        store.append(Entry(seq, START + hours * HOUR, tuple(facts), (), ()))
    store.close()
    return CliRunner().invoke(cli, ["train", "--db", str(path), *options])


LIFE: Turns = [
    (0, [*MARKET, ev.JobQueued(spec(deadline=START + 20 * HOUR))]),
    (1, [ev.JobWaits(JOB, Why.NO_CAPACITY, "1 of 2 machines in z")]),
    (2, [ev.JobWaits(JOB, Why.NO_CAPACITY, "1 of 2 machines in z")]),
    (3, [placement(1, SPOT, START + 3 * HOUR, [1, 2])]),
    (4, [ev.LeasesGranted(PlacementId(1), ("a", "b"), START + 4 * HOUR, NANO)]),
    (5, [ev.WorkRunning(JOB, PlacementId(1), START + 5 * HOUR), metered(1, 500), metered(9, 77)]),
    (
        8,
        [
            metered(1, 4 * MICRO),
            metered(2, 4 * MICRO),
            ev.LeaseEnded(LeaseId(2), START + 8 * HOUR, lost=True, cause="capacity"),
            ev.PlacementClosed(PlacementId(1), JOB, START + 8 * HOUR, "interrupted"),
            ev.JobRequeued(JOB, START + 8 * HOUR, 2 * HOUR, 45 * MINUTE, "interrupted"),
        ],
    ),
]
END: Turns = [
    (9, [placement(2, FIXED, START + 9 * HOUR, [3, 4])]),
    (10, [ev.LeasesGranted(PlacementId(2), ("c", "d"), START + 10 * HOUR, 3 * NANO)]),
    (10, [ev.WorkRunning(JOB, PlacementId(2), START + 10 * HOUR)]),
    (18, [metered(3, 25 * MICRO), ev.JobEnded(JOB, START + 18 * HOUR, "finished")]),
]


def test_a_finished_job_is_told_from_queue_to_end(tmp_path: Path) -> None:
    """Waits are told once while the reason stands; cost is the last charge of each machine."""
    result = explain(tmp_path, LIFE + END)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == f"Job train of team, priority 0 ({tmp_path / 'x.db'})"
    assert lines[1] == "wants 2 x 1 of V100 x1; 10h of work; deadline 2023-03-01T20:00:00Z"
    assert lines[2] == (
        "finished at 2023-03-01T18:00:00Z; 2h before its deadline; cost 33.00 USD; "
        "1 interruptions; 0 migrations; 45m of work lost"
    )
    told = [" ".join(line.split()[1:]) for line in lines if line.startswith("2023-03-01T")]
    assert told == [
        "queued 10h of work",
        "waits (no_capacity) 1 of 2 machines in z",
        "asks for 2 x aws/r/z/spot, at most 2.0000 USD/h each",
        "granted aws/r/z/spot at 1.0000 USD/h each",
        "runs on aws/r/z/spot",
        "machine lost aws/r/z/spot: capacity",
        "queued again interrupted: 2h done, 45m lost",
        "asks for 2 x aws/r/on_demand, at most 2.0000 USD/h each",
        "granted aws/r/on_demand at 3.0000 USD/h each",
        "runs on aws/r/on_demand",
        "finished -",
    ]
    stay = next(line for line in lines if line.startswith("aws/r/z/spot"))
    assert stay.split()[1:] == [
        "2", "2023-03-01T04:00:00Z", "2023-03-01T08:00:00Z", "4h", "8.00", "USD", "capacity"
    ]  # fmt: skip
    assert "What would place it" not in result.output


def test_a_waiting_job_learns_what_would_place_it(tmp_path: Path) -> None:
    """Every offer that fits is named with its price and what stands in the way."""
    result = explain(tmp_path, LIFE)
    assert "queued at 2023-03-01T08:00:00Z; cost 8.00 USD" in result.output
    outlook = result.output.partition("What would place it (2 of 2 offers that fit)\n")[2]
    _, spot, fixed = (" ".join(line.split()) for line in outlook.splitlines())
    assert spot == "aws/r/z/spot 1.0000 USD/h 1.0000 USD/h 1 machines to be had, 2 wanted"
    assert fixed == (
        "aws/r/on_demand 3.0000 USD/h 3.0000 USD/h above the ceiling of lab, 2.0000 USD/h a GPU"
    )


def test_a_refusal_says_when_it_would_fit(tmp_path: Path) -> None:
    """The guard's last word stands above the offers until the job is placed."""
    refused = ev.ActionRefused(
        JOB, Why.BUDGET, "team: 12.00 USD asked, 9.00 USD available", None, 0, 0, 0, 0, START
    )
    result = explain(tmp_path, [*LIFE, (9, [refused])])
    assert (
        "The last refusal: team: 12.00 USD asked, 9.00 USD available; "
        "fits at 2023-03-01T00:00:00Z\n"
    ) in result.output
    assert "refused (budget)" in result.output


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (spec(gpu="H100"), "it accepts H100, the market sells V100"),
        (
            msgspec.structs.replace(
                spec(), requirement=Requirement(throughput={"V100": 1_000}, gpus=8)
            ),
            "it wants 8 accelerators a machine, the largest has 1",
        ),
    ],
)
def test_a_job_nothing_fits_learns_why(tmp_path: Path, wanted: JobSpec, reason: str) -> None:
    """The first requirement that the whole market fails is named."""
    result = explain(tmp_path, [(0, [*MARKET, ev.JobQueued(wanted)])])
    assert f"Nothing would place it: {reason}\n" in result.output


def test_programs_get_what_happened(tmp_path: Path) -> None:
    """JSON is the list of steps alone."""
    steps = json.loads(explain(tmp_path, LIFE, "-o", "json").output)
    assert steps[0] == {"at": "2023-03-01T00:00:00Z", "what": "queued", "detail": "10h of work"}
    assert len(steps) == 7


def test_who_is_not_there_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another name gets the nearest, a job that was rejected the reason."""
    explain(
        tmp_path, [(0, [ev.JobQueued(spec("trains"))]), (0, [ev.JobRejected(JobId("no"), "x")])]
    )
    for name, answer in (("train", 'did you mean "trains"?'), ("no", "was not taken: x")):
        with pytest.raises(SystemExit) as leaving:
            run(["explain", name, "--db", str(tmp_path / "x.db")])
        assert leaving.value.code == 2
        assert answer in capsys.readouterr().err
