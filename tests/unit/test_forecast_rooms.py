"""Room for gangs: what was free, how long it lasts, and for whom."""

from tests.support.ticks import SPOT, TICK, sold
from treasury.domain.time import HOUR
from treasury.forecast.hazards import curves, occupancy, remaining
from treasury.forecast.prior import POOLED
from treasury.forecast.rooms import Rooms


def fed(depths: list[int], in_use: int = 0, sizes: tuple[int, ...] = (1, 4)) -> Rooms:
    """Rooms that saw one pool for as many ticks."""
    rooms = Rooms(POOLED)
    for tick, depth in enumerate(depths):
        rooms.see(tick * TICK, [sold(SPOT, 1.0, depth=depth, in_use=in_use)], sizes)
    return rooms


def test_each_size_of_gang_has_its_own_memory() -> None:
    """A pool with two machines has room for one and never had any for four."""
    rooms, now = fed([2] * 50), 49 * TICK
    assert rooms.ever(SPOT.id, 1) and not rooms.ever(SPOT.id, 4)
    one, four = rooms.outlook(SPOT.id, 1, now), rooms.outlook(SPOT.id, 4, now)
    assert one.there and not four.there
    assert one.share > 0.9 and four.share < 0.2


def test_what_is_held_is_no_room_for_others() -> None:
    """Four machines of which one is ours are three for the next job."""
    assert fed([4] * 9).outlook(SPOT.id, 4, 8 * TICK).there
    assert not fed([4] * 9, in_use=1).outlook(SPOT.id, 4, 8 * TICK).there


def test_room_that_comes_and_goes_lasts_shorter_and_is_rarer() -> None:
    """Runs, shares and what is kept are those of the pool's own past."""
    steady, flicker = fed([4] * 300), fed([4 if tick % 4 < 2 else 0 for tick in range(300)])
    now = 297 * TICK
    good, bad = steady.outlook(SPOT.id, 4, now), flicker.outlook(SPOT.id, 4, now)
    assert good.run > 3 * bad.run and good.share > bad.share
    since = now - 2 * HOUR
    assert steady.kept(SPOT.id, 4, now, since) > 3 * flicker.kept(SPOT.id, 4, now, since)


def test_looking_oftener_changes_nothing() -> None:
    """What is known does not depend on how often a strategy is asked within a step."""
    once, often = fed([4 if tick % 9 < 6 else 0 for tick in range(100)]), Rooms(POOLED)
    for tick in range(100):
        for part in range(3):
            view = sold(SPOT, 1.0, depth=4 if tick % 9 < 6 else 0)
            often.see(tick * TICK + part * TICK // 3, [view], (1, 4))
    now = 99 * TICK
    assert once.outlook(SPOT.id, 4, now) == often.outlook(SPOT.id, 4, now)


def test_what_remains_of_a_state_agrees_with_its_mean_length() -> None:
    """A state that has just begun lasts as long as all of its ages together."""
    known = curves(POOLED, POOLED.mean)
    for hazards in (known.loss, known.back):
        assert abs(remaining(hazards)[0] / sum(occupancy(hazards)) - 1.0) < 0.02
