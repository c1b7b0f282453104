"""The whole: from an instance to a plan with its certificate, in stages that only ever improve it.

1 fill by worth per dollar      a plan from the first milliseconds, on a few arcs of each class
2 prices                        the bound
3 average, rounded, filled      what classes chose while prices settled; or what runs and pays
4 relaxation, rounded, filled   GLOP on the columns the prices select
5 core                          HiGHS on what is fractional there or nearly as good
Small problems go to CP-SAT whole. A later call starts from the last prices and plan, and patches
the arcs whose offers changed price. A deadline may stop it between stages and inside the solvers;
without one, limits are counts, and the same instances give the same plans on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from treasury.optimizer.flow import exact as small
from treasury.optimizer.flow import polish
from treasury.optimizer.flow.arrays import Instance, Ints
from treasury.optimizer.flow.certificate import Certificate, certify
from treasury.optimizer.flow.classes import Flow, build
from treasury.optimizer.flow.columns import Prices, Ranking, bound_of, nothing_scarce, reduced
from treasury.optimizer.flow.fill import Residual, fill, grant, place
from treasury.optimizer.flow.patch import (
    carried,
    only_prices_changed,
    place_of,
    repriced,
    same_rows,
)
from treasury.optimizer.flow.prices import (
    AGAIN,
    MANY,
    MANY_EFFORT,
    WARM,
    Effort,
    Priced,
    PriceEngine,
)
from treasury.optimizer.flow.rounding import THRESHOLDS, rounded

# Clock of a live caller: nanoseconds from any origin.
Clock = Callable[[], int]
_NS: Final = 1_000_000_000
# The part of a deadline after which prices must do: the rest is for the plan.
_FOR_PRICES: Final = 0.6
# Jobs times offers from which on a first plan is made of a few arcs of each class.
_LARGE: Final = 1_000_000
_FEW: Final = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """How much work a plan is worth; all limits are counts unless a clock is given.

    exact_columns: arcs up to which CP-SAT decides alone, with exact_effort of its deterministic
    time. effort: of the prices when nothing is known (None: by size), again_effort when jobs came
    and went, warm_effort when prices ticked. relax_columns: the most that GLOP is asked to relax.
    core_work: HiGHS's nodes times columns; with more columns than that there is no relaxation and
    no core. seconds, clock: the safety net of live use: no stage starts later, and solvers get what
    is left.
    """

    exact_columns: int = small.COLUMNS
    exact_effort: float = 2.0
    effort: Effort | None = None
    again_effort: Effort = AGAIN
    warm_effort: Effort = WARM
    relax_columns: int = 40_000
    core_work: int = 100_000
    seconds: float | None = None
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage left: its name, the worth of the plan and the bound so far [micro-USD/h], -1 for
    no bound yet, and when it ended [ns since the call], 0 without a clock."""

    name: str
    value: int
    bound: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """A plan for an instance.

    placed: the offer of each job, -1 for none [jobs]. counts: jobs on each arc of `flow`. prices:
    the shadow prices of the bound. certificate: worth, bound, gap, judged from the instance alone.
    """

    flow: Flow
    placed: Ints
    counts: Ints
    prices: Prices
    certificate: Certificate
    stages: tuple[Stage, ...]

    @property
    def gap(self) -> float:
        """The certified gap."""
        return self.certificate.gap


class _Run:
    """One call in progress."""

    def __init__(self, flow: Flow, settings: Settings, started: int) -> None:
        self.flow, self.settings, self.started = flow, settings, started
        self.plan = Residual(flow)
        self.bound: int | None = None
        self.stages: list[Stage] = []

    def offer(self, name: str, plan: Residual | None) -> None:
        """Take a plan if it is better, and note the stage."""
        if plan is not None and plan.value() > self.plan.value():
            self.plan = plan
        self.note(name)

    def bounded(self, bound: float) -> None:
        """Take a bound from prices if it is lower. The last digits of a float of sums are no
        evidence: it is rounded up with room for them."""
        whole = int(np.ceil(bound + 1e-9 * abs(bound) + 1.0))
        self.bound = whole if self.bound is None else min(self.bound, whole)

    def note(self, name: str) -> None:
        """Note a stage that is done."""
        bound = -1 if self.bound is None else self.bound
        clock = self.settings.clock
        at = clock() - self.started if clock is not None else 0
        self.stages.append(Stage(name, self.plan.value(), bound, at))

    def left(self) -> float | None:
        """Seconds left; None without a deadline."""
        clock, seconds = self.settings.clock, self.settings.seconds
        if clock is None or seconds is None:
            return None
        return max(0.0, seconds - (clock() - self.started) / _NS)

    def over(self, share: float = 1.0) -> bool:
        """Whether so much of the time until the deadline has passed."""
        left, seconds = self.left(), self.settings.seconds
        return left is not None and seconds is not None and left <= (1 - share) * seconds


class FlowEngine:
    """Plans one instance after another, and remembers prices and plan in between."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else Settings()
        self._last: FlowPlan | None = None
        self._columns: Ints | None = None

    def start_from(self, plan: FlowPlan) -> None:
        """Take another engine's plan for the last: its prices are where the next plan starts."""
        self._last, self._columns = plan, None

    def plan(self, instance: Instance) -> FlowPlan:
        """A plan with its certificate. Raises BadValue for an instance that cannot be meant."""
        clock = self.settings.clock
        started = clock() if clock is not None else 0
        last, columns = self._last, self._columns
        changed = only_prices_changed(last.flow.instance, instance) if last is not None else None
        large = last is not None and len(last.flow.net) > self.settings.exact_columns
        if last is not None and columns is not None and changed is not None and large:
            run, priced = self._tick(last, columns, instance, changed, started)
        else:
            run, priced = self._afresh(last, instance, started)
        placed = place(run.flow, run.plan.counts)
        # Prices always come before this.
        certificate = certify(instance, placed, run.bound or 0)
        run.note("certificate")
        plan = FlowPlan(
            run.flow, placed, run.plan.counts, priced.prices, certificate, tuple(run.stages)
        )
        self._last, self._columns = plan, priced.columns
        return plan

    def _afresh(
        self, last: FlowPlan | None, instance: Instance, started: int
    ) -> tuple[_Run, Priced]:
        kept = None
        if len(instance.jobs) * len(instance.offers) > _LARGE:
            # A plan before all arcs are there: they take longer to make than to fill.
            kept = _Run(build(instance, _FEW), self.settings, started)
            _keep_running(kept.flow, kept.plan)
            fill(kept.flow, kept.plan, Ranking(kept.flow), rankings=1)
            kept.note("first")
        flow = build(instance)
        known = same_rows(last.flow, flow, last.prices) if last is not None else None
        return self._from_nothing(flow, known, started, kept)

    def solve(self, flow: Flow, known: Prices | None = None) -> tuple[Residual, Prices, int]:
        """A plan for a flow that was not built from an instance, its prices, and a bound. known:
        prices of a similar flow with the same rows. The caller judges the plan."""
        clock = self.settings.clock
        run, priced = self._from_nothing(flow, known, clock() if clock is not None else 0)
        return run.plan, priced.prices, run.bound or 0

    def _from_nothing(
        self, flow: Flow, known: Prices | None, started: int, kept: _Run | None = None
    ) -> tuple[_Run, Priced]:
        settings = self.settings
        run = _Run(flow, settings, started)
        if kept is not None:
            run.stages += kept.stages
            run.plan.take(*_renumbered(kept, flow))
        else:
            _keep_running(flow, run.plan)
        run.note("build")
        engine = PriceEngine(flow)
        start = engine.assess(nothing_scarce(flow) if known is None else known)
        first = run.plan.copy()
        fill(flow, first, engine.ranking, columns=start.columns, rankings=0)
        run.offer("greedy", first)
        cold = settings.effort or (MANY_EFFORT if len(flow.classes) >= MANY else Effort())
        effort = cold if known is None else settings.again_effort
        priced = engine.solve(run.plan.value(), effort, start, lambda: run.over(_FOR_PRICES))
        run.bounded(priced.bound)
        run.note("prices")
        if len(flow.net) <= settings.exact_columns:
            return run, self._exactly(run, priced)
        self._rounded(run, engine.ranking, priced)
        self._polished(run, engine.ranking, priced)
        return run, priced

    def _tick(
        self, last: FlowPlan, columns: Ints, instance: Instance, changed: Ints, started: int
    ) -> tuple[_Run, Priced]:
        """From the last prices and plan: patch, a few iterations, carry over, fill."""
        flow, number = repriced(last.flow, instance, changed)
        run = _Run(flow, self.settings, started)
        renumber = np.append(number, -1)
        columns = renumber[columns]
        counts = np.zeros(len(flow.net), dtype=np.int64)
        kept = np.flatnonzero((last.counts > 0) & (number >= 0))
        counts[number[kept]] = last.counts[kept]
        run.note("patch")
        engine = PriceEngine(flow)
        # No bound yet: the first full pass comes after the first iterations.
        start = engine.resume(
            same_rows(last.flow, flow, last.prices), columns, float(last.certificate.bound)
        )
        priced = engine.solve(0, self.settings.warm_effort, start, run.over)
        run.bounded(priced.bound)
        run.note("prices")
        plan = carried(flow, counts, priced)
        fill(flow, plan, engine.ranking, priced.score, columns=priced.columns, rankings=0)
        run.offer("carried", plan)
        self._polished(run, engine.ranking, priced)
        return run, priced

    def _exactly(self, run: _Run, priced: Priced) -> Priced:
        found = small.exact(
            run.flow, run.plan, effort=self.settings.exact_effort, seconds=run.left()
        )
        if found is not None:
            plan, proven = found
            if proven is not None:
                run.bound = proven
            run.offer("exact", plan)
        return priced

    def _rounded(self, run: _Run, ranking: Ranking, priced: Priced) -> None:
        """What classes chose while prices settled; or what runs and pays; then what is left."""
        flow = run.flow
        for number, threshold in enumerate(THRESHOLDS):
            # One is tried even when time is up: it is worth far more than it costs.
            if not number or not run.over():
                run.offer("rounded", rounded(flow, ranking, priced, threshold))
        if run.over():
            return
        stays = np.zeros(len(flow.net), dtype=np.int64)
        held = flow.stay[flow.stay >= 0]
        stays[held] = flow.classes.copies[flow.owner[held]]
        stays[priced.score < 0] = 0
        kept = carried(flow, stays, priced)
        fill(flow, kept, ranking, priced.score, columns=priced.columns, rankings=0)
        run.offer("kept", kept)
        # One pass over all arcs, for whatever the best few of each class left undone.
        last = run.plan.copy()
        fill(flow, last, ranking, priced.score, rankings=1)
        run.offer("filled", last)

    def _polished(self, run: _Run, ranking: Ranking, priced: Priced) -> None:
        """Relaxation, rounding, core."""
        flow, settings = run.flow, self.settings
        most = min(settings.relax_columns, settings.core_work)
        if run.over() or int(priced.support.sum()) > most:
            return
        whole = len(flow.net) <= polish.ALL
        window = polish.WIDE if len(flow.net) <= polish.FEW else polish.WINDOW
        arcs = polish.select(flow, priced, priced.support, run.plan.counts, window)
        if whole:
            arcs = np.arange(len(flow.net))
        if len(arcs) > most:
            return
        relaxed = polish.relax(flow, arcs, run.left())
        if relaxed is None:
            return
        score = reduced(flow, relaxed.prices)
        run.bounded(bound_of(flow, relaxed.prices, score))
        plan = Residual(flow)
        plan.take(relaxed.arcs, polish.whole(relaxed))
        if plan.holds():
            fill(flow, plan, ranking, priced.score, columns=priced.columns, rankings=1)
            run.offer("relaxed", plan)
        shares = (np.inf,) if whole else (polish.CORE, np.inf)
        for share in shares:
            # Where all columns are few the core is only the way to a good start.
            if run.over() or (share == np.inf and len(arcs) > polish.ALL):
                return
            core = polish.core_of(flow, relaxed, run.plan.counts, share)
            limits = polish.Limits(settings.core_work // max(1, len(core[0])), run.left())
            run.offer("core", polish.decide(flow, run.plan, *core, limits))


def _renumbered(kept: _Run, flow: Flow) -> tuple[Ints, Ints]:
    """The plan of a run on some of a flow's arcs, as arcs of all of them and jobs on each."""
    used = np.flatnonzero(kept.plan.counts)
    arcs = place_of(flow, kept.flow.owner[used], kept.flow.offer[used])
    return arcs, kept.plan.counts[used]


def _keep_running(flow: Flow, plan: Residual) -> None:
    """Everything that runs stays, as far as it still fits: the plan that changes nothing."""
    stays = flow.stay[flow.stay >= 0]
    stays = stays[flow.net[stays] > 0]
    copies = flow.classes.copies[flow.owner[stays]]
    granted = grant(flow, plan, stays, copies)
    plan.take(stays[granted > 0], granted[granted > 0])
