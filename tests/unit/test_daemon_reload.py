"""A configuration that changes while the daemon runs, and who may lead."""

import asyncio

import msgspec
import pytest

from tests.support.daemon import Cheapest, Disk, Rig, play
from treasury.domain.budget import Budget
from treasury.domain.commands import Acquire
from treasury.domain.errors import ConfigError, Deposed, StoreError
from treasury.domain.money import MICRO
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.runtime.daemon import Options
from treasury.runtime.reload import differences

TEAM = Budget(cost_centre="team", amount=100 * MICRO)


def _change(rig, **fields):
    """The configuration file says something else from now on."""
    rig.file = [msgspec.structs.replace(rig.wanted, **fields), rig.file[1] + 1]


def _watched(loop, **options):
    """A rig whose configuration can change."""
    rig = Rig(
        loop,
        read=lambda: _read(rig),
        fingerprint=lambda: rig.file[1],
        **options,
    )
    rig.file = [rig.wanted, 0]
    return rig


def _read(rig):
    if isinstance(rig.file[0], Exception):
        raise rig.file[0]
    return rig.file[0]


def test_a_changed_budget_is_taken_within_seconds():
    """The file changes: validated, compared, taken, and told line by line."""

    async def work(loop):
        rig = await _watched(loop).start()
        guests = Budget(cost_centre="guests", amount=MICRO)
        _change(rig, budgets=(msgspec.structs.replace(TEAM, amount=250 * MICRO), guests))
        await rig.until(lambda: "guests" in rig.book.budgets, limit=5 * SECOND)
        assert rig.log.kinds("reloaded") == [
            (
                "budget team.amount: 100.00 USD -> 250.00 USD",
                "budget guests: added, 1.00 USD once",
            )
        ]
        assert await rig.daemon.reload() == ()

    play(work)


def test_a_file_with_a_mistake_changes_nothing():
    """The old configuration stands and the mistake is told; the next good file is taken."""

    async def work(loop):
        rig = await _watched(loop).start()
        rig.file = [ConfigError("lab.toml", "budget[0].amount", "is negative"), 1]
        await asyncio.sleep(5)
        assert rig.log.kinds("not reloaded") == [("lab.toml: budget[0].amount: is negative",)]
        with pytest.raises(ConfigError):
            await rig.daemon.reload()
        assert list(rig.book.budgets) == ["team"]
        rig.file = [rig.wanted, 2]
        _change(rig, budgets=(msgspec.structs.replace(TEAM, amount=MICRO),))
        await rig.until(lambda: rig.book.budgets["team"].budget.amount == MICRO)

    play(work)


def test_a_budget_with_active_jobs_cannot_be_removed():
    """The engine refuses, the caller hears why, and everything else stays as it was, too."""

    async def work(loop):
        rig = await _watched(loop).start()
        await rig.agent.submit(rig.job(work=HOUR))
        _change(rig, budgets=(Budget(cost_centre="other", amount=MICRO),))
        with pytest.raises(ConfigError, match="team has active jobs and is missing"):
            await rig.daemon.reload()
        assert list(rig.book.budgets) == ["team"]

    play(work)


def test_the_strategy_is_exchanged_between_two_questions():
    """Another strategy: the next plan is its own."""

    async def work(loop):
        rig = await _watched(loop).start()
        other = Cheapest()
        _change(rig, strategy="other", make_strategy=lambda: other)
        assert await rig.daemon.reload() == ("strategy: cheapest -> other",)
        await rig.agent.submit(rig.job())
        await rig.until(lambda: "j" in rig.book.ended)
        assert other.asked >= 1 and rig.strategy.asked == 0

    play(work)


def test_the_installation_keeps_its_name_while_the_daemon_runs():
    """Machines carry the name: a change is refused."""

    async def work(loop):
        rig = await _watched(loop).start()
        _change(rig, settings=msgspec.structs.replace(rig.wanted.settings, installation="new"))
        with pytest.raises(ConfigError, match=r"engine\.installation"):
            await rig.daemon.reload()

    play(work)


def test_what_only_a_restart_changes_is_said():
    """A market's table or a port: named, and left alone."""

    async def work(loop):
        rig = _watched(loop)
        before = msgspec.structs.replace(rig.wanted, fixed={"api": "1", "provider.aws": "2"})
        after = msgspec.structs.replace(
            before,
            fixed={"api": "1", "provider.aws": "3", "provider.gcp": "4"},
            settings=msgspec.structs.replace(rig.wanted.settings, accrual=HOUR // 2),
            budgets=(),
        )
        assert differences(before, after) == (
            "engine.accrual: 1h -> 30m",
            "budget team: removed",
            "provider.aws: needs a restart",
            "provider.gcp: needs a restart",
        )

    play(work)


class _Lease:
    """A lease row that processes share. holder: who has it; down: the database does not answer."""

    def __init__(self) -> None:
        self.holder = ""
        self.down = False

    def lead(self, who: str):
        def ask() -> bool:
            if self.down:
                raise StoreError("no route to the database")
            self.holder = self.holder or who
            return self.holder == who

        return ask


def test_a_second_daemon_stands_by_and_takes_over():
    """While one leads the other does nothing; when the lease is free it recovers and goes on."""

    async def work(loop):
        lease = _Lease()
        first = await Rig(loop, lead=lease.lead("one")).start()
        await first.agent.submit(first.job(work=20 * MINUTE))
        await first.until(lambda: first.hands.running)
        second = Rig(loop, store=first.store, lead=lease.lead("two"), leader=lambda: lease.holder)
        second.launch()
        await asyncio.sleep(120)
        assert not second.daemon.ready.is_set()
        assert second.log.kinds("led") == [(False, "one")]
        assert second.daemon.status()["leads"] is False
        first.crash()
        lease.holder = ""
        second.market.held = first.market.held
        await second.daemon.ready.wait()
        assert list(second.book.leases) == [1]
        assert second.log.kinds("led")[-1] == (True, "")

    play(work)


class _Door:
    """What answers while another one leads. open: whether it does."""

    def __init__(self) -> None:
        self.open = False
        self.opened = 0

    async def run(self) -> None:
        self.open, self.opened = True, self.opened + 1
        try:
            await asyncio.Event().wait()
        finally:
            self.open = False


def test_while_it_stands_by_it_answers_and_its_door_is_shut_before_it_leads():
    """The part for standing by lives from the first refusal until the lease is had; a daemon that
    leads at once never starts it."""

    async def work(loop):
        lease, door, unused = _Lease(), _Door(), _Door()
        first = await Rig(loop, lead=lease.lead("one"), standby=unused).start()
        second = Rig(loop, store=first.store, lead=lease.lead("two"), standby=door)
        seen = []
        second._rest["parts"] = lambda _daemon: seen.append(door.open) or []
        second.launch()
        await asyncio.sleep(60)
        assert door.open and door.opened == 1
        first.crash()
        lease.holder = ""
        await second.daemon.ready.wait()
        assert seen == [False] and not door.open
        assert unused.opened == 0

    play(work)


def test_a_leader_that_lost_its_lease_stops():
    """Another process took over: the next renewal ends this one, and nothing more is asked of any
    provider."""

    async def work(loop):
        lease = _Lease()
        rig = await Rig(loop, lead=lease.lead("one")).start()
        lease.holder = "two"
        with pytest.raises(Deposed):
            await rig.task
        assert rig.market.asked(Acquire) == []

    play(work)


def test_a_leader_that_is_not_sure_calls_nobody():
    """The lease cannot be renewed because the database is away: before it could be somebody else's,
    calls stop; when it answers again they go on."""

    async def work(loop):
        lease = _Lease()
        rig = await Rig(
            loop, store=Disk(), lead=lease.lead("one"), options=Options(lease_ttl=MINUTE)
        ).start()
        lease.down = True
        await asyncio.sleep(50)
        assert not rig.daemon.leadership.holds()
        await rig.agent.submit(rig.job())
        await asyncio.sleep(30)
        assert rig.market.asked(Acquire) == []
        lease.down = False
        await rig.until(lambda: "j" in rig.book.ended)

    play(work)
