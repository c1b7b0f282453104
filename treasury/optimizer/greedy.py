"""The greedy start: a good feasible answer in no time, and the bound that says when it is the
best."""

from collections.abc import Iterable, Sequence

from treasury.optimizer.problem import Problem

# For each candidate the index of its choice, or None for no machine.
Solution = tuple[int | None, ...]


class Ledger:
    """What a partial solution leaves of each row."""

    def __init__(self, problem: Problem, chosen: Sequence[int | None]) -> None:
        self.left = [row.limit for row in problem.rows]
        self.weights: list[list[tuple[int, int]]] = [[] for _ in problem.choices]
        for at, row in enumerate(problem.rows):
            for index, weight in zip(row.choices, row.weights, strict=True):
                self.weights[index].append((at, weight))
        for taken in chosen:
            self.take(taken)

    def fits(self, index: int, instead: int | None = None) -> bool:
        """Whether a choice fits, perhaps in the place of another."""
        given_back = dict(self.weights[instead]) if instead is not None else {}
        return all(
            self.left[at] + given_back.get(at, 0) >= weight for at, weight in self.weights[index]
        )

    def take(self, index: int | None, sign: int = 1) -> None:
        """Take a choice; with sign -1 give it back."""
        if index is not None:
            for at, weight in self.weights[index]:
                self.left[at] -= sign * weight

    def full(self, index: int) -> list[int]:
        """The rows that a choice would break."""
        return [at for at, weight in self.weights[index] if self.left[at] < weight]


def greedy(problem: Problem) -> Solution:
    """Everybody stays; those who have nothing take what is free, by gain a machine; then those who
    would gain by moving to what is still free do. Always feasible."""
    chosen: list[int | None] = [_stay(problem, job) for job in range(len(problem.candidates))]
    ledger = Ledger(problem, chosen)
    _fill(problem, ledger, chosen)
    for index in _by_gain(problem, range(len(problem.choices))):
        job = problem.choices[index].job
        old = chosen[job]
        if old is None or problem.choices[index].gain <= problem.choices[old].gain:
            continue
        if ledger.fits(index, old):
            ledger.take(old, -1)
            ledger.take(index)
            chosen[job] = index
    _fill(problem, ledger, chosen)
    return tuple(chosen)


def complete(problem: Problem, solution: Solution) -> Solution:
    """A solution with whatever still fits added: a solver may stop a little short of the best."""
    chosen = list(solution)
    _fill(problem, Ledger(problem, chosen), chosen)
    return tuple(chosen)


def _stay(problem: Problem, job: int) -> int | None:
    return next((index for index in problem.by_job[job] if problem.choices[index].stays), None)


def _by_gain(problem: Problem, indices: Iterable[int]) -> list[int]:
    choices = problem.choices
    return sorted(
        indices, key=lambda at: (-(choices[at].gain // choices[at].nodes), choices[at].job, at)
    )


def _fill(problem: Problem, ledger: Ledger, chosen: list[int | None]) -> None:
    waiting = [
        index for job, mine in enumerate(problem.by_job) if chosen[job] is None for index in mine
    ]
    for index in _by_gain(problem, waiting):
        job = problem.choices[index].job
        if chosen[job] is None and ledger.fits(index):
            chosen[job] = index
            ledger.take(index)


def value(problem: Problem, solution: Solution) -> int:
    """What a solution gains [micro-USD over the horizon]."""
    return sum(problem.choices[index].gain for index in solution if index is not None)


def best_conceivable(problem: Problem) -> int:
    """What could be gained if jobs did not share anything: no solution gains more."""
    return sum(problem.choices[mine[0]].gain for mine in problem.by_job if mine)


def is_feasible(problem: Problem, solution: Solution) -> bool:
    """Whether a solution keeps every row, every machine that must be kept, and one choice a job."""
    if any(left < 0 for left in Ledger(problem, solution).left):
        return False
    return all(
        index in mine if index is not None else not (candidate.bound and mine)
        for index, candidate, mine in zip(solution, problem.candidates, problem.by_job, strict=True)
    )
