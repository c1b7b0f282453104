"""What a control node of a storm runs: the production daemon, wired to the pretend world."""

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, Final

from treasury.bus.control import BusRunner
from treasury.bus.fields import encode
from treasury.bus.messages import Status
from treasury.domain.ids import OfferId, ProviderName
from treasury.domain.plan import LeftOut, Place, Plan, Preempt, Rebid, Snapshot, Why
from treasury.domain.time import MINUTE, SECOND
from treasury.ports import Strategy
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import Host as Machine
from treasury.runtime.daemon import Daemon, Options
from treasury.runtime.reload import Wanted
from treasury_simulations.storm.broker import MemoryClient
from treasury_simulations.storm.hosts import Control, FaultyStore, Here
from treasury_simulations.storm.port import CloudPort
from treasury_simulations.storm.swarm import STRATEGIES, Swarm
from treasury_simulations.storm.weather import Weather
from treasury_simulations.storm.world import StormWorld

_QUOTES_EVERY: Final = 5 * MINUTE
# Three heartbeats of the laziest machines.
_SILENCE: Final = 15 * MINUTE
Make = Callable[[Control, Here, Machine, FaultyStore, Callable[[], bool]], Daemon]


class Unruly:
    """A strategy that is sometimes hostile, sometimes fails, and else does as another one."""

    name = "unruly"

    def __init__(self, inner: Strategy, weather: Weather, seed: int) -> None:
        self._inner, self._weather = inner, weather
        self._dice = Random(f"{seed}/unruly")  # noqa: S311 - seeded: a storm can be repeated

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan, a bad plan, or an error."""
        if self._weather.strikes("strategy_fails"):
            raise ZeroDivisionError("a strategy may be wrong")
        if self._weather.strikes("strategy_hostile"):
            return self._hostile(snapshot)
        return self._inner.propose(snapshot)

    def _hostile(self, snapshot: Snapshot) -> Plan:
        dice = self._dice
        actions: list[Any] = []
        for view in snapshot.jobs:
            offer = OfferId("nowhere")
            if snapshot.offers:
                offer = dice.choice(snapshot.offers).offer.id
            bid = dice.choice((-1, 0, 1, 10**6, 10**12, 10**18))
            actions += dice.sample(
                (
                    Place(view.spec.id, offer, bid),
                    Place(view.spec.id, offer, bid),
                    Preempt(view.spec.id, "why not"),
                    Rebid(view.spec.id, bid),
                ),
                2,
            )
        left = tuple(LeftOut(view.spec.id, Why.SOLVER, "no reason") for view in snapshot.jobs[:1])
        version = snapshot.version + dice.choice((0, 0, 1))
        return Plan(version, tuple(actions), left, review_at=snapshot.now - 1)


def strategy_of(swarm: Swarm, weather: Weather) -> Strategy:
    """The strategy of a storm."""
    return Unruly(_strategies()[swarm.strategy](), weather, swarm.seed)


@cache
def _strategies() -> dict[str, Callable[[], Strategy]]:
    """Looking an entry point up takes longer than a start of the daemon otherwise does."""
    from treasury.registry import load

    return {name: load("treasury.strategies", name) for name in STRATEGIES}


def _bus(world: StormWorld, here: Here, machine: Machine, agent: Agent, epoch: int) -> BusRunner:
    """The daemon's end of the bus."""
    will = (world.topics.status, encode(Status(epoch, online=False, at=machine.clock.now())))
    dice = machine.dice.stream("bus")
    client: Any = MemoryClient(world.broker, machine.clock, dice, here.reachable, will)
    return BusRunner(
        agent, client, world.topics, machine.clock, epoch=epoch, silence_limit=_SILENCE
    )


def station(world: StormWorld) -> Make:
    """How each process of each control node is made."""
    swarm, weather = world.swarm, world.weather

    def make(
        control: Control,
        here: Here,
        machine: Machine,
        store: FaultyStore,
        lead: Callable[[], bool],
    ) -> Daemon:
        ports = [CloudPort(cloud, here, weather, _QUOTES_EVERY) for cloud in world.clouds]
        world.ports[control.name] = ports
        wanted = Wanted(
            file="storm",
            settings=swarm.settings,
            budgets=swarm.budgets,
            strategy=swarm.strategy,
            make_strategy=lambda: strategy_of(swarm, weather),
        )
        buses: list[BusRunner] = []

        def runner(agent: Agent) -> BusRunner:
            buses.append(_bus(world, here, machine, agent, store.epoch))
            return buses[-1]

        def parts(daemon: Daemon) -> list[BusRunner]:
            buses[-1].leaving = daemon.expect_end
            return buses

        return Daemon(
            machine,
            store,
            wanted,
            {ProviderName(port.name): port for port in ports},
            runner,
            options=Options(plan_limit=30 * SECOND, quiet_after=20 * MINUTE, lease_ttl=swarm.lease),
            lead=lead,
            parts=parts,
        )

    return make
