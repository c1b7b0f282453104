"""The record of a replay, from the journal's turns as they are committed and the world's meter.

Nothing here reads the engine's state.
"""

from collections.abc import Callable, Iterable
from typing import Any

from treasury.domain import events as e
from treasury.domain.errors import InvariantBroken
from treasury.domain.ids import OfferId
from treasury.domain.job import JobSpec
from treasury.domain.turn import Entry
from treasury_simulations.machines import Machine
from treasury_simulations.record import LeaseOutcome, PriceSeries, RunRecord, Waste
from treasury_simulations.series import Series
from treasury_simulations.split import IDLE, LOST, RESTART, USEFUL, split
from treasury_simulations.tally import Tallies
from treasury_simulations.wallets import Wallets
from treasury_simulations.world import World


class Recorder:
    """Watches one replay. `see` is called with each committed turn, `record` once at the end."""

    def __init__(self, world: World, jobs: Iterable[JobSpec]) -> None:
        self._world = world
        self._tallies = Tallies(jobs)
        self._wallets = Wallets()
        self._gpus: dict[OfferId, int] = {}
        self._prices: dict[OfferId, Series] = {}
        self._leases: list[LeaseOutcome] = []
        self._waste = [0, 0, 0, 0]
        self._premium = self._paid = self._unallocated = 0
        self._turns = 0
        self._handlers: dict[type, Callable[[Any, int], None]] = {
            e.OffersListed: self._listed,
            e.Quoted: self._quoted,
            **self._wallets.handlers,
            **self._tallies.handlers,
        }

    def see(self, entry: Entry) -> None:
        """Take a committed turn."""
        self._turns += 1
        at, handlers = entry.at, self._handlers
        for fact in entry.facts:
            handle = handlers.get(type(fact))
            if handle is not None:
                handle(fact, at)
        if entry.transfers:
            self._wallets.take(entry.transfers, at)
        if self._world.finished:
            self._collect()

    def record(
        self,
        *,
        strategy: str,
        seed: int,
        trace: str,
        span: tuple[int, int],
        journal_hash: bytes,
        wall_seconds: float,
        strategy_errors: int,
    ) -> RunRecord:
        """Everything that was seen. span: first and last instant [ns]. strategy_errors: how often
        the strategy had no plan to give; it is told among the refusals."""
        self._collect()
        refusals = dict(sorted(self._tallies.refusals.items()))
        if strategy_errors:
            refusals["strategy_error"] = strategy_errors
        useful, restart, lost, idle = self._waste
        return RunRecord(
            strategy=strategy,
            seed=seed,
            trace=trace,
            started_at=span[0],
            ended_at=span[1],
            journal_hash=journal_hash.hex(),
            turns=self._turns,
            wall_seconds=wall_seconds,
            jobs=self._tallies.outcomes(span[1]),
            leases=self._leases,
            waste=Waste(
                paid=self._paid,
                useful=useful - self._premium,
                premium=self._premium,
                restart=restart,
                lost_work=lost,
                idle=idle,
                unallocated=self._unallocated,
            ),
            budgets=self._wallets.series(),
            prices=self._price_series(),
            refusals=refusals,
        )

    def _listed(self, fact: e.OffersListed, at: int) -> None:
        del at
        for offer in fact.offers:
            self._gpus[offer.id] = offer.shape.gpus
            self._prices.setdefault(offer.id, Series())

    def _quoted(self, fact: e.Quoted, at: int) -> None:
        for quote in fact.quotes:
            rate = quote.rate if quote.depth else -1
            self._prices[quote.offer].add((at, rate, quote.depth))

    def _price_series(self) -> list[PriceSeries]:
        made = []
        for offer, series in self._prices.items():
            at, rate, depth = series.columns(3)
            made.append(
                PriceSeries(offer=offer, gpus=self._gpus[offer], at=at, rate=rate, depth=depth)
            )
        return made

    def _collect(self) -> None:
        """Write down the machines that ended since the last turn."""
        finished = self._world.finished
        for machine in finished:
            self._close(machine)
        finished.clear()

    def _close(self, machine: Machine) -> None:
        ended_at = machine.ended_at
        if ended_at is None:
            raise InvariantBroken(f"lease {machine.lease} was collected while it runs")
        parts = split(machine, ended_at)
        tallies, offer = self._tallies, machine.pool.offer
        placement = machine.gang.placement
        job = tallies.placements.get(placement)
        cause = tallies.causes.pop(machine.lease, machine.cause)
        self._paid += parts.billed
        if job is None:
            self._unallocated += parts.billed
        else:
            tallies.jobs[job].cost += parts.billed
            for use in (USEFUL, RESTART, LOST, IDLE):
                self._waste[use] += parts.money[use]
            self._premium += parts.premium
        useful, restart, lost, idle = parts.time
        self._leases.append(
            LeaseOutcome(
                id=machine.lease,
                job=job or "",
                cost_centre=tallies.jobs[job].spec.cost_centre if job else "",
                placement=placement,
                offer=offer.id,
                provider=offer.provider,
                pool=offer.id,
                tenure=offer.tenure.value,
                gpu=offer.shape.gpu,
                gpus=offer.shape.gpus,
                granted_at=machine.granted_at,
                ended_at=ended_at,
                end_cause=cause if machine.cause == "released" else machine.cause,
                billed=parts.billed,
                useful=useful,
                restart=restart,
                lost=lost,
                idle=idle,
                premium=parts.premium,
            )
        )
