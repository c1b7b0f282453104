"""Work in the pretend world: when it begins and ends, what a checkpoint holds, what is lost."""

import pytest

from tests.support.hand import Hand, flat, only, plain
from tests.support.worlds import MemoryTrace, job, pool
from treasury.domain.errors import InvariantBroken
from treasury.domain.events import MachineLost, WorkBegan, WorkEnded, WorkStopped
from treasury.domain.job import Requirement
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, MINUTE

A = pool("a")


def vanishing(at: int, depth: int = 4) -> MemoryTrace:
    """A pool that has no room left from an instant on."""
    return MemoryTrace((A,), ((0, 0, NANO, depth), (at, 0, NANO, 0)))


@pytest.mark.parametrize(
    ("speed", "work", "took"), [(1_000, 10, 10), (2_000, 11, 6), (700, 7, 10), (333, 1, 4)]
)
def test_work_ends_when_it_is_done_at_the_machines_speed(speed: int, work: int, took: int) -> None:
    """The start overhead is paid first; a part of a ns is rounded up."""
    spec = job(requirement=Requirement({"V100": speed}), work=work, start_overhead=MINUTE)
    hand = Hand(flat(), spec)
    hand.to(0)
    placement, _ = hand.work(A)
    assert hand.end() == [
        WorkBegan("j", placement, MINUTE),
        WorkEnded("j", placement, MINUTE + took),
    ]


def test_without_overhead_work_begins_at_once() -> None:
    """The first useful step comes with the answer to the start."""
    hand = Hand(flat())
    hand.to(0)
    placement, leases, _ = hand.acquire(A)
    assert hand.start(placement, leases) == [WorkBegan("j", placement, 0)]


def test_a_stop_saves_all_work_and_a_start_goes_on_from_there() -> None:
    """The checkpoint is taken on the spot, whatever the interval; the rest takes the rest."""
    hand = Hand(flat(), job(work=10 * HOUR, checkpoint_interval=4 * HOUR))
    hand.to(0)
    placement, leases = hand.work(A)
    hand.to(3 * HOUR)
    assert hand.stop(placement) == [WorkStopped("j", placement, 3 * HOUR, 3 * HOUR)]
    assert hand.stop(placement) == []
    hand.to(5 * HOUR)
    hand.start(placement, leases, done=3 * HOUR)
    assert only(hand.end(), WorkEnded).at == 12 * HOUR


def test_a_stop_during_the_overhead_saves_what_there_was() -> None:
    """Nothing useful was done yet, nothing is lost."""
    hand = Hand(flat(), job(start_overhead=HOUR))
    hand.to(0)
    placement, _ = hand.work(A)
    hand.to(MINUTE)
    assert hand.stop(placement) == [WorkStopped("j", placement, MINUTE, 0)]
    assert hand.end() == []


@pytest.mark.parametrize(
    ("interval", "lost_at", "kept"),
    [
        (2 * HOUR, 5 * HOUR, 4 * HOUR),
        (2 * HOUR, 4 * HOUR, 4 * HOUR),
        (2 * HOUR, HOUR, 0),
        (0, 5 * HOUR, 5 * HOUR),
    ],
)
def test_an_interruption_costs_what_was_done_since_the_last_checkpoint(
    interval: int, lost_at: int, kept: int
) -> None:
    """Checkpoints fall on multiples of the interval of useful time; interval 0 loses nothing."""
    spec = job(checkpoint_interval=interval, start_overhead=MINUTE)
    hand = Hand(vanishing(lost_at + MINUTE), spec)
    hand.to(0)
    _, (lease,) = hand.work(A)
    assert only(hand.end(), MachineLost) == MachineLost(lease, lost_at + MINUTE, "capacity", kept)


def test_an_interruption_during_the_overhead_keeps_the_last_checkpoint() -> None:
    """A start that never became useful loses its overhead alone."""
    hand = Hand(vanishing(MINUTE), job(start_overhead=HOUR))
    hand.to(0)
    hand.work(A)
    assert only(hand.end(), MachineLost).work_done == 0


def test_an_idle_machine_has_no_work_to_lose() -> None:
    """Nothing is said of work where none ran."""
    hand = Hand(vanishing(MINUTE))
    hand.to(0)
    hand.acquire(A)
    assert only(hand.end(), MachineLost).work_done is None


def test_work_that_ends_with_its_machine_has_ended() -> None:
    """At one instant work ends before the market takes the machine."""
    hand = Hand(vanishing(HOUR), job(work=HOUR))
    hand.to(0)
    hand.work(A)
    told = [type(event).__name__ for event in hand.end()]
    assert told == ["WorkEnded", "SeeQuotes", "MachineLost"]


def test_a_gang_that_loses_one_machine_stops_and_keeps_the_others() -> None:
    """The rest stays held, and billed, until it is given back."""
    trace = MemoryTrace((A,), ((0, 0, NANO, 3), (2 * HOUR, 0, NANO, 2)))
    spec = job(nodes=3, checkpoint_interval=90 * MINUTE)
    hand = Hand(trace, spec)
    hand.to(0)
    placement, leases = hand.work(A, 3)
    lost = only(hand.to(3 * HOUR), MachineLost)
    assert lost.work_done == 90 * MINUTE
    rest = [lease for lease in leases if lease != lost.lease]
    assert list(hand.world.machines) == rest and not hand.world.working
    with pytest.raises(InvariantBroken, match="not complete"):
        hand.start(placement, tuple(rest))
    for lease in rest:
        hand.release(lease)
    assert sorted(hand.bills().values()) == [2_000_000, 3_000_000, 3_000_000]


def test_a_release_under_running_work_goes_back_to_its_checkpoint() -> None:
    """Giving a machine back without stopping the job loses what was not saved."""
    hand = Hand(flat(), job(checkpoint_interval=2 * HOUR))
    hand.to(0)
    _, (lease,) = hand.work(A)
    hand.to(3 * HOUR)
    hand.release(lease)
    assert hand.world.saved["j"] == 2 * HOUR and hand.end() == []


def test_what_no_checkpoint_holds_cannot_be_resumed() -> None:
    """A start may not claim more work than was saved: the mistake would be ours."""
    hand = Hand(flat())
    hand.to(0)
    placement, leases, _ = hand.acquire(A)
    with pytest.raises(InvariantBroken, match="no checkpoint"):
        hand.start(placement, leases, done=1)


def test_a_job_cannot_work_in_two_places() -> None:
    """The world holds whoever tries to be mistaken."""
    hand = Hand(flat())
    hand.to(0)
    hand.work(A)
    placement, leases, _ = hand.acquire(A)
    with pytest.raises(InvariantBroken, match="at work on placement 1"):
        hand.start(placement, leases)


def test_a_machine_that_has_not_booted_cannot_work() -> None:
    """Ready comes before work."""
    hand = Hand(flat(), capabilities=plain(boot_ns=MINUTE))
    hand.to(0)
    placement, leases, _ = hand.acquire(A)
    with pytest.raises(InvariantBroken, match="not ready"):
        hand.start(placement, leases)


def test_a_job_that_does_not_fit_cannot_work() -> None:
    """A machine without an acceptable accelerator does nothing for a job."""
    hand = Hand(flat(), job(requirement=Requirement({"H100": 1_000})))
    hand.to(0)
    placement, leases, _ = hand.acquire(A)
    with pytest.raises(InvariantBroken, match="does not fit"):
        hand.start(placement, leases)
