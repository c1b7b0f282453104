"""One storm from its seed to its verdict: bad weather, then calm, then all is given up."""

import asyncio
import gc
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.time import HOUR, SECOND
from treasury_simulations.storm.checks import Violation
from treasury_simulations.storm.people import People
from treasury_simulations.storm.station import station
from treasury_simulations.storm.swarm import draw
from treasury_simulations.storm.weather import Weather
from treasury_simulations.storm.world import StormWorld

# In calm weather, with money and machines, whatever can be done is done by then: as long as the
# storm was, within these hours.
CALM_LEAST: Final = 4
CALM_MOST: Final = 18
# After everything was cancelled, all machines are gone and paid for by then.
GIVEN_UP: Final = HOUR


class Verdict(msgspec.Struct, frozen=True):
    """What became of a storm.

    violation: what was broken, "" for nothing. struck: how often each fault struck. steps: of the
    loop. digest: names its whole course. turns: of the journal. machines: how many there were.
    finished: how many jobs came to their end. crashes: what ended daemons by itself.
    """

    seed: int
    hours: int
    violation: str
    struck: dict[str, int]
    steps: int = 0
    digest: str = ""
    turns: int = 0
    machines: int = 0
    finished: int = 0
    crashes: tuple[str, ...] = ()


def storm(
    seed: int,
    hours: int = 24,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    *,
    trace: bool = False,
) -> Verdict:
    """Run one storm. only: these faults alone. trace: keep the digest of its course."""
    weather = Weather(seed, only, without)
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        swarm = draw(seed, hours)
        world = StormWorld(swarm, weather, Path(folder) / "storm.db", station, trace=trace)
        people = People(world)
        violation = ""
        try:
            world.loop.run_until_complete(_course(world, people, hours))
        except Violation as error:
            violation = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the storm found it
            violation = f"{type(error).__name__}: {error}"
        finally:
            _clear(world)
    crashes = [error for control in world.controls for error in control.crashes]
    return Verdict(
        seed=seed,
        hours=hours,
        violation=violation,
        struck=dict(sorted(weather.struck.items())),
        steps=world.loop.steps,
        digest=world.loop.digest() if trace else "",
        turns=world.checks.turns,
        machines=sum(len(cloud.history) for cloud in world.clouds),
        finished=sum(truth.finished > 0 for truth in world.jobs.jobs.values()),
        crashes=tuple(dict.fromkeys(f"{type(e).__name__}: {e}" for e in crashes)),
    )


async def _course(world: StormWorld, people: People, hours: int) -> None:
    world.begin()
    people.begin()
    await _pass(world, hours * HOUR)
    world.relent()
    await people.settle()
    for _ in range(min(max(hours, CALM_LEAST), CALM_MOST)):
        await _pass(world, HOUR)
        if all(truth.finished for truth in world.jobs.jobs.values()):
            break
    await people.give_up()
    await _pass(world, GIVEN_UP)
    world.checks.finish(world.swarm.jobs, people.acknowledged, world.now())


async def _pass(world: StormWorld, span: int) -> None:
    """Let time pass; raises what the world found."""
    try:
        async with asyncio.timeout(span / SECOND):
            await asyncio.shield(world.failed)
    except TimeoutError:
        return


def _clear(world: StormWorld) -> None:
    """Take everything down without letting the dead do anything any more."""
    world.checks.close()
    for control in world.controls:
        control.bury()
    world.loop.bury()
    world.loop.close()
    gc.collect()
