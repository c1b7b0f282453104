"""A provider's listing: its truth, as late as its model says."""

from tests.support.hand import Hand, flat, plain
from tests.support.worlds import MemoryTrace, pool
from treasury.domain.events import LeaseSeen
from treasury.domain.ids import request_token
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, MINUTE

A = pool("a")


def listed(hand: Hand, provider: str = "aws") -> list[int]:
    """Leases in the listing now."""
    return [seen.lease for seen in hand.world.leases(provider, hand.now).leases]


def test_a_listing_names_every_machine_with_its_tag() -> None:
    """Lease, placement, machine, grant, rate and token, in order of the leases."""
    hand = Hand(flat())
    hand.to(HOUR)
    hand.acquire(A, 2)
    listing = hand.world.leases("aws", HOUR)
    token = request_token("test", 1, 1)
    assert (listing.provider, listing.at) == ("aws", HOUR)
    assert listing.leases == (
        LeaseSeen(1, 1, "aws-1", HOUR, NANO, token, ready=True),
        LeaseSeen(2, 1, "aws-2", HOUR, NANO, token, ready=True),
    )


def test_a_late_listing_misses_the_new_and_keeps_the_gone() -> None:
    """With a lag of five minutes a machine appears and vanishes five minutes after the fact."""
    hand = Hand(flat(), capabilities=plain(listing_lag_ns=5 * MINUTE))
    hand.to(0)
    hand.acquire(A)
    seen = []
    for minute, release in ((1, 0), (6, 0), (10, 1), (14, 0), (15, 0), (60, 0)):
        hand.to(minute * MINUTE)
        if release:
            hand.release(1)
        seen.append(listed(hand))
    assert seen == [[], [1], [1], [1], [], []]


def test_a_listing_is_of_one_provider() -> None:
    """Machines of others are not in it."""
    other = pool("a", provider="gcp")
    hand = Hand(MemoryTrace((A, other), ((0, 0, NANO, 4), (0, 1, NANO, 4))))
    hand.to(0)
    hand.acquire(A)
    hand.acquire(other)
    assert (listed(hand), listed(hand, "gcp")) == ([1], [2])
