"""What pretend markets sell and say."""

import pytest

from tests.support.hand import Hand, flat, only
from tests.support.worlds import MemoryTrace, pool
from treasury.domain.errors import InvariantBroken, NotFound, TraceError
from treasury.domain.events import SeeQuotes
from treasury.domain.market import Quote, Tenure
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, NEVER
from treasury_simulations.traces import Provenance, TraceHeader
from treasury_simulations.world import World

A, B = pool("a"), pool("b", Tenure.ON_DEMAND)


class Recorded(MemoryTrace):
    """A market with a header, as trace files have."""

    header = TraceHeader(
        name="recorded",
        kinds=("market",),
        provenance=Provenance(source="s", licence="CC0-1.0", attribution="nobody"),
        start=0,
        end=HOUR,
        depth_kind="binary",
    )


def test_the_catalogue_lists_every_pool_of_every_provider() -> None:
    """One list a provider, in the trace's order, with the provider's capabilities."""
    other = pool("a", provider="gcp")
    hand = Hand(MemoryTrace((A, other, B), ()))
    listed = hand.world.catalogue()
    assert [(lists.provider, [o.id for o in lists.offers]) for lists in listed] == [
        ("aws", [A.id, B.id]),
        ("gcp", [other.id]),
    ]
    assert listed[0].offers[0].shape.gpu == "V100"


def test_quotes_come_when_something_changes_and_only_then() -> None:
    """A row that says what was said before gives no quote; instants are the row's."""
    rows = ((5, 0, NANO, 3), (7, 0, NANO, 3), (9, 0, 2 * NANO, 3), (9, 1, NANO, -1))
    hand = Hand(MemoryTrace((A, B), rows), depth=-1)
    assert only(hand.to(5), SeeQuotes).quotes == (Quote(A.id, NANO, 3, 5, 5),)
    assert hand.to(8) == []
    assert only(hand.to(9), SeeQuotes).quotes == (
        Quote(A.id, 2 * NANO, 3, 9, 9),
        Quote(B.id, NANO, -1, 9, 9),
    )


def test_the_last_row_of_an_instant_counts() -> None:
    """Two rows of one pool at one instant make one quote."""
    hand = Hand(MemoryTrace((A,), ((0, 0, NANO, 3), (0, 0, 3 * NANO, 1))))
    assert only(hand.to(0), SeeQuotes).quotes == (Quote(A.id, 3 * NANO, 1, 0, 0),)


def test_a_pool_that_is_not_sold_has_no_room_at_its_last_price() -> None:
    """Rate -1 quotes depth 0 at the last known rate, and nothing before the first price."""
    hand = Hand(MemoryTrace((A,), ((0, 0, -1, -1), (3, 0, NANO, 2), (5, 0, -1, 2))))
    assert hand.to(0) == []
    hand.to(3)
    assert only(hand.to(5), SeeQuotes).quotes == (Quote(A.id, NANO, 0, 5, 5),)


@pytest.mark.parametrize(("depth", "model", "said"), [(1, 6, 6), (0, 6, 0), (1, -1, -1)])
def test_where_a_trace_says_yes_or_no_the_model_says_how_many(
    depth: int, model: int, said: int
) -> None:
    """In a binary trace depth 1 stands for the model's depth, which may be unlimited."""
    hand = Hand(Recorded((A,), ((0, 0, NANO, depth),)), depth=model)
    assert only(hand.to(0), SeeQuotes).quotes[0].depth == said


def test_depth_is_what_we_could_hold_ours_included() -> None:
    """Taking machines does not change what the market says of its room."""
    hand = Hand(MemoryTrace((A,), ((0, 0, NANO, 3), (HOUR, 0, 2 * NANO, 3))))
    hand.to(0)
    hand.acquire(A, 2)
    assert only(hand.to(HOUR), SeeQuotes).quotes[0].depth == 3


def test_rows_out_of_order_are_a_fault_of_the_trace() -> None:
    """A row before the one before it is an error that names both instants."""
    hand = Hand(MemoryTrace((A,), ((5, 0, NANO, 1), (4, 0, NANO, 2))))
    with pytest.raises(TraceError, match="row of 4 ns follows one of 5 ns"):
        hand.to(5)


def test_a_provider_without_a_model_is_named() -> None:
    """A trace may not name a provider nobody plays."""
    with pytest.raises(NotFound, match="aws"):
        World(flat(), {}, ())


def test_time_is_not_skipped() -> None:
    """Asking about an instant after the next event would lose that event: it is refused."""
    hand = Hand(flat())
    with pytest.raises(InvariantBroken, match="before what comes first"):
        hand.world.advance(1)


def test_an_empty_market_has_nothing_to_tell() -> None:
    """No pool, no row: the world waits for ever."""
    world = World(MemoryTrace((), ()), {}, ())
    assert (world.next_at, world.advance(0), world.catalogue(), world.busy) == (
        NEVER,
        [],
        [],
        False,
    )
