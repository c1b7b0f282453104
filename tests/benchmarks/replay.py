"""How fast a replay is: simulated days a second on one core, where the time goes, memory.

    python tests/benchmarks/replay.py [--quick]

One run measures everything side by side, a bare loop over ticks included: a ratio to that says
more than a figure from another machine. Figures are CPU time of one process.
"""

import argparse
import cProfile
import gc
import pstats
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from workloads import Window, fleet, lean_greedy, long_market, windows

from treasury.domain.time import DAY
from treasury_simulations.simulate import simulate
from treasury_strategies.greedy import Greedy
from treasury_strategies.uniform_progress import UniformProgress

# What this is measured against [simulated days a second].
GOALS = {"single": 1_000, "fleet": 30}
ROOMS = (
    ("treasury_simulations", "world"),
    ("treasury_strategies", "strategy"),
    ("treasury/optimizer", "strategy"),
    ("treasury/store", "store"),
    ("treasury/ledger", "ledger"),
    ("treasury/budget", "guard"),
    ("treasury/engine", "engine"),
    ("treasury/domain", "engine"),
)
# Parts of the simulations room that are no world.
RECORDING = ("recorder.py", "tally.py", "wallets.py", "series.py", "split.py")


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    gc.collect()
    before = time.process_time()
    result = run()
    return time.process_time() - before, result


def single(cases: list[Window]) -> None:
    """One job on one zone, as the published evaluator replays it."""
    took, _ = timed(lambda: [lean_greedy(window) for window in cases])
    bare, rates = sum(window.deadline for window in cases) / DAY / took, []
    for name, make in (("greedy", Greedy), ("uniform_progress", UniformProgress)):
        seconds, days, turns = 0.0, 0.0, 0
        for window in cases:
            took, record = timed(partial(simulate, window.scenario, make()))
            seconds += took
            days += (record.ended_at - record.started_at) / DAY
            turns += record.turns
        rate = days / seconds
        rates.append(rate)
        print(
            f"  {name:<18}{rate:8.0f} days/s  {turns / days:6.1f} turns/day"
            f"  {seconds / turns * 1e6:6.1f} us/turn  ({rate / GOALS['single']:.2f} of the goal)"
        )
    print(
        f"  {'bare tick loop':<18}{bare:8.0f} days/s  greedy with no ledger, journal or engine:"
        f" {bare / rates[0]:.0f} times the replay"
    )


def run_fleet(jobs: int, days: int) -> None:
    """Many jobs, three cost centres, twenty pools."""
    source, scenario = fleet(jobs, days)
    print(f"fleet: {jobs:,} jobs over {days} days on 20 pools, jobs: {source}")
    took, record = timed(lambda: simulate(scenario, Greedy()))
    done = sum(job.state == "finished" for job in record.jobs)
    rate = days / took
    print(
        f"  {'greedy':<18}{rate:8.2f} days/s  {record.turns / days:6.0f} turns/day"
        f"  {took / record.turns * 1e6:6.1f} us/turn  ({rate / GOALS['fleet']:.2f} of the goal)"
    )
    print(f"  {len(record.jobs):,} jobs, {done:,} finished, {len(record.leases):,} machines")


def room_of(file: str) -> str:
    """The part of the product a source file belongs to."""
    if file.endswith(RECORDING):
        return "recorder"
    if file.endswith("driver.py"):
        return "driver"
    return next((room for part, room in ROOMS if part in file), "")


def profile(title: str, run: Callable[[], Any]) -> None:
    """Where the time goes, by room; what C functions take counts for the room that called them."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    spent: Counter[str] = Counter()
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        room = room_of(file)
        if room:
            spent[room] += own
            continue
        for (caller, _, _), (_, _, part, _) in callers.items():
            spent[room_of(caller) or "other"] += part
    total = sum(spent.values())
    shares = ", ".join(f"{room} {part / total:.0%}" for room, part in spent.most_common())
    print(f"  {title}: {shares}")


def memory(lengths: tuple[int, ...]) -> None:
    """Peak memory of a process of its own for the same jobs on ever longer markets."""
    if not Path("/proc/self/status").exists():
        print("memory: not measured, this system does not tell a process's peak")
        return
    print("memory: 100 jobs on markets of ever greater length, streamed")
    for days in lengths:
        command = [sys.executable, __file__, "--memory-of", str(days)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        turns, peak = answer.split()
        print(f"  {days:5} days  {int(turns):9,} turns  {int(peak) / 1024:7.1f} MiB")


def memory_of(days: int) -> None:
    """The measured process: prints its turns and its peak resident set [KiB]."""
    record = simulate(long_market(days, 100), Greedy())
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(record.turns, re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller workloads, seconds in all")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory_of(arguments.memory_of)
        return
    quick = arguments.quick
    source, cases = windows(40 if quick else 200)
    print(f"single job: {len(cases)} windows of 48 h of work, {source}")
    single(cases)
    profile("time", lambda: [simulate(w.scenario, UniformProgress()) for w in cases[:40]])
    jobs, days = (1_000, 3) if quick else (10_000, 30)
    run_fleet(jobs, days)
    scenario = fleet(jobs // 10, days // 3)[1]
    profile("time", lambda: simulate(scenario, Greedy()))
    memory((30, 120) if quick else (60, 240, 960))


if __name__ == "__main__":
    main()
