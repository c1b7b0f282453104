"""How good and how fast fleets are allocated: greedy, one-shot solvers and the flow optimizer, side
by side on the same seeded instances, each against the lowest bound that any of them proved.

python tests/benchmarks/optimizer.py [--sizes 100x50,1000x200] [--huge] [--seconds 10] [--ticks 3]
    [--seeds 500] [--day]

Times are wall seconds and, beside them, seconds of processor time: on a machine that is shared
only the second repeats. Memory is the process's peak.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from tests.property.test_flow_properties import TOLERANCE, worst_gap
from treasury.optimizer.flow import FlowEngine, Instance, Settings
from treasury.optimizer.flow.classes import Flow, build
from treasury.optimizer.flow.columns import Ranking
from treasury.optimizer.flow.exact import exact
from treasury.optimizer.flow.fill import Residual, fill
from treasury.optimizer.flow.polish import _column
from treasury.optimizer.flow.program import model_of, program
from treasury_simulations.fleets import fleet, repriced

SIZES = "100x50,1000x200,10000x1000,50000x2000"
HUGE = "100000x2000"
# One model of all arcs is not worth building beyond this: minutes and gigabytes without an answer.
ONE_SHOT_ARCS = 200_000
CPSAT_ARCS = 100_000


def memory_mb() -> int:
    """Peak resident memory of the process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class Clocks:
    """Wall and processor time since a point."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds since the start: wall, processor."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def line(name: str, value: int | None, bound: int, clocks: tuple[float, float], note: str) -> None:
    """Print one row of the table."""
    gap = "   none" if value is None else f"{100 * (1 - value / max(1, bound)):6.2f}%"
    print(f"  {name:<26}{gap}  {clocks[0]:8.2f} s  {clocks[1]:8.2f} cpu  {note}", flush=True)


def greedy(flow: Flow) -> Residual:
    """By worth per dollar, until nothing fits."""
    plan = Residual(flow)
    fill(flow, plan, Ranking(flow))
    return plan


def one_shot(flow: Flow, start: Residual, solver: str, seconds: float) -> tuple[int | None, int]:
    """All arcs in one integer program: worth, and the solver's own bound (-1 for none)."""
    from ortools.math_opt.python import mathopt

    arcs = np.arange(len(flow.net))
    model = model_of(program(flow, arcs), integer=True)
    excess = max(0, start.moved() - flow.rows.churn_limit)
    values = np.append(start.counts, excess).astype(float).tolist()
    hint = mathopt.SolutionHint(variable_values=dict(zip(model.variables(), values, strict=True)))
    result = mathopt.solve(
        model,
        getattr(mathopt.SolverType, solver),
        params=mathopt.SolveParameters(time_limit=timedelta(seconds=seconds)),
        model_params=mathopt.ModelSolveParameters(solution_hints=[hint]),
    )
    if not result.has_primal_feasible_solution():
        return None, -1
    plan = Residual(flow)
    plan.take(arcs, np.round(_column(result.variable_values())[:-1]).astype(np.int64))
    return plan.value() if plan.holds() else None, -1


def compare(jobs: int, offers: int, seconds: float, ticks: int) -> None:
    """One size: every method on the same instance."""
    clocks = Clocks()
    instance = fleet(jobs, offers, 1)
    made = clocks.read()[0]
    clocks = Clocks()
    flow = build(instance)
    built = clocks.read()
    print(
        f"\n{jobs} jobs x {offers} offers: {len(flow.classes)} classes, {len(flow.net)} arcs; "
        f"made in {made:.1f} s, built in {built[0]:.2f} s ({built[1]:.2f} cpu)"
    )
    ours = {f"flow, {limit:g} s": anytime(instance, limit) for limit in (0.1, 1.0, seconds)}
    ours["flow, by counts"] = by_counts(instance)
    bound = min(plan.certificate.bound for plan, _ in ours.values())
    clocks = Clocks()
    start = greedy(flow)
    line("greedy", start.value(), bound, clocks.read(), "")
    if len(flow.net) <= CPSAT_ARCS:
        clocks = Clocks()
        found = exact(flow, start, effort=1e9, seconds=seconds)
        note = "proven optimal" if found is not None and found[1] is not None else ""
        line("CP-SAT, one shot", found and found[0].value(), bound, clocks.read(), note)
    if len(flow.net) <= ONE_SHOT_ARCS:
        for solver in ("GSCIP", "HIGHS"):
            clocks = Clocks()
            value, _ = one_shot(flow, start, solver, seconds)
            line(f"{solver}, one shot", value, bound, clocks.read(), "")
    for name, (plan, read) in ours.items():
        note = f"peak {memory_mb()} MB; " + ", ".join(
            f"{stage.name} {100 * (1 - stage.value / bound):.2f}% at {stage.ended_at / 1e9:.2f} s"
            for stage in plan.stages
            if stage.value > 0 and stage.name != "certificate"
        )
        line(name, plan.certificate.value, bound, read, note)
    tick(instance, seconds, ticks)


def anytime(instance: Instance, seconds: float) -> tuple[Any, tuple[float, float]]:
    """A cold start with a deadline."""
    clocks = Clocks()
    settings = Settings(seconds=seconds, clock=time.perf_counter_ns, core_work=10**9)
    plan = FlowEngine(settings).plan(instance)
    return plan, clocks.read()


def by_counts(instance: Instance) -> tuple[Any, tuple[float, float]]:
    """A cold start as replay does it, without a deadline; stages are timed by the processor."""
    clocks = Clocks()
    settings = Settings(clock=time.process_time_ns, core_work=12_000)
    plan = FlowEngine(settings).plan(instance)
    return plan, clocks.read()


def tick(instance: Instance, seconds: float, ticks: int) -> None:
    """A plan, then 1 % of the prices change, again and again."""
    engine = FlowEngine(Settings(seconds=seconds, clock=time.perf_counter_ns))
    engine.plan(instance)
    engine.settings = replace(engine.settings, core_work=0, seconds=None)
    times = []
    for number in range(ticks):
        instance, _ = repriced(instance, 0.01, number)
        clocks = Clocks()
        plan = engine.plan(instance)
        times.append(clocks.read())
        gap = 100 * plan.gap
    best = (min(t[0] for t in times), min(t[1] for t in times))
    print(f"  tick, 1 % repriced        {gap:6.2f}%  {best[0]:8.3f} s  {best[1]:8.3f} cpu  best-of")


def rolling(jobs: int, offers: int, steps: int) -> None:
    """A day of ticks in which each plan is carried out: prices change, and the fleet with them."""
    instance = fleet(jobs, offers, 1)
    engine = FlowEngine(Settings(seconds=None, core_work=20_000))
    gaps, moves, clocks = [], [], Clocks()
    for number in range(steps):
        plan = engine.plan(instance)
        gaps.append(plan.gap)
        moves.append(plan.certificate.moved)
        running = int((plan.placed >= 0).sum())
        rules = replace(instance.rules, churn_limit=max(1, running * 8 // 100))
        carried = replace(instance.jobs, incumbent=plan.placed)
        instance, _ = repriced(replace(instance, jobs=carried, rules=rules), 0.02, number)
    read = clocks.read()
    print(
        f"\nrolling, {jobs} x {offers}, {steps} ticks: gap median {100 * np.median(gaps):.2f}%"
        f" last {100 * gaps[-1]:.2f}%, moved median {np.median(moves):.0f} last {moves[-1]}"
        f" of {running} running; {read[0] / steps:.2f} s ({read[1] / steps:.2f} cpu) a tick"
    )


def proven(seeds: int) -> bool:
    """Small instances against CP-SAT's proof; whether all are within the tolerance."""
    clocks = Clocks()
    gaps = np.array([worst_gap(seed) for seed in range(seeds)])
    bad = int((gaps > TOLERANCE).sum())
    print(
        f"\n{seeds} small instances against the proven optimum: worst {100 * gaps.max():.3f}%, "
        f"mean {100 * gaps.mean():.4f}%, {bad} above {100 * TOLERANCE}%; {clocks.read()[1]:.0f} cpu"
    )
    return bad == 0


def main() -> None:
    """Measure what is asked for."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    ask.add_argument("--sizes", default=SIZES)
    ask.add_argument("--huge", action="store_true")
    ask.add_argument("--seconds", type=float, default=10.0)
    ask.add_argument("--ticks", type=int, default=3)
    ask.add_argument("--seeds", type=int, default=0)
    ask.add_argument("--day", type=int, default=0, metavar="TICKS")
    given = ask.parse_args()
    sizes = [size for size in given.sizes.split(",") if size]
    for size in [*sizes, *([HUGE] if given.huge else [])]:
        jobs, offers = (int(number) for number in size.split("x"))
        compare(jobs, offers, given.seconds, given.ticks)
    if given.day:
        rolling(10_000, 1_000, given.day)
    if given.seeds and not proven(given.seeds):
        sys.exit(1)


if __name__ == "__main__":
    main()
