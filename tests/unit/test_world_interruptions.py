"""Interruptions: who is taken, when, with which warning, and who never is."""

import pytest

from tests.support.hand import Hand, only, plain
from tests.support.worlds import MemoryTrace, Row, job, pool
from treasury.domain.events import (
    AcquireDeclined,
    AcquireGranted,
    MachineLost,
    MachineNoticed,
    MachineReleased,
    WorkStopped,
)
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, MINUTE

A = pool("a")
NOTICE = plain(notice_ns=2 * MINUTE)


def rooms(*depths: tuple[int, int]) -> MemoryTrace:
    """One spot pool with room that changes at instants: (at, depth)."""
    rows: list[Row] = [(at, 0, NANO, depth) for at, depth in depths]
    return MemoryTrace((A,), rows)


def test_room_that_shrinks_takes_as_many_machines_as_no_longer_fit() -> None:
    """Five held, room for three: two go, and the dice of the seed say which."""

    def taken(seed: int) -> list[int]:
        hand = Hand(rooms((0, 5), (HOUR, 3)), seed=seed)
        hand.to(0)
        for _ in range(5):
            hand.acquire(A)
        told = hand.to(HOUR)
        return [event.lease for event in told if isinstance(event, MachineLost)]

    choices = {tuple(taken(seed)) for seed in range(12)}
    assert all(len(choice) == 2 for choice in choices) and len(choices) > 3
    assert taken(4) == taken(4)


def test_room_that_still_suffices_takes_nobody() -> None:
    """Less room than before, but enough for what is held."""
    hand = Hand(rooms((0, 5), (HOUR, 2)))
    hand.to(0)
    hand.acquire(A, 2)
    assert not any(isinstance(event, MachineLost) for event in hand.to(HOUR))


def test_a_notice_comes_first_and_the_machine_goes_when_it_ends() -> None:
    """Until then the machine works and is billed."""
    hand = Hand(rooms((0, 1), (HOUR, 0)), job(), capabilities=NOTICE)
    hand.to(0)
    _, (lease,) = hand.work(A)
    ends_at = HOUR + 2 * MINUTE
    assert only(hand.to(HOUR), MachineNoticed) == MachineNoticed(lease, HOUR, ends_at)
    assert only(hand.end(), MachineLost) == MachineLost(lease, ends_at, "capacity", ends_at)
    assert hand.bills() == {lease: 1_033_334}


def test_a_machine_given_back_within_its_notice_is_not_lost() -> None:
    """Checkpoint, release, and nothing is heard of it again."""
    hand = Hand(rooms((0, 1), (HOUR, 0)), job(), capabilities=NOTICE)
    hand.to(0)
    placement, (lease,) = hand.work(A)
    hand.to(HOUR + MINUTE)
    assert only(hand.stop(placement), WorkStopped).work_done == HOUR + MINUTE
    assert hand.release(lease) == [MachineReleased(lease, HOUR + MINUTE)]
    assert hand.end() == []


def test_a_notice_is_not_taken_back_but_room_that_returns_can_be_had() -> None:
    """The announced machine leaves; its place is somebody else's, the new room is free."""
    trace = rooms((0, 1), (HOUR, 0), (HOUR + MINUTE, 1))
    hand = Hand(trace, job(), capabilities=NOTICE)
    hand.to(0)
    hand.acquire(A)
    hand.to(HOUR)
    assert isinstance(hand.acquire(A)[2][0], AcquireDeclined)
    hand.to(HOUR + MINUTE)
    _, (fresh,), told = hand.acquire(A)
    assert isinstance(told[0], AcquireGranted)
    assert only(hand.end(), MachineLost).lease != fresh
    assert list(hand.world.machines) == [fresh]


def test_a_machine_is_announced_once() -> None:
    """Room that shrinks again while a notice runs does not announce the same machine twice."""
    hand = Hand(rooms((0, 2), (HOUR, 1), (HOUR + MINUTE, 0)), capabilities=NOTICE)
    hand.to(0)
    hand.acquire(A)
    hand.acquire(A)
    noticed = [event.lease for event in hand.end() if isinstance(event, MachineNoticed)]
    assert sorted(noticed) == [1, 2]


@pytest.mark.parametrize("tenure", [Tenure.ON_DEMAND, Tenure.RESERVED, Tenure.OWNED])
def test_what_is_not_spot_is_never_taken(tenure: Tenure) -> None:
    """A market that runs dry refuses newcomers and leaves alone who is there."""
    steady = pool("a", tenure)
    trace = MemoryTrace((steady,), ((0, 0, NANO, 2), (HOUR, 0, 9 * NANO, 0)))
    hand = Hand(trace, capabilities=plain(bids=True))
    hand.to(0)
    hand.acquire(steady, 2, bid=NANO)
    hand.end()
    assert len(hand.world.machines) == 2
    assert isinstance(hand.acquire(steady)[2][0], AcquireDeclined)


def test_a_price_above_the_bid_takes_the_machine_where_bids_are_taken() -> None:
    """Whoever bid the price or more stays."""
    trace = MemoryTrace((A,), ((0, 0, NANO, 9), (HOUR, 0, 2 * NANO, 9)))
    hand = Hand(trace, capabilities=plain(bids=True))
    hand.to(0)
    _, (low,), _ = hand.acquire(A, bid=2 * NANO - 1)
    _, (enough,), _ = hand.acquire(A, bid=2 * NANO)
    lost = only(hand.to(HOUR), MachineLost)
    assert (lost.lease, lost.cause) == (low, "outbid")
    assert list(hand.world.machines) == [enough]


def test_a_market_that_stops_selling_takes_its_spot_machines() -> None:
    """Rate -1 leaves room for nobody."""
    hand = Hand(MemoryTrace((A,), ((0, 0, NANO, 9), (HOUR, 0, -1, 9))))
    hand.to(0)
    hand.acquire(A, 3)
    told = hand.to(HOUR)
    assert sum(isinstance(event, MachineLost) for event in told) == 3
    assert not hand.world.busy
