"""The walk along the queue that on_demand, greedy and uniform_progress share.

Jobs are met in queue order; each takes the cheapest offer its policy accepts, and what it takes is
gone for those behind it. What a job's class, thresholds and reasons come to is remembered between
plans, so that a job about which nothing changed costs a few comparisons.
"""

import msgspec

from treasury.domain.ids import CostCentre, JobId, OfferId
from treasury.domain.job import JobSpec, JobState
from treasury.domain.money import charge, format_money, format_rate
from treasury.domain.plan import (
    Action,
    JobView,
    LeftOut,
    Place,
    PlacementView,
    Plan,
    Preempt,
    Snapshot,
    Why,
)
from treasury.domain.time import NEVER, format_instant
from treasury.optimizer.deadline import next_tick, tick_at
from treasury.optimizer.market import Arc, Fit, Market, lead_of
from treasury.optimizer.reasons import shortage
from treasury.optimizer.refusals import Refusals, Refused

# Entries of jobs that are gone are swept once they outnumber the living by this many.
_SLACK = 1_000


class Entry:
    """What is remembered of a job between plans."""

    __slots__ = (
        "calm_until",
        "cover",
        "fit",
        "left_for",
        "left_out",
        "refused",
        "spec",
        "turn_at",
        "turn_for",
        "view",
    )

    def __init__(self, spec: JobSpec, fit: Fit) -> None:
        self.spec = spec
        self.fit = fit
        # The last instant at which waiting is right.
        self.calm_until = NEVER
        # The fallback that makes waiting until then right; None for the cheapest.
        self.cover: Arc | None = None
        self.left_out: LeftOut | None = None
        self.left_for: tuple[object, ...] = ()
        # Offers not to be proposed in this plan, since the guard refused them lately.
        self.refused: dict[OfferId, Refused] | None = None
        # For a placed job: the first tick at which its policy moves it, and what that was computed
        # for.
        self.turn_at = NEVER
        self.turn_for: tuple[int, ...] = ()
        self.view: JobView | None = None

    def turn(self, view: JobView, key: tuple[int, ...]) -> int | None:
        """The remembered tick, if it was computed for this view and key."""
        return self.turn_at if self.view is view and self.turn_for == key else None

    def remember(self, view: JobView, key: tuple[int, ...], at: int) -> int:
        """Remember a tick for a view and key; returns it."""
        self.view, self.turn_for, self.turn_at = view, key, at
        return at


class Walk:
    """One plan in the making."""

    __slots__ = (
        "actions",
        "calm_until",
        "left_out",
        "money",
        "now",
        "origin",
        "review_at",
        "snapshot",
        "tick",
    )

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.now = snapshot.now
        self.tick = snapshot.tick
        self.origin = snapshot.origin
        self.actions: list[Action] = []
        self.left_out: list[LeftOut] = []
        # The earliest of all instants after which a waiting job's policy stops waiting.
        self.calm_until = NEVER
        self.review_at = NEVER
        # Money this plan leaves to a cost centre [micro-USD], once it took some.
        self.money: dict[CostCentre, int] = {}

    def plan(self) -> Plan:
        """The finished plan."""
        review = self.review_at
        if self.calm_until < NEVER:
            review = min(review, next_tick(self.calm_until, self.tick, self.origin))
        return Plan(
            self.snapshot.version,
            tuple(self.actions),
            tuple(self.left_out),
            review if review < NEVER else None,
        )

    def review(self, instant: int) -> None:
        """Ask again at the first tick at or after an instant [ns] that is yet to come."""
        if self.now < instant < NEVER:
            self.review_at = min(self.review_at, tick_at(instant, self.tick, self.origin))

    def short_of_money(self, spec: JobSpec, arc: Arc, nodes: int) -> str | None:
        """What keeps a cost centre from paying even until the next plan; the guard knows the whole
        law."""
        budget = self.snapshot.budgets.get(spec.cost_centre)
        if budget is None:
            return None
        left = self.money.get(spec.cost_centre, budget.available)
        price = charge(arc.rate * nodes, self.tick)
        if left < price:
            return (
                f"{spec.cost_centre} has {format_money(left)} left, and {nodes} x {arc.id} at "
                f"{format_rate(arc.rate)} cost {format_money(price)} until the next plan"
            )
        self.money[spec.cost_centre] = left - price
        return None


class QueueStrategy:
    """Places queued jobs in queue order. Policies say what a queued and what a placed job wants."""

    name = "queue"

    def __init__(self) -> None:
        self.market = Market()
        self.refusals = Refusals()
        self._entries: dict[JobId, Entry] = {}
        self._ceilings: tuple[tuple[CostCentre, int], ...] = ()

    # --- what policies say -----------------------------------------------------------------------

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """The offer a queued job is to take now, or None to leave it out."""
        raise NotImplementedError

    def placed(
        self, walk: Walk, view: JobView, entry: Entry, placement: PlacementView
    ) -> Arc | None:
        """The offer a running job is to be switched to now, or None to let it run."""
        raise NotImplementedError

    # --- what policies ask -----------------------------------------------------------------------

    def best(self, entry: Entry, arcs: list[Arc]) -> Arc | None:
        """The cheapest offer of a ranking that is free and was not refused lately."""
        if entry.refused is None:
            return entry.fit.best(arcs, self.market.free)
        still = self.open(entry, arcs)
        return still[0] if still else None

    def open(self, entry: Entry, arcs: list[Arc]) -> list[Arc]:
        """All such offers, the cheapest first."""
        free, nodes, refused = self.market.free, entry.fit.nodes, entry.refused or ()
        return [a for a in reversed(arcs) if free[a.index] >= nodes and a.id not in refused]

    # --- the walk --------------------------------------------------------------------------------

    def propose(self, snapshot: Snapshot) -> Plan:
        """A plan for a snapshot, with a reason for every queued job left out."""
        walk = self.begin(snapshot)
        queued = JobState.QUEUED
        for view in snapshot.jobs:
            if view.state is queued:
                self._queued(walk, view)
            elif view.placement is not None and not view.migrating:
                self.look_after(walk, view, view.placement)
        return self.end(walk)

    def begin(self, snapshot: Snapshot) -> Walk:
        """Take over a snapshot."""
        self.refusals.learn(snapshot)
        self.market.refresh(snapshot)
        ceilings = tuple([(centre, view.ceiling) for centre, view in snapshot.budgets.items()])
        if ceilings != self._ceilings:
            self._ceilings = ceilings
            self._entries.clear()
        return Walk(snapshot)

    def end(self, walk: Walk) -> Plan:
        """The plan; what is known of jobs that are gone is forgotten."""
        jobs = walk.snapshot.jobs
        if len(self._entries) > 2 * len(jobs) + _SLACK:
            entries = self._entries
            self._entries = {
                view.spec.id: entries[view.spec.id] for view in jobs if view.spec.id in entries
            }
        return walk.plan()

    def _queued(self, walk: Walk, view: JobView) -> None:
        entry = self.enter(walk, view)
        arc = self.queued(walk, view, entry)
        if arc is None:
            self.leave_out(walk, entry)
        else:
            self.place(walk, view, entry, arc)

    def place(self, walk: Walk, view: JobView, entry: Entry, arc: Arc) -> None:
        """Have a queued job take an offer, if it can be paid for."""
        short = walk.short_of_money(entry.spec, arc, entry.fit.nodes)
        if short is not None:
            walk.left_out.append(LeftOut(entry.spec.id, Why.BUDGET, short, arc.id))
            return
        self.refusals.propose(view, arc.id)
        self._take(walk, entry, arc)

    def look_after(self, walk: Walk, view: JobView, placement: PlacementView) -> None:
        """Switch a placed job at once where its policy demands it."""
        state = view.state
        acquiring = state is JobState.ACQUIRING
        if not acquiring and state is not JobState.RUNNING and state is not JobState.STARTING:
            return
        entry = self.entry(walk, view.spec)
        if placement.useful_from is None:
            view, placement = self._expected(walk, view, placement)
        arc = self.placed(walk, view, entry, placement)
        if arc is None:
            return
        if acquiring:
            # It cannot be called back: ask again as soon as something can be done.
            walk.review(walk.now + 1)
        else:
            self.switch(walk, entry, placement, arc)

    def switch(self, walk: Walk, entry: Entry, placement: PlacementView, arc: Arc) -> None:
        """Have a placed job give up its machines for others, unless the guard would mind."""
        spec = entry.spec
        if self.refusals.bears_grudge(spec.id, arc.id, walk.now):
            return
        if walk.short_of_money(spec, arc, entry.fit.nodes) is None:
            walk.actions.append(Preempt(spec.id, f"switch from {placement.offer} to {arc.id}"))
            self._take(walk, entry, arc)

    def _take(self, walk: Walk, entry: Entry, arc: Arc) -> None:
        walk.actions.append(Place(entry.spec.id, arc.id, arc.bid))
        self.market.take(arc, entry.fit.nodes)

    def enter(self, walk: Walk, view: JobView) -> Entry:
        """What is remembered of a queued job, with what was refused to it lately."""
        entry = self.entry(walk, view.spec)
        refused = self.refusals.of(view.spec.id)
        if refused is not None:
            refused = {at: of for at, of in refused.items() if walk.now < of.until} or None
        entry.refused = refused
        entry.cover = None
        return entry

    def entry(self, walk: Walk, spec: JobSpec) -> Entry:
        """What is remembered of a job, its class ranked against the present market."""
        entry = self._entries.get(spec.id)
        if entry is None or entry.spec is not spec:
            budget = walk.snapshot.budgets.get(spec.cost_centre)
            fit = self.market.fit(spec, 0 if budget is None else budget.ceiling)
            entry = self._entries[spec.id] = Entry(spec, fit)
            fit.refresh(self.market)
            fit.prospect.count(walk.now)
        else:
            entry.fit.refresh(self.market)
        return entry

    def _expected(
        self, walk: Walk, view: JobView, placement: PlacementView
    ) -> tuple[JobView, PlacementView]:
        """A job whose machines are on their way, as if they came when they are due."""
        held = self.market.view(placement.offer)
        lead = 0 if held is None else lead_of(held.offer)
        due = max(walk.now, placement.requested_at + lead) + view.spec.start_overhead
        placement = msgspec.structs.replace(placement, useful_from=due)
        return msgspec.structs.replace(view, placement=placement), placement

    # --- reasons ---------------------------------------------------------------------------------

    def leave_out(self, walk: Walk, entry: Entry) -> None:
        """Say why a queued job gets nothing, and ask again when that may change."""
        fit = entry.fit
        fallback = entry.cover or self.best(entry, fit.fallback)
        walk.review(fit.wakes)
        if fallback is None:
            walk.review(fit.wakes_fallback)
        if entry.refused is not None:
            again = min(of.until for of in entry.refused.values())
            walk.review(again)
            barred = [
                arc.id
                for arc in (*reversed(fit.spot), *reversed(fit.fallback))
                if arc.id in entry.refused and self.market.free[arc.index] >= fit.nodes
            ]
            if barred:
                walk.left_out.append(_was_refused(entry.spec, barred, again))
                return
        lack = shortage(self.market, fit, spot_only=fallback is not None)
        if fallback is None:
            key: tuple[object, ...] = (lack,)
        else:
            key = (lack, entry.calm_until, fallback.index, fallback.rate)
        if entry.left_out is None or entry.left_for != key:
            entry.left_for, entry.left_out = key, lack.left_out(entry.spec)
            if fallback is not None:
                detail = f"{lack.detail}; waits for spot{_until(walk, entry, fallback)}"
                entry.left_out = LeftOut(entry.spec.id, Why.WAITS, detail, lack.offer)
        walk.left_out.append(entry.left_out)


def _until(walk: Walk, entry: Entry, fallback: Arc) -> str:
    price = f"{fallback.id} at {format_rate(fallback.rate)}"
    if entry.calm_until >= NEVER:
        why = "it has no deadline" if entry.spec.deadline is None else "its deadline is lost"
        return f", not for {price}, since {why}"
    at = next_tick(entry.calm_until, walk.tick, walk.origin)
    return f" until {format_instant(at)}, then takes {price}"


def _was_refused(spec: JobSpec, offers: list[OfferId], again: int) -> LeftOut:
    return LeftOut(
        spec.id,
        Why.NOT_ALLOWED,
        f"{', '.join(dict.fromkeys(offers))} would serve, but the budget's guard refused; asked "
        f"again at {format_instant(again)}",
        offers[0],
    )
