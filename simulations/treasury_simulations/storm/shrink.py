"""From a failing storm to its smallest story: faults dropped, time cut, then told in words."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from treasury_simulations.storm.storm import Verdict, storm

# Runs that shrinking may cost.
RUNS: Final = 60


class Story(msgspec.Struct, frozen=True):
    """What is enough to fail. without: faults that are left out of the seed's own."""

    seed: int
    hours: int
    without: tuple[str, ...]
    verdict: Verdict

    @property
    def command(self) -> str:
        """One line that repeats it."""
        left_out = "".join(f" --without {name}" for name in self.without)
        return f"treasury storm --start {self.seed} --seeds 1 --hours {self.hours}{left_out}"

    def tell(self) -> str:
        """The story in words."""
        struck = ", ".join(f"{name} x{count}" for name, count in self.verdict.struck.items())
        return (
            f"seed {self.seed}, {self.hours} hours, {self.verdict.machines} machines, "
            f"{self.verdict.turns} turns.\n"
            f"  It takes: {struck or 'no fault at all'}.\n"
            f"  It breaks: {self.verdict.violation}\n"
            f"  Again: {self.command}"
        )


def kind(violation: str) -> str:
    """What a violation is about, without its names and numbers."""
    return re.sub(r"[\w.:-]*\d[\w.:-]*", "#", violation)


def shrink(
    verdict: Verdict, without: tuple[str, ...] = (), told: Callable[[str], None] = lambda _: None
) -> Story:
    """The smallest story that breaks the same, as far as `RUNS` runs go."""
    wanted, best, left_out = kind(verdict.violation), verdict, list(without)
    for run, name in enumerate(list(verdict.struck)):
        if run >= RUNS:
            break
        if name in left_out:
            continue
        told(f"without {name}")
        tried = storm(verdict.seed, best.hours, without=(*left_out, name))
        if kind(tried.violation) == wanted:
            best = tried
            left_out.append(name)
    while best.hours > 2:
        told(f"only {best.hours // 2} hours")
        tried = storm(verdict.seed, best.hours // 2, without=tuple(left_out))
        if kind(tried.violation) != wanted:
            break
        best = tried
    return Story(verdict.seed, best.hours, tuple(left_out), best)
