"""Jobs drawn from the rows of a jobs trace: the same each time, each on its own."""

from collections import Counter
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.config import DemandModel
from treasury.config.sections import DeadlineSection
from treasury.domain.errors import BadValue
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, MINUTE
from treasury_simulations.demand import draw, draw_jobs, shift
from treasury_simulations.traces import JobRow

MODEL = DemandModel(
    throughput={"A100-40GB": 2_200, "V100": 1_000},
    cost_centres={"vc1": "research", "*": "others"},
    start_overhead=10 * MINUTE,
    checkpoint_interval=30 * MINUTE,
    deadlines=DeadlineSection(share=500, slack=(1_300, 3_000)),
    priorities={0: 700, 1: 200, 2: 100},
    value=2_500_000_000,
)


def row(number: int, *, gpus: int = 1, nodes: int = 1, group: str = "vc1") -> JobRow:
    """A two-hour job submitted in hour `number`."""
    return JobRow(number * HOUR, f"job-{number:04}", gpus, nodes, 2 * HOUR, group, 0, None)


ROWS = [row(number) for number in range(2_000)]


def test_the_same_seed_draws_the_same_jobs_and_another_does_not() -> None:
    """Draws depend on the seed and on nothing else."""
    jobs = draw_jobs(ROWS, MODEL, seed=7)
    assert draw_jobs(ROWS, MODEL, seed=7) == jobs
    assert draw_jobs(ROWS, MODEL, seed=8) != jobs


def test_draws_are_pinned() -> None:
    """The hash behind the draws is part of every journal's hash: it may not change unnoticed."""
    assert [draw(1, "deadline", f"job-{n}", 1_000) for n in range(4)] == [20, 557, 64, 290]


@given(kept=st.sets(st.integers(0, 99), min_size=1), seed=st.integers(0, 2**31 - 1))
def test_a_job_does_not_disturb_another(kept: set[int], seed: int) -> None:
    """Whatever other rows are there, a job is drawn the same."""
    everything = {job.id: job for job in draw_jobs(ROWS[:100], MODEL, seed)}
    for job in draw_jobs([ROWS[number] for number in sorted(kept)], MODEL, seed):
        assert job == everything[job.id]


def test_a_purpose_does_not_disturb_another() -> None:
    """Changing how deadlines are drawn leaves every priority as it was."""
    other = msgspec.structs.replace(MODEL, deadlines=None)
    before = [job.priority for job in draw_jobs(ROWS, MODEL, 1)]
    assert [job.priority for job in draw_jobs(ROWS, other, 1)] == before


def test_shares_are_kept_within_what_chance_allows() -> None:
    """Of 2,000 jobs half have deadlines and priorities fall as configured, within four sigmas."""
    jobs = draw_jobs(ROWS, MODEL, 1)
    assert abs(sum(job.deadline is not None for job in jobs) - 1_000) < 90
    counts = Counter(job.priority for job in jobs)
    assert set(counts) == {0, 1, 2}
    assert abs(counts[1] - 400) < 72
    assert abs(counts[2] - 200) < 54


def test_deadlines_lie_in_the_slack_range() -> None:
    """A deadline is a factor of the range times (start overhead + work), and the range is used."""
    need = 10 * MINUTE + 2 * HOUR
    slack = [
        (job.deadline - job.submitted_at) * 1_000 // need
        for job in draw_jobs(ROWS, MODEL, 1)
        if job.deadline is not None
    ]
    assert 1_300 <= min(slack) < 1_320
    assert 2_980 < max(slack) <= 3_000


def test_a_row_keeps_its_own_deadline_and_priority() -> None:
    """What the trace knows is not drawn."""
    own = row(3)._replace(deadline=99 * HOUR, priority=5)
    (job,) = draw_jobs([own], MODEL, 1)
    assert (job.deadline, job.priority) == (99 * HOUR, 5)


@pytest.mark.parametrize(
    ("gpus", "nodes", "size", "expected"),
    [(8, 2, 0, (8, 2)), (8, 1, 1, (1, 8)), (8, 2, 4, (4, 4)), (1, 1, 4, (1, 1)), (3, 1, 2, (2, 2))],
)
def test_a_gang_is_spread_over_machines_the_market_sells(
    gpus: int, nodes: int, size: int, expected: tuple[int, int]
) -> None:
    """`gpus_per_node` reshapes a job and never leaves it with fewer GPUs than it had."""
    model = msgspec.structs.replace(MODEL, gpus_per_node=size)
    (job,) = draw_jobs([row(0, gpus=gpus, nodes=nodes)], model, 1)
    assert (job.requirement.gpus, job.requirement.nodes) == expected
    assert job.requirement.gpus * job.requirement.nodes >= gpus * nodes


def test_a_job_takes_what_the_model_says() -> None:
    """Work is the row's duration; value is money per reference GPU-hour over the whole gang."""
    (job,) = draw_jobs([row(0, nodes=4)], MODEL, 1)
    assert job.work == 2 * HOUR
    assert (job.start_overhead, job.checkpoint_interval) == (10 * MINUTE, 30 * MINUTE)
    assert job.value == 4 * 2 * 2_500_000
    assert job.value == 20 * MICRO
    assert job.requirement.throughput == MODEL.throughput


def test_groups_are_paid_for_by_their_cost_centres() -> None:
    """A named group, any other group, and an error where nobody would pay."""
    jobs = draw_jobs([row(0), row(1, group="vc9")], MODEL, 1)
    assert [job.cost_centre for job in jobs] == ["research", "others"]
    nobody = msgspec.structs.replace(MODEL, cost_centres={"vc1": "research"})
    with pytest.raises(BadValue, match=r"job job-0001: group 'vc9'.*\"\*\" there for all others"):
        draw_jobs([row(1, group="vc9")], nobody, 1)


def test_the_limit_takes_the_first_rows_without_reading_on() -> None:
    """A trace of any length is read only as far as it is used."""
    model = msgspec.structs.replace(MODEL, limit=3)
    jobs = draw_jobs((row(number) for number in count()), model, 1)
    assert [job.id for job in jobs] == ["job-0000", "job-0001", "job-0002"]


def test_shifting_moves_submissions_and_deadlines_together() -> None:
    """The first job begins where asked, and every distance stays."""
    rows = [row(5)._replace(deadline=9 * HOUR), row(6)]
    moved = list(shift(rows, 100 * HOUR))
    assert [item.at for item in moved] == [100 * HOUR, 101 * HOUR]
    assert [item.deadline for item in moved] == [104 * HOUR, None]
