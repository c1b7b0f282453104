"""Words about a request that come after a listing has told how it went on."""

import pytest

from tests.support.table import NANO, A, Table
from treasury.domain import events as e
from treasury.domain.commands import Acquire
from treasury.domain.plan import Place
from treasury.domain.time import MINUTE


@pytest.mark.parametrize("word", ["unknown", "declined", "granted"])
def test_a_gang_whose_first_machine_is_gone_takes_late_words(word: str) -> None:
    """A listing tells of a gang and that its first machine has ended already; then the call itself
    comes back. Nothing happens twice, and nothing breaks."""
    table = Table()
    table.submit(nodes=2)
    table.plan(Place("j", A.id, 3 * NANO))
    (request,) = (c for c in table.commands if isinstance(c, Acquire))
    first, second = request.leases
    place, token, now = request.placement, request.token, table.now
    seen = (
        e.LeaseSeen(first, place, "m-1", now, NANO, token, ended_at=now, cause="interrupted"),
        e.LeaseSeen(second, place, "m-2", now, NANO, token),
    )
    table.turn(e.SeeLeases(request.provider, seen, now), at=now + MINUTE)
    assert first not in table.book.leases
    assert second in table.book.leases
    late = {
        "unknown": e.AcquireUnknown(place, table.now),
        "declined": e.AcquireDeclined(place, "NoCapacity", table.now),
        "granted": e.AcquireGranted(token, place, ("m-1", "m-2"), table.now, NANO),
    }
    turn = table.turn(late[word])
    assert turn.entry.facts == ()
    assert turn.entry.commands == ()
    table.check()
