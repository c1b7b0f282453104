"""The market as a class of jobs sees it: which offers fit, in order of price per unit of work.

Jobs with the same requirement, limits and interruptibility share one `Fit`. A `Fit` keeps what
depends on the catalogue alone and ranks its offers again only when a rate, a depth or a quarantine
changed.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from treasury.domain.ids import OfferId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Offer, Tenure
from treasury.domain.plan import OfferView, Snapshot
from treasury.domain.time import NEVER
from treasury.optimizer.prospect import Prospect

# Prices per unit of work are compared in millionths of nano-USD/h, so that speeds divide finely.
PRICE_SCALE: Final = 1_000_000
# Requirements remembered by identity; more than any fleet has templates, small against its jobs.
_MEMORY: Final = 50_000
# "No limit" for rates: above any rate that money.RATE_LIMIT lets in.
_NO_LIMIT: Final = 2**62
# With no on-demand offer and no limit to bound a bid, we would pay this many times the present
# rate.
_BLIND_BID: Final = 2


class Arc(msgspec.Struct, frozen=True, gc=False):
    """An offer that fits a class of jobs, priced.

    price: see `price_of`. rate, bid: nano-USD/h per machine. speed: thousandths of the reference.
    lead: request to ready [ns]. index: where the offer stands in the snapshot.
    """

    price: int
    index: int
    offer: Offer
    rate: int
    bid: int
    speed: int
    lead: int

    @property
    def id(self) -> OfferId:
        """The offer's identifier."""
        return self.offer.id

    @property
    def spot(self) -> bool:
        """Whether the market may take the machine back."""
        return self.offer.tenure is Tenure.SPOT


class Member(msgspec.Struct, frozen=True, gc=False):
    """An offer that fits a class of jobs, as far as the catalogue alone tells. limit: most we pay
    per machine [nano-USD/h]."""

    index: int
    offer: Offer
    speed: int
    lead: int
    limit: int


def price_of(rate: int, speed: int) -> int:
    """Price per unit of work: a rate [nano-USD/h per machine] over a speed [thousandths], x
    PRICE_SCALE."""
    return rate * PRICE_SCALE // speed


def lead_of(offer: Offer) -> int:
    """Time [ns] from the request to a machine that can be used."""
    return offer.capabilities.grant_delay_ns + offer.capabilities.boot_ns


class Fit:
    """One class of jobs against the present market.

    spot: offers worth taking at any time (spot, and what is reserved or owned), fallback: offers
    the market cannot take back. Both hold only what is free for the whole gang and within the
    limits, the cheapest *last*.
    """

    __slots__ = (
        "_catalogue",
        "_stamp",
        "ceiling",
        "demand",
        "fallback",
        "interruptible",
        "max_rate",
        "members",
        "nodes",
        "opportunities",
        "prospect",
        "reference",
        "requirement",
        "shortages",
        "spot",
        "top_speed",
        "wakes",
        "wakes_fallback",
    )

    def __init__(self, spec: JobSpec, ceiling: int) -> None:
        self.requirement = spec.requirement
        self.interruptible = spec.interruptible
        self.max_rate = spec.max_rate
        self.ceiling = ceiling
        self.nodes = spec.requirement.nodes
        self.members: list[Member] = []
        # Members by what they are good for; see `_sort_members`.
        self.opportunities: list[Member] = []
        self.demand: list[Member] = []
        # The fastest member the market cannot take back [thousandths].
        self.top_speed = 0
        self.spot: list[Arc] = []
        self.fallback: list[Arc] = []
        # The cheapest on-demand member with a price, whether free or not: what bids are measured
        # by.
        self.reference: Arc | None = None
        # What waiting for spot costs; kept up only where there are fallbacks to choose from.
        self.prospect = Prospect()
        # When the first quarantine ends [ns] of a member of each kind that would be free.
        self.wakes = NEVER
        self.wakes_fallback = NEVER
        # The reasons' memory: by what was asked, the market's moment and the answer.
        self.shortages: dict[bool, tuple[tuple[int, int], Any]] = {}
        self._catalogue = -1
        self._stamp = -1

    def refresh(self, market: "Market") -> None:
        """Rank again if the market changed since the last time."""
        if self._stamp == market.stamp:
            return
        if self._catalogue != market.catalogue:
            self._sort_members(market.offers)
            self._catalogue = market.catalogue
        self._stamp = market.stamp
        self._rank(market)

    def _sort_members(self, views: Sequence[OfferView]) -> None:
        requirement = self.requirement
        self.members = []
        for index, view in enumerate(views):
            offer = view.offer
            speed = requirement.speed(offer)
            if speed > 0:
                limit = self.max_rate or _NO_LIMIT
                if self.ceiling:
                    limit = min(limit, self.ceiling * offer.shape.gpus)
                self.members.append(Member(index, offer, speed, lead_of(offer), limit))
        if not self.interruptible:
            self.members = [m for m in self.members if m.offer.tenure is not Tenure.SPOT]
        waits = any(m.offer.tenure is Tenure.SPOT for m in self.members)
        # Where there is no spot to wait for, on-demand is as good now as later.
        self.opportunities = [
            m for m in self.members if not waits or m.offer.tenure is not Tenure.ON_DEMAND
        ]
        self.demand = [m for m in self.members if m.offer.tenure is not Tenure.SPOT]
        self.top_speed = max((m.speed for m in self.demand), default=0)

    def _rank(self, market: "Market") -> None:
        views = market.offers
        self.reference = reference = self._reference(views)
        self.spot, self.wakes = self._open(market, self.opportunities, reference)
        self.fallback, self.wakes_fallback = self._open(market, self.demand, None)
        if len(self.demand) > 1:
            self._look_ahead(market)

    def _look_ahead(self, market: "Market") -> None:
        """Note what spot costs now, whoever holds it: else a job on spot would itself be the reason
        why there seems to be none."""
        room: int | None = None
        listed: int | None = None
        for member in self.opportunities:
            view = market.offers[member.index]
            rate = view.rate
            if member.offer.tenure is not Tenure.SPOT or rate < 0:
                continue
            if rate > self.bid(member, rate, self.reference):
                continue
            price = price_of(rate, member.speed)
            if listed is None or price < listed:
                listed = price
            if (room is None or price < room) and not 0 <= view.depth < self.nodes:
                room = price
        self.prospect.see(market.now, room, listed)

    def _reference(self, views: Sequence[OfferView]) -> Arc | None:
        best: Arc | None = None
        for member in self.demand:
            rate = views[member.index].rate
            if rate >= 0 and member.offer.tenure is Tenure.ON_DEMAND:
                price = price_of(rate, member.speed)
                if best is None or price < best.price:
                    best = _arc(member, price, rate, rate)
        return best

    def full(self, market: "Market", *, firm: bool) -> list[Arc]:
        """Offers within the limits that have too few machines free, the cheapest first. firm: also
        those that are no opportunity, only a fallback."""
        found = []
        for member in self.members if firm else self.opportunities:
            view = market.offers[member.index]
            rate = view.rate
            if rate < 0 or market.now < view.quarantined_until:
                continue
            bid = self.bid(member, rate, self.reference)
            if rate <= bid and market.free[member.index] < self.nodes:
                found.append(_arc(member, price_of(rate, member.speed), rate, bid))
        found.sort(key=_dearest_first, reverse=True)
        return found

    def _open(
        self, market: "Market", members: list[Member], reference: Arc | None
    ) -> tuple[list[Arc], int]:
        arcs: list[Arc] = []
        wakes = NEVER
        free, nodes = market.free, self.nodes
        for member in members:
            view = market.offers[member.index]
            rate = view.rate
            if rate < 0:
                continue
            bid = self.bid(member, rate, reference)
            if rate > bid:
                continue
            if free[member.index] < nodes:
                until = view.quarantined_until
                if market.now < until < wakes and view.free(until) >= nodes:
                    wakes = until
                continue
            arcs.append(_arc(member, price_of(rate, member.speed), rate, bid))
        if len(arcs) > 1:
            arcs.sort(key=_dearest_first)
        return arcs, wakes

    def bid(self, member: Member, rate: int, reference: Arc | None) -> int:
        """The most we would pay per machine [nano-USD/h]: its own rate for what the market cannot
        take back, and for spot what the same work costs on demand, both within the limits."""
        if member.offer.tenure is not Tenure.SPOT:
            return rate if rate < member.limit else member.limit
        if reference is not None:
            bid = reference.rate * member.speed // reference.speed
            return bid if bid < member.limit else member.limit
        return member.limit if member.limit < _NO_LIMIT else rate * _BLIND_BID

    def best(self, arcs: list[Arc], free: Sequence[int]) -> Arc | None:
        """The cheapest of `spot` or `fallback` that is still free; what is not is dropped, since
        nothing becomes free again within a plan."""
        nodes = self.nodes
        while arcs:
            arc = arcs[-1]
            if free[arc.index] >= nodes:
                return arc
            arcs.pop()
        return None


def _arc(member: Member, price: int, rate: int, bid: int) -> Arc:
    return Arc(price, member.index, member.offer, rate, bid, member.speed, member.lead)


def _dearest_first(arc: Arc) -> tuple[int, int]:
    return (-arc.price, -arc.index)


class Market:
    """The offers of the present snapshot, and the classes of jobs met so far.

    free: machines of each offer that this plan has not taken yet. stamp: changes whenever a ranking
    may. catalogue: changes whenever the offers themselves do.
    """

    def __init__(self) -> None:
        self.now = 0
        self.offers: tuple[OfferView, ...] = ()
        self.free: list[int] = []
        self.open: list[int] = []
        self.stamp = 0
        self.catalogue = 0
        self._takes = 0
        self._index: dict[OfferId, int] = {}
        self._fits: dict[tuple[object, ...], Fit] = {}
        self._known: dict[int, tuple[Requirement, tuple[object, ...]]] = {}

    def refresh(self, snapshot: Snapshot) -> None:
        """Take over a snapshot's offers."""
        now = self.now = snapshot.now
        offers, old = snapshot.offers, self.offers
        same_views = offers is old
        if not same_views:
            same_views = len(offers) == len(old)
            same_catalogue = same_views
            for view, former in zip(offers, old, strict=False):
                if view is not former:
                    same_views = False
                    if view.offer is not former.offer and view.offer != former.offer:
                        same_catalogue = False
                        break
            if not same_catalogue:
                self.catalogue += 1
                self._index = {view.offer.id: at for at, view in enumerate(offers)}
            self.offers = offers
        free = [view.free(now) for view in offers]
        if self._takes or not same_views or free != self.open:
            self.stamp += 1
            self._takes = 0
        self.open = free
        self.free = free.copy()

    def take(self, arc: Arc, nodes: int) -> None:
        """Reserve machines for this plan."""
        self.free[arc.index] -= nodes
        self._takes += 1

    @property
    def moment(self) -> tuple[int, int]:
        """Changes whenever a rate, a depth or what this plan took does."""
        return self.stamp, self._takes

    def place_of(self, offer: OfferId) -> int | None:
        """Where an offer stands in the snapshot; None where the catalogue does not list it any
        more."""
        return self._index.get(offer)

    def view(self, offer: OfferId) -> OfferView | None:
        """An offer by name; None where the catalogue does not list it any more."""
        at = self._index.get(offer)
        return None if at is None else self.offers[at]

    def fit(self, spec: JobSpec, ceiling: int) -> Fit:
        """The class a job belongs to. ceiling: its cost centre's, per GPU-hour [nano-USD], 0 for
        none."""
        requirement = spec.requirement
        known = self._known.get(id(requirement))
        if known is None or known[0] is not requirement:
            if len(self._known) >= _MEMORY:
                self._known.clear()
            # Keeping the requirement keeps its identity from being given to another.
            known = self._known[id(requirement)] = (requirement, _canonical(requirement))
        key = (known[1], spec.interruptible, spec.max_rate, ceiling)
        fit = self._fits.get(key)
        if fit is None:
            if len(self._fits) >= _MEMORY:
                self._fits.clear()
            fit = self._fits[key] = Fit(spec, ceiling)
        return fit


def _canonical(requirement: Requirement) -> tuple[object, ...]:
    return (
        tuple(sorted(requirement.throughput.items())),
        requirement.gpus,
        requirement.nodes,
        requirement.gpu_memory_gib,
        requirement.providers,
        requirement.regions,
        requirement.tenures,
        requirement.exact,
    )
