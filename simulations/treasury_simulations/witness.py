"""What a trainer's witness file proves: every step done, none lost, none twice at a time.

The file lies outside the machines, and each start of a trainer appends to it, in true order:

    <start> from <step>       it took up there
    <start> step <step>       it does that step
    <start> saves <step>      it writes a checkpoint that holds all steps below
    <start> stopped <step>    it was asked to end, and did
    <start> done <step>       it finished
"""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from treasury_simulations.trainer import BrokenChainError, Run, check


class Testimony(msgspec.Struct, frozen=True, kw_only=True):
    """What a witness file says of one job. starts: how often it began; redone: steps done again
    because their state was lost; faults: laws that were broken, in words; finished: whether the
    last thing it did was to come to its end."""

    starts: int
    redone: int
    faults: tuple[str, ...]
    finished: bool


def hear(lines: Iterable[str]) -> Testimony:
    """Go through a witness file."""
    faults: list[str] = []
    over: set[str] = set()
    current, following, reached, redone, starts = "", 0, 0, 0, 0
    kept, finished = {0}, False
    for line in lines:
        start, what, number = line.split()
        step = int(number)
        if start != current:
            if start in over:
                faults.append(f"start {start} ran beside start {current}")
            over.add(current)
            current, following, starts = start, step, starts + 1
            if what != "from" or step not in kept:
                faults.append(f"start {start} took up at step {step}, of which there is no save")
            redone += max(0, reached - step)
        elif what == "step":
            if step != following:
                faults.append(f"start {start} did step {step} in the place of {following}")
            following = step + 1
            reached = max(reached, following)
        else:
            if step != following:
                faults.append(f"start {start} {what} at {step}, having done {following}")
            kept.add(step)
        # A machine may die between the end and its report: then the end is done again.
        finished = what == "done"
    return Testimony(starts=starts, redone=redone, faults=tuple(faults), finished=finished)


def verify(witness: Path, result: Path, seed: str, steps: int) -> Testimony:
    """A job's testimony, with what is wrong with its result. A file that is not there speaks for
    itself."""
    try:
        said = hear(witness.read_text(encoding="ascii").splitlines())
    except FileNotFoundError:
        return Testimony(starts=0, redone=0, faults=("it never began",), finished=False)
    faults = list(said.faults)
    try:
        raw = json.loads(result.read_text(encoding="utf-8"))
        run = Run(**{**raw, "starts": tuple(raw["starts"])})
        check(run)
        if (run.seed, run.step) != (seed, steps):
            faults.append(f"its result is of step {run.step} of {run.seed!r}")
    except FileNotFoundError:
        if said.finished:
            faults.append("it is done and has no result")
    except (BrokenChainError, ValueError, TypeError, KeyError) as error:
        faults.append(f"its result is wrong: {error}")
    return msgspec.structs.replace(said, faults=tuple(faults))


__all__ = ["Testimony", "hear", "verify"]
