"""Requests for machines: granted whole, refused with a reason, answered once."""

from typing import Any

import pytest

from tests.support.hand import Hand, flat, only, plain
from tests.support.worlds import MemoryTrace, pool
from treasury.domain.commands import Acquire
from treasury.domain.events import (
    AcquireDeclined,
    AcquireGranted,
    MachineLost,
    MachineReady,
    MachineReleased,
)
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, MINUTE, SECOND

A, B = pool("a"), pool("b")


def test_a_gang_is_granted_and_ready_at_once_where_nothing_takes_time() -> None:
    """One grant with all machines in lease order, then each machine ready, in the same batch."""
    hand = Hand(flat())
    hand.to(0)
    placement, leases, told = hand.acquire(A, 3)
    granted = told[0]
    assert isinstance(granted, AcquireGranted)
    assert (granted.placement, len(granted.machines), granted.rate) == (placement, 3, NANO)
    assert told[1:] == [MachineReady(lease, 0) for lease in leases]


def test_grant_and_boot_take_their_time_and_billing_begins_with_the_grant() -> None:
    """The request is decided after the grant delay, the machine is ready after its boot."""
    hand = Hand(flat(), capabilities=plain(grant_delay_ns=20 * SECOND, boot_ns=MINUTE))
    hand.to(0)
    _, (lease,), told = hand.acquire(A)
    assert told == [] and hand.world.busy
    assert only(hand.to(20 * SECOND), AcquireGranted).at == 20 * SECOND
    assert only(hand.to(HOUR), MachineReady).at == 80 * SECOND
    hand.release(lease)
    assert hand.bills() == {lease: 1_000_000 * (3_600 - 20) // 3_600 + 1}


def test_a_request_is_decided_by_the_market_at_its_grant() -> None:
    """Room that vanishes while a request is on its way refuses it."""
    trace = MemoryTrace((A,), ((0, 0, NANO, 1), (10 * SECOND, 0, NANO, 0)))
    hand = Hand(trace, capabilities=plain(grant_delay_ns=20 * SECOND))
    hand.to(0)
    hand.acquire(A)
    assert only(hand.to(MINUTE), AcquireDeclined).error == "NoCapacity"


@pytest.mark.parametrize(
    ("error", "how", "model"),
    [
        ("NoCapacity", {"nodes": 5}, {}),
        ("OfferGone", {"offer": "aws/us/c/x/spot"}, {}),
        ("BidTooLow", {"bid": NANO - 1}, {"capabilities": plain(bids=True)}),
        ("QuotaReached", {"nodes": 3}, {"quota": 2}),
        ("NoCapacity", {"nodes": 3}, {"capabilities": plain(gang_max=2)}),
        ("NoCapacity", {"offer": B}, {}),
    ],
)
def test_a_refusal_says_why_and_takes_nothing(
    error: str, how: dict[str, Any], model: dict[str, Any]
) -> None:
    """All or nothing: with a reason to refuse no machine of the gang is granted."""
    hand = Hand(MemoryTrace((A, B), ((0, 0, NANO, 4),)), **model)
    hand.to(0)
    placement, _, told = hand.acquire(**{"offer": A, **how})
    assert told == [AcquireDeclined(placement, error, 0)]
    assert not hand.world.busy


def test_room_is_shared_by_all_who_hold() -> None:
    """What is held is gone for others until it is given back."""
    hand = Hand(flat(depth=2))
    hand.to(0)
    _, (first, _), _ = hand.acquire(A, 2)
    assert isinstance(hand.acquire(A)[2][0], AcquireDeclined)
    hand.release(first)
    assert isinstance(hand.acquire(A)[2][0], AcquireGranted)


def test_where_no_bids_are_taken_they_do_not_matter() -> None:
    """A market without bids grants at its own price and never evicts for a low bid."""
    hand = Hand(MemoryTrace((A,), ((0, 0, NANO, 1), (HOUR, 0, 9 * NANO, 1))))
    hand.to(0)
    assert isinstance(hand.acquire(A, bid=1)[2][0], AcquireGranted)
    hand.to(HOUR)
    assert len(hand.world.machines) == 1


def test_the_same_token_gets_the_same_answer() -> None:
    """A repeated request changes nothing, whether it was granted, declined or is under way."""
    hand = Hand(flat(depth=1), capabilities=plain(grant_delay_ns=SECOND))
    hand.to(0)
    first = Acquire("aws", A.id, 1, (1,), NANO, "t1")
    assert hand.order(first) + hand.order(first) == []
    granted = only(hand.to(SECOND), AcquireGranted)
    second = Acquire("aws", A.id, 2, (2,), NANO, "t2")
    hand.order(second)
    declined = only(hand.to(2 * SECOND), AcquireDeclined)
    assert hand.order(first) == [granted]
    assert hand.order(second) == [declined]
    assert list(hand.world.machines) == [1]


def test_dice_refuse_a_share_of_requests_the_same_each_time() -> None:
    """Of a thousand requests about as many are refused as the model says; the seed says which."""

    def refused(seed: int) -> list[int]:
        hand = Hand(flat(depth=-1), seed=seed, depth=-1, refusal_per_mille=300)
        hand.to(0)
        answers = [hand.acquire(A)[2][0] for _ in range(1_000)]
        return [i for i, answer in enumerate(answers) if isinstance(answer, AcquireDeclined)]

    assert 250 < len(refused(1)) < 350
    assert refused(1) == refused(1) != refused(2)


def test_a_release_is_answered_however_often_it_comes() -> None:
    """Already gone is success, and costs nothing more."""
    hand = Hand(flat())
    hand.to(0)
    _, (lease,), _ = hand.acquire(A)
    hand.to(HOUR)
    assert hand.release(lease) == [MachineReleased(lease, HOUR)]
    hand.to(2 * HOUR)
    assert hand.release(lease) == [MachineReleased(lease, 2 * HOUR)]
    assert hand.release(99) == [MachineReleased(99, 2 * HOUR)]
    assert hand.bills() == {lease: 1_000_000}


def test_a_bid_lowered_below_the_price_loses_the_machine() -> None:
    """Where the market takes bids, changing one is judged at once."""
    hand = Hand(flat(), capabilities=plain(bids=True))
    hand.to(0)
    _, (lease,), _ = hand.acquire(A, bid=3 * NANO)
    assert hand.rebid(lease, NANO) == []
    assert only(hand.rebid(lease, NANO - 1), MachineLost).cause == "outbid"
    assert hand.rebid(lease, NANO) == []


def test_on_demand_machines_are_not_outbid() -> None:
    """Only spot machines go back to the highest bidder."""
    hand = Hand(flat(tenure=Tenure.ON_DEMAND), capabilities=plain(bids=True))
    hand.to(0)
    _, (lease,), _ = hand.acquire(pool(tenure=Tenure.ON_DEMAND), bid=NANO)
    assert hand.rebid(lease, 1) == []


def test_the_log_has_every_command_that_arrived() -> None:
    """Where a log is kept, commands are in it in their order."""
    hand = Hand(flat())
    hand.world.log = log = []
    hand.to(0)
    placement, leases = hand.work(A)
    hand.stop(placement)
    hand.release(leases[0])
    assert [type(command).__name__ for command in log] == [
        "Acquire", "StartWork", "StopWork", "Release",
    ]  # fmt: skip
