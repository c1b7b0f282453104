"""All jobs at once: the assignment that gains most, found with CP-SAT.

Jobs without slack are seen to first (`optimal_wishes`). All others share machines and money so that
what they gain in the next hours, weighed by priority, less the cost of every move, is as much as
possible.
"""

from typing import TYPE_CHECKING

from treasury.domain.job import JobState
from treasury.domain.plan import JobView, LeftOut, Migrate, Plan, Preempt, Snapshot, Why
from treasury.optimizer.cpsat import Answer, Effort, solve, solve_large
from treasury.optimizer.explain import Explainer, cleared
from treasury.optimizer.market import Arc
from treasury.optimizer.problem import Candidate, Choice, Problem, Terms, build
from treasury_strategies.optimal_wishes import (
    OptimalSettings,
    Wishes,
    given_up_first,
    may_yield,
    stopped,
    who_may_yield,
)
from treasury_strategies.queue import Entry, Walk

if TYPE_CHECKING:
    from treasury.optimizer.flow.bridge import LargeSolver


class Optimal(Wishes):
    """Places, moves and stops jobs so that most is gained: by price, priority, value, deadlines and
    what moves cost. Deadlines that can be met come first."""

    name = "optimal"
    Settings = OptimalSettings

    def __init__(self, settings: OptimalSettings | None = None) -> None:
        super().__init__(settings)
        own = self.own
        self._terms = Terms(
            horizon=own.horizon,
            payback=own.payback,
            spot_payback=own.spot_payback,
            margin=own.move_margin,
            columns=own.most,
            per_job=own.per_job,
        )
        self._effort = Effort(seed=own.seed, limit=own.effort)
        self._large: LargeSolver | None = None
        self._solved: tuple[tuple[object, ...], Answer] | None = None

    # --- the plan --------------------------------------------------------------------------------

    def propose(self, snapshot: Snapshot) -> Plan:
        """The plan that gains most, with a reason for every queued job left out."""
        walk = self.begin(snapshot)
        seats = self.seats(walk)
        yielding = who_may_yield(seats)
        waiting = []
        for view in snapshot.jobs:
            if view.state is JobState.QUEUED:
                candidate = self.wishes(walk, view, yielding)
                if candidate is not None:
                    waiting.append(candidate)
        # When there are too many choices, those who can wait are left to the greedy rest.
        waiting.sort(key=lambda candidate: not candidate.urgent)
        coming = self._coming_free(snapshot)
        waiting = [each for each in waiting if not self._waits_for(walk, each, coming)]
        wanted: dict[int, int] = {}
        for candidate in waiting:
            priority = candidate.view.spec.priority
            for arc in candidate.arcs:
                wanted[arc.index] = max(priority, wanted.get(arc.index, priority))
        staying = [seat for seat in seats if seat.arcs or may_yield(seat, wanted)]
        problem = build(
            self.market, [*waiting, *staying], snapshot.budgets, walk.money, self._terms
        )
        self._carry_out(walk, problem, self._answer(problem))
        return self.end(walk)

    def _coming_free(self, snapshot: Snapshot) -> dict[int, int]:
        """Offer -> machines of jobs that are stopping already."""
        coming: dict[int, int] = {}
        for view in snapshot.jobs:
            if view.state is JobState.STOPPING and view.placement is not None:
                index = self.market.place_of(view.placement.offer)
                if index is not None:
                    nodes = view.spec.requirement.nodes
                    coming[index] = coming.get(index, 0) + nodes
        return coming

    def _waits_for(self, walk: Walk, candidate: Candidate, coming: dict[int, int]) -> bool:
        """Whether a job that finds nothing free has its machines cleared already: then nobody else
        is stopped for it."""
        nodes, free = candidate.fit.nodes, self.market.free
        if any(free[arc.index] >= nodes for arc in candidate.arcs):
            return False
        for arc in candidate.arcs:
            if free[arc.index] + coming.get(arc.index, 0) >= nodes:
                coming[arc.index] -= nodes
                detail = f"{arc.id} is being cleared already"
                left_out = LeftOut(candidate.view.spec.id, Why.WAITS, detail, arc.id)
                self._pass_over(walk, candidate, left_out, None)
                walk.review(walk.now + 1)
                return True
        return False

    def _answer(self, problem: Problem) -> Answer:
        """The solution, remembered as long as the figures stay the same."""
        figures = problem.figures()
        if self._solved is None or self._solved[0] != figures:
            self._solved = figures, self._solve(problem)
        return self._solved[1]

    def _solve(self, problem: Problem) -> Answer:
        """By CP-SAT as long as it can weigh every choice, else by prices."""
        if len(problem.choices) <= self.own.columns:
            return solve(problem, self._effort)
        # numpy is loaded by the first problem that needs it.
        from treasury.optimizer.flow.bridge import LargeSolver

        if self._large is None:
            self._large = LargeSolver()
        return solve_large(problem, self._large.solve)

    # --- what comes of it ------------------------------------------------------------------------

    def _carry_out(self, walk: Walk, problem: Problem, answer: Answer) -> None:
        explainer = Explainer(problem, answer.solution, self._terms, walk.now)
        moves: list[tuple[Candidate, Choice]] = []
        places: list[tuple[Candidate, Choice]] = []
        leaving: dict[int, list[str]] = {}
        for job, (candidate, at) in enumerate(
            zip(problem.candidates, answer.solution, strict=True)
        ):
            choice = None if at is None else problem.choices[at]
            held, name = candidate.held, candidate.view.spec.id
            if held is None and choice is not None:
                places.append((candidate, choice))
            elif held is None:
                self._pass_over(walk, candidate, explainer.left_out(job), answer)
            elif choice is None or choice.arc is not held:
                leaving.setdefault(held.index, []).append(name)
                if choice is None:
                    walk.actions.append(Preempt(name, f"{held.id} gains more without it"))
                else:
                    moves.append((candidate, choice))
        for candidate, choice in places:
            self._start(walk, candidate, choice, leaving)
        for candidate, choice in moves:
            self._move(walk, candidate, choice)
        for candidate in problem.left_over:
            if candidate.held is None:
                self._start_somewhere(walk, candidate)

    def _start(
        self, walk: Walk, candidate: Candidate, choice: Choice, leaving: dict[int, list[str]]
    ) -> None:
        entry, arc = self.entry(walk, candidate.view.spec), choice.arc
        if self.market.free[arc.index] < choice.nodes:
            # Nobody else may have them either, so the next plan gives the same answer.
            names = leaving.get(arc.index, [])
            self._pass_over(walk, candidate, cleared(choice, candidate, names), None)
            walk.review(walk.now + 1)
            return
        self.place(walk, candidate.view, entry, arc)
        self._watch(walk, candidate.view, entry, arc)

    def _watch(self, walk: Walk, view: JobView, entry: Entry, arc: Arc) -> None:
        """Ask again when a job that is to start on spot will have to leave it."""
        deadline = view.spec.deadline
        if deadline is None or not arc.spot:
            return
        arcs = self.open(entry, entry.fit.fallback)
        for other in self.covers(walk, view, deadline, entry, arcs):
            back = self.fallback(view.spec, other.speed, other.lead)
            self.foresee(walk, stopped(view, walk.now), deadline, arc, back, entry)

    def _start_somewhere(self, walk: Walk, candidate: Candidate) -> None:
        """A job the solver was not asked about: the cheapest of what is left."""
        for arc in candidate.arcs:
            if self.market.free[arc.index] >= candidate.fit.nodes:
                self.place(walk, candidate.view, self.entry(walk, candidate.view.spec), arc)
                return
        detail = f"more than {self.own.most} choices to weigh, and nothing was left after them"
        nearest = candidate.arcs[0].id
        left_out = LeftOut(candidate.view.spec.id, Why.SOLVER, detail, nearest)
        self._pass_over(walk, candidate, left_out, None)

    def _move(self, walk: Walk, candidate: Candidate, choice: Choice) -> None:
        """On-demand is given up first, since it can be had again; anything else is kept until the
        job runs elsewhere."""
        view, arc, held = candidate.view, choice.arc, candidate.held
        if held is None or view.placement is None or self.market.free[arc.index] < choice.nodes:
            walk.review(walk.now + 1)
            return
        entry = self.entry(walk, view.spec)
        if given_up_first(candidate):
            self.switch(walk, entry, view.placement, arc)
        elif walk.short_of_money(view.spec, arc, choice.nodes) is None:
            walk.actions.append(Migrate(view.spec.id, arc.id, arc.bid))
            self.market.take(arc, choice.nodes)
        self._watch(walk, view, entry, arc)

    def _pass_over(
        self, walk: Walk, candidate: Candidate, left_out: LeftOut, answer: Answer | None
    ) -> None:
        entry = self.entry(walk, candidate.view.spec)
        if candidate.fit.fallback:
            walk.calm_until = min(walk.calm_until, max(entry.calm_until, walk.now))
        walk.review(candidate.fit.wakes)
        if answer is not None and not answer.solved:
            detail = f"the solver had no answer in its limit ({answer.status}): {left_out.detail}"
            left_out = LeftOut(left_out.job, Why.SOLVER, detail, left_out.offer)
        walk.left_out.append(left_out)
