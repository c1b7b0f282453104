"""The market on this host with real processes: it keeps the port's promises and loses nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.local import market, processes, request
from treasury.domain.commands import ChangeBid, Release
from treasury.domain.errors import BadValue, BidTooLow, NoCapacity, OfferGone
from treasury.domain.money import RATE_NS_PER_MICRO
from treasury.domain.time import SECOND
from treasury.runtime.clocks import SystemClock
from treasury_providers import local_meter
from treasury_providers.local import Local
from treasury_providers.local_processes import belonging
from treasury_providers.local_settings import LocalSettings
from treasury_providers.local_state import Machine, State
from treasury_simulations import conformance


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A directory for a market, none of whose processes outlive the test."""
    yield tmp_path / "here"
    for pid in processes(tmp_path / "here"):
        os.kill(pid, signal.SIGKILL)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens outside."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody outside can set an event
            await asyncio.sleep(0.02)


def first(state: Path) -> Machine:
    """The oldest machine."""
    return next(State(state).machines())


class Counterpart:
    """The market's own truth, as its files and meter tell it."""

    secrets: Sequence[str] = ()
    can = frozenset({"interrupt", "notices"})

    def __init__(self, state: Path) -> None:
        self.clock = SystemClock()
        self._state = state

    def machines(self) -> list[conformance.Made]:
        """Every machine, with what it cost."""
        made = []
        for machine in State(self._state).machines():
            item, asked = local_meter.meter(machine), machine.grant.request
            tags = {"treasury-placement": str(asked.placement)}
            made.append(
                conformance.Made(
                    machine.name, asked.offer, tags, item.granted_at, item.ended_at, item.cost or 0
                )
            )
        return made

    def heal(self) -> None:
        """Nothing was broken."""

    async def interrupt(self, machine: str, *, notices: int = 1) -> int:
        """Have it outbid."""
        found = next(m for m in State(self._state).machines() if m.name == machine)
        found.bid = 1
        await until(found.noticed)
        return found.noticed()


async def test_it_keeps_every_promise_of_the_port(state):
    """All cases of the conformance suite that a market without faults can be put to."""
    report = await conformance.run(market(state), Counterpart(state))
    outcomes = {result.number: result.outcome for result in report.results}
    assert conformance.Outcome.FAILED not in outcomes.values(), report
    for case in ("C01", "C02", "C03", "C04", "C05", "C06", "C13", "C14", "C15", "C19", "C22"):
        assert outcomes[case] is conformance.Outcome.PASSED, report
    assert processes(state) == []


async def test_machines_outlive_the_market_and_are_billed_without_it(state):
    """A second adapter on the same files lists and ends what the first one started; the meter
    needs neither."""
    await market(state).acquire(request(1))
    other = market(state)
    (item,) = await other.leases()
    assert (item.lease, item.token, item.ended_at) == (1, "token1", None)
    await other.release(Release("here", 1))
    (item,) = await other.leases()
    (metered,) = local_meter.read(state)
    seconds = -(-(item.ended_at - item.granted_at) // SECOND)
    assert metered.ended_at == item.ended_at and item.cause == "released"
    assert metered.cost == -(-item.rate * seconds * SECOND // RATE_NS_PER_MICRO)
    assert processes(state) == []


# What a machine runs whose processes are hard to find: one has left the session, one has lost its
# parent, one has cleaned its environment.
SCATTERED = """#!/bin/sh
setsid sleep 1000001 &
(sleep 1000002 &)
env -i sleep 1000003 &
sh -c 'trap "" TERM HUP INT; sleep 1000004 & wait' &
wait
"""


async def test_release_ends_all_processes_of_a_machine_and_no_others(state):
    """Whatever left the session, the parent or the environment goes; the neighbour stays."""
    here = market(state, boot=lambda _request, _index: SCATTERED)
    await here.acquire(request(1, 2))
    one, other = State(state).machines()
    # Both first processes, both shells, the inner shells, and four sleeps each.
    await until(lambda: len(belonging(one.folder)) == len(belonging(other.folder)) == 7)
    await here.release(Release("here", one.lease, one.name))
    assert belonging(one.folder) == []
    assert len(belonging(other.folder)) == 7
    ended = {item.lease: item.ended_at is not None for item in await here.leases()}
    assert ended == {1: True, 2: False}


async def test_a_machine_ends_with_its_last_process(state):
    """A start script that ends leaves a machine that is powered off, and billed until then."""
    here = market(state, boot=lambda _request, _index: "#!/bin/sh\nexit 0\n")
    await here.acquire(request(1))
    await until(lambda: first(state).ended())
    (item,) = await here.leases()
    assert item.cause == "powered off" and item.ended_at >= item.granted_at


async def test_a_machine_whose_first_process_is_killed_counts_as_crashed(state):
    """What the first process left running is ended by the next listing, and billing ends."""
    here = market(state)
    await here.acquire(request(1))
    os.kill(first(state).process().pid, signal.SIGKILL)
    await until(lambda: not first(state).alive())
    (item,) = await here.leases()
    assert item.cause == "crashed" and item.ended_at is not None
    assert processes(state) == []


async def test_an_outbid_machine_is_warned_and_taken(state):
    """Notice first, with its instant in the file that the machine reads; the end after it."""
    here = market(state)
    await here.acquire(request(1))
    notices = here.notices()
    await here.rebid(ChangeBid("here", 1, 1))
    notice = await asyncio.wait_for(anext(notices), 30)
    assert notice.lease == 1 and notice.ends_at == notice.at + 2 * SECOND
    assert int(first(state).notice.read_text()) == notice.ends_at
    assert first(state).ended() is None
    await until(lambda: first(state).ended())
    (item,) = await here.leases()
    assert item.cause == "outbid" and item.ended_at >= notice.ends_at
    await notices.aclose()


async def test_a_market_that_takes_machines_back_does_so_while_nobody_looks(state):
    """A machine with a short life is interrupted with its notice, whatever its bid."""
    await market(state, life=1, notice=SECOND).acquire(request(1))
    await until(lambda: first(state).ended())
    assert first(state).ended().cause == "interrupted"
    assert first(state).noticed() <= first(state).ended().at


async def test_what_does_not_fit_is_declined_and_leaves_nothing(state):
    """Slots, bids and offers: each has its own error, and no machine exists afterwards."""
    here = market(state, slots=2)
    await here.acquire(request(1))
    with pytest.raises(NoCapacity):
        await here.acquire(request(2, 3))
    with pytest.raises(BidTooLow):
        await here.acquire(request(4, bid=1))
    with pytest.raises(OfferGone):
        await here.acquire(request(5, offer="here/host/z/slot/spot"))
    assert [item.lease for item in await here.leases()] == [1]


async def test_a_grant_whose_machine_was_not_started_is_started_by_the_next_listing(state):
    """Killed between the grant and the start, nothing is lost and nothing doubled."""
    here = market(state)
    await here.acquire(request(1))
    grant = first(state).grant
    await here.release(Release("here", 1))
    # The state of a market that died right after the grant was written.
    State(state).forget(grant)
    State(state).write(grant)
    later = market(state)
    (item,) = await later.leases()
    assert item.ended_at is None and first(state).alive()
    await later.acquire(request(1))
    # The first process and its sleep.
    assert len(await later.leases()) == 1 and len(processes(state)) == 2


async def test_machines_that_are_long_gone_are_forgotten(state):
    """After `remember` neither the listing nor the disk knows a machine."""
    here = market(state)
    await here.acquire(request(1))
    await here.release(Release("here", 1))
    assert len(await here.leases()) == 1
    Later.ahead = 8 * 86_400 * SECOND
    here._site.clock = Later()
    assert await here.leases() == []
    assert not list((state / "machines").iterdir()) and not list((state / "grants").iterdir())


class Later(SystemClock):
    """A clock that is ahead."""

    ahead = 0

    def now(self) -> int:
        """The instant, ahead."""
        return super().now() + self.ahead


KILLED_MIDWAY = """
import asyncio, os, signal, sys, threading
from pathlib import Path
from tests.support.local import market, request
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
here = market(Path(sys.argv[1]))
asyncio.run(here.acquire(request(1, 2, 3)))
"""


@pytest.mark.parametrize("milliseconds", [1, 20, 40, 70, 100, 150, 200])
async def test_a_market_killed_in_the_middle_of_a_request_has_all_of_it_or_nothing(
    state, milliseconds
):
    """Whenever the daemon is killed: a gang is listed whole or not at all, and once."""
    command = [sys.executable, "-c", KILLED_MIDWAY, str(state), str(milliseconds / 1_000)]
    folder = Path(__file__).parents[2]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=folder, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    here = market(state)
    listed = [item.lease for item in await here.leases()]
    assert listed in ([], [1, 2, 3])
    await here.acquire(request(1, 2, 3))
    assert [item.lease for item in await here.leases()] == [1, 2, 3]
    assert len(processes(state)) == 6
    assert all(item.ended_at is None for item in await here.leases())


@pytest.mark.parametrize(
    "wrong", [{"slots": 0}, {"on_demand": "4 EUR/h"}, {"on_demand": "0 USD/h"}, {"tick": 1}]
)
def test_settings_that_make_no_market_are_refused(wrong):
    """The message names the setting and what would be right."""
    with pytest.raises(BadValue, match="expected"):
        LocalSettings(**wrong)


def test_nothing_is_written_while_it_is_made(state):
    """Making the adapter leaves no trace on the host."""
    assert isinstance(market(state), Local)
    assert not state.exists()
