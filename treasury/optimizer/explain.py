"""Why the optimal plan leaves a job out, in words with numbers."""

from treasury.domain.money import charge, format_money, format_rate
from treasury.domain.plan import LeftOut, Why
from treasury.domain.time import HOUR, format_duration
from treasury.optimizer.greedy import Ledger, Solution
from treasury.optimizer.problem import Candidate, Choice, Problem, Terms, unit_price, worth

# More names than these do not make a reason clearer.
_NAMES = 3


class Explainer:
    """Reasons for one problem and its solution."""

    def __init__(self, problem: Problem, solution: Solution, terms: Terms, now: int) -> None:
        self._problem = problem
        self._solution = solution
        self._terms = terms
        self._now = now
        self._ledger = Ledger(problem, solution)

    def left_out(self, job: int) -> LeftOut:
        """Why a candidate without a machine gets none: what its best choice would have broken."""
        problem = self._problem
        candidate, mine = problem.candidates[job], problem.by_job[job]
        if not mine:
            return not_paying(candidate, self._now)
        best = problem.choices[mine[0]]
        broken = self._ledger.full(mine[0])
        gain = format_money(best.gain)
        would = (
            f"{best.arc.id} at {format_rate(best.arc.rate)} would gain {gain} in "
            f"{format_duration(self._terms.horizon)}"
        )
        spec = candidate.view.spec
        if not broken:
            return LeftOut(spec.id, Why.SOLVER, f"{would}; found too late", best.arc.id)
        row = problem.rows[broken[0]]
        rivals = self._rivals(broken[0])
        if row.centre is not None:
            return LeftOut(
                spec.id,
                Why.BUDGET,
                f"{would}, but it needs {format_money(best.spend)} and {row.centre} has "
                f"{format_money(row.limit)}, which gains more with {rivals}",
                best.arc.id,
            )
        return LeftOut(
            spec.id,
            Why.OUTRANKED,
            f"{would}, but all {row.limit} of its machines gain more with {rivals}",
            best.arc.id,
        )

    def _rivals(self, row: int) -> str:
        """The jobs that use a row, those with the most of it first."""
        choices, taken = self._problem.choices, set(self._solution)
        using = [
            (-weight, choices[index].job)
            for index, weight in zip(
                self._problem.rows[row].choices, self._problem.rows[row].weights, strict=True
            )
            if index in taken
        ]
        names = [self._problem.candidates[job].view.spec.id for _, job in sorted(using)]
        if not names:
            return "none"
        more = len(names) - _NAMES
        return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def not_paying(candidate: Candidate, now: int) -> LeftOut:
    """A job for which no offer costs less than its work is worth."""
    cheapest = min(candidate.arcs, key=lambda arc: (arc.price, arc.index))
    price = unit_price(cheapest.rate, cheapest.speed)
    nodes, spec = candidate.fit.nodes, candidate.view.spec
    costs = format_money(charge(price * nodes, HOUR))
    value = format_money(charge(worth(candidate, price, now) * nodes, HOUR))
    return LeftOut(
        spec.id,
        Why.NOT_PAYING,
        f"an hour of its work costs {costs} at {cheapest.id} and is worth {value}",
        cheapest.id,
    )


def cleared(choice: Choice, candidate: Candidate, leaving: list[str]) -> LeftOut:
    """A job that is to have machines which others are being taken off."""
    return LeftOut(
        candidate.view.spec.id,
        Why.WAITS,
        f"{choice.arc.id} at {format_rate(choice.arc.rate)} is being cleared of "
        f"{', '.join(leaving[:_NAMES]) or 'others'} for it",
        choice.arc.id,
    )
