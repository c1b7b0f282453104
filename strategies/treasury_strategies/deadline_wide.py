"""Jobs with a deadline that may choose among many pools: each has a price of work, takes machines
that do it for less, and leaves them for others where that pays for the start.

A chain of states cannot hold so many pools; a curve of work by price can (`deadline_curve`). What
is safe is the guard's business here as there.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from treasury.domain.market import Tenure
from treasury.domain.plan import JobView, OfferView, Snapshot
from treasury.domain.time import HOUR
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import STEP
from treasury.forecast.rooms import Rooms
from treasury.optimizer.deadline import calm_until
from treasury.optimizer.market import Arc, Fit
from treasury_strategies.deadline_base import Back, Backed
from treasury_strategies.deadline_policy import POOLS, step_of
from treasury_strategies.queue import Entry, Walk

if TYPE_CHECKING:
    from treasury_strategies.deadline_curve import Choice, Curve

# In a fleet more spot pools than this are many: there others' jobs decide what is there.
_MANY: Final = 3
# Of a short time ahead less is counted on, since a market may do much worse than expected in it: of
# this many hours one half. Chosen on a fleet of 2,000 jobs.
_UNSURE: Final = 4.0
# A move must gain this many times what it costs: gains are guesses, its cost is certain.
_WORTH_IT: Final = 3.0
# A curve serves times ahead [hours] between these powers of two, and for one step of the hazards.
_LEAST: Final = 0.5
_TYPICAL: Final = 1.4
# Hours that machines last which are not taken back.
_FOR_EVER: Final = 1e4
# Curves that are kept at most: more than any fleet has kinds of jobs at a time.
_KEPT: Final = 1_000


class Price(NamedTuple):
    """What a job's work is worth. price: nano-USD a reference hour. left: reference hours of work.
    start: hours that a start takes."""

    price: float
    left: float
    start: float

    def gain(self, rate: int, speed: int) -> float:
        """What an hour on a machine gains [nano-USD]."""
        return self.price * speed / 1_000 - rate

    def move(self, rate: int, here: float) -> float:
        """What a move must gain [nano-USD] for a machine at a rate, from one that gains `here`."""
        return self.start * (rate + max(here, 0.0)) * _WORTH_IT

    def longest(self, speed: int) -> float:
        """Hours of work left on a machine."""
        return self.left / speed * 1_000


class Wide(Backed):
    """Adds choosing among many pools. forecaster: of the pools' price levels. fleet: whether more
    jobs than a few have deadlines now."""

    forecaster: Forecaster
    rooms: Rooms
    curves: dict[tuple[Fit, float, int], tuple[int, "Curve"]]
    fleet = False

    def look(self, snapshot: Snapshot, spot: list[OfferView]) -> None:
        """Learn where there is room, if there are pools enough for anybody to need that."""
        if len(spot) > _MANY:
            sizes = {v.spec.requirement.nodes: None for v in snapshot.jobs if v.spec.deadline}
            self.rooms.see(snapshot.now, spot, sizes)

    def is_wide(self, entry: Entry) -> bool:
        """Whether more spot offers fit a job than a chain can hold; in a fleet, than a few."""
        pools = entry.fit.opportunities
        most = _MANY if self.fleet else POOLS
        return len(pools) > most and (
            sum(member.offer.tenure is Tenure.SPOT for member in pools) > most
        )

    def price(self, walk: Walk, view: JobView, entry: Entry, deadline: int) -> Price:
        """What a job's work is worth now."""
        fit = entry.fit
        lead = max(member.lead for member in fit.members)
        start = (view.spec.start_overhead + lead) / HOUR
        left = view.work_left(walk.now) / HOUR
        ahead = max((deadline - walk.now) / HOUR - start, start, 0.01)
        sure = ahead * ahead / (ahead + _UNSURE)
        return Price(self._curve(walk, fit, start, ahead).price(left / sure), left, start)

    def _curve(self, walk: Walk, fit: Fit, start: float, ahead: float) -> "Curve":
        size = 0
        while _LEAST * 2.0 ** (size + 1) <= ahead:
            size += 1
        key = fit, start, size
        known = self.curves.get(key)
        if known is not None and walk.now - known[0] <= STEP:
            return known[1]
        from treasury_strategies.deadline_curve import curve

        hours = _LEAST * 2.0**size * _TYPICAL
        made = curve(self._choices(walk, fit, hours), start, hours)
        if len(self.curves) >= _KEPT:
            self.curves.clear()
        self.curves[key] = walk.now, made
        return made

    def _choices(self, walk: Walk, fit: Fit, hours: float) -> list["Choice"]:
        """What a class of jobs may count on: pools that ever had room for it, and on-demand."""
        from treasury_strategies.deadline_curve import Choice, share_ahead

        found = []
        for member in fit.members:
            offer, rate = member.offer, self.market.offers[member.index].rate
            if not 0 <= rate <= member.limit:
                continue
            speed = member.speed / 1_000
            if offer.tenure is not Tenure.SPOT:
                found.append(Choice(1.0, _FOR_EVER, float(rate), speed))
            elif self.rooms.ever(offer.id, fit.nodes):
                there, rest, share, run = self.rooms.outlook(offer.id, fit.nodes, walk.now)
                share = share_ahead(there, rest, share, hours)
                found.append(Choice(share, run, self.forecaster.level(offer.id, rate), speed))
        return found

    def _hours(self, walk: Walk, entry: Entry, arc: Arc, worth: Price) -> float:
        """Hours that a run on a spot offer may be expected to last."""
        rest = self.rooms.outlook(arc.id, entry.fit.nodes, walk.now).rest
        return min(rest, worth.longest(arc.speed))

    def _indifferent(self, walk: Walk, arc: Arc, worth: Price) -> Arc:
        """The arc with the rate as its bid at which the job would as soon be without the machine
        for a step and start again, within what the job's limits let us bid."""
        again = worth.start * HOUR / step_of(walk.tick)
        most = int(worth.price * arc.speed / 1_000 + arc.rate * again)
        return msgspec.structs.replace(arc, bid=max(arc.rate, min(arc.bid, most)))

    # --- decisions -------------------------------------------------------------------------------

    def queued_wide(
        self, walk: Walk, view: JobView, entry: Entry, deadline: int, backs: list[Back]
    ) -> Arc | None:
        """What a queued job takes: the machine that gains most over its run, None for waiting."""
        spot = [arc for arc in self.open(entry, entry.fit.spot) if arc.spot]
        worth = self.price(walk, view, entry, deadline)
        best, most = None, 0.0
        for arc in spot:
            hours = self._hours(walk, entry, arc, worth)
            gain = worth.gain(arc.rate, arc.speed) * hours - worth.start * arc.rate
            if gain > most and any(safe.may_start(arc) for _, safe in backs):
                best, most = arc, gain
        if best is not None:
            walk.review(max(safe.ask_again() for _, safe in backs))
            return self._indifferent(walk, best, worth)
        waits = [safe for _, safe in backs if safe.may_wait()]
        if waits:
            again = max(safe.ask_again() for safe in waits)
            walk.review(min(again, walk.now + step_of(walk.tick)))
            calm = max(
                calm_until(view.spec, view.work_done, deadline, safe.fallback, 0, walk.tick)
                for safe in waits
            )
            self._wait(walk, entry, max(calm, walk.now))
            return None
        # No time to wait: the cheapest that is safe.
        for arc in spot:
            if any(safe.may_start(arc) for _, safe in backs):
                return arc
        return backs[0][0]

    def placed_wide(
        self,
        walk: Walk,
        view: JobView,
        entry: Entry,
        held: OfferView,
        backs: list[Back],
    ) -> Arc | None:
        """Where a placed job moves: to the machine that gains most where that pays for the move, to
        on-demand also when it must; None for staying."""
        placement, deadline = view.placement, view.spec.deadline
        if placement is None or deadline is None:
            return None
        worth = self.price(walk, view, entry, deadline)
        here = worth.gain(held.rate, placement.speed)
        stays, on_spot = worth.longest(placement.speed), held.offer.tenure is Tenure.SPOT
        if on_spot:
            nodes, since = entry.fit.nodes, placement.requested_at
            stays = min(stays, self.rooms.kept(placement.offer, nodes, walk.now, since))
        best, most = None, 0.0
        spot = [
            arc
            for arc in self.open(entry, entry.fit.spot)
            if arc.spot and arc.id != placement.offer
        ]
        for arc in spot:
            there = worth.gain(arc.rate, arc.speed) * self._hours(walk, entry, arc, worth)
            gain = there - here * stays - worth.move(arc.rate, here)
            if gain > most and any(safe.may_start(arc) for _, safe in backs):
                best, most = arc, gain
        if on_spot and here < 0.0:
            # The price has risen above what the work is worth: on-demand may lose less.
            for arc, _ in backs:
                less = worth.gain(arc.rate, arc.speed) - here
                gain = less * min(stays, worth.longest(arc.speed)) - worth.move(arc.rate, here)
                if gain > most:
                    best, most = arc, gain
        if best is not None:
            return self._indifferent(walk, best, worth)
        if on_spot and not any(safe.may_stay() for _, safe in backs):
            return backs[0][0]
        if spot:
            walk.review(walk.now + step_of(walk.tick))
        if on_spot:
            walk.review(max(safe.ask_again() for _, safe in backs))
        return None
