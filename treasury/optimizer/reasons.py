"""Why a job is not placed, in words with numbers: the nearest offer, its rate, what was missing."""

from collections.abc import Sequence

import msgspec

from treasury.domain.ids import OfferId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.market import Offer, Tenure
from treasury.domain.money import format_rate
from treasury.domain.plan import LeftOut, OfferView, Why
from treasury.domain.time import format_instant
from treasury.optimizer.market import Fit, Market, Member, price_of


class Shortage(msgspec.Struct, frozen=True, gc=False):
    """Why no offer can serve a class of jobs now, and the offer that comes nearest."""

    why: Why
    detail: str
    offer: OfferId | None = None

    def left_out(self, spec: JobSpec) -> LeftOut:
        """The same, said of one job."""
        return LeftOut(spec.id, self.why, self.detail, self.offer)


# What stands between a job and an offer, the least first.
_NEARNESS = (
    Why.OUTRANKED,
    Why.NO_CAPACITY,
    Why.QUARANTINED,
    Why.TOO_DEAR,
    Why.CEILING,
    Why.STALE,
)


def shortage(market: Market, fit: Fit, *, spot_only: bool) -> Shortage:
    """Why nothing (or nothing worth taking at once) is open to a class: of all offers that fit, the
    one with the least in its way, the cheapest first. Remembered until the market changes."""
    fit.refresh(market)
    memory = fit.shortages
    known = memory.get(spot_only)
    if known is None or known[0] != market.moment:
        known = memory[spot_only] = (market.moment, _shortage(market, fit, spot_only))
    return known[1]


def _shortage(market: Market, fit: Fit, spot_only: bool) -> Shortage:
    members = fit.opportunities if spot_only else fit.members
    if not members:
        return no_fit(market.offers, fit)
    best: tuple[int, int, int] | None = None
    found: Shortage | None = None
    for member in members:
        blocked = _blocked(market, fit, member)
        if blocked is None:
            continue
        rate = market.offers[member.index].rate
        key = (_NEARNESS.index(blocked.why), price_of(rate, member.speed), member.index)
        if best is None or key < best:
            best, found = key, blocked
    if found is None:
        return Shortage(Why.NO_CAPACITY, "every offer that fits is free: nothing is in the way")
    return found


def _blocked(market: Market, fit: Fit, member: Member) -> Shortage | None:
    view, offer, nodes = market.offers[member.index], member.offer, fit.nodes
    rate = view.rate
    if rate < 0:
        return Shortage(Why.STALE, f"{offer.id} fits but has no price yet", offer.id)
    price = format_rate(rate)
    bid = fit.bid(member, rate, fit.reference)
    if rate > bid:
        return _too_dear(fit, member, f"{offer.id} costs {price}", bid)
    if market.now < view.quarantined_until:
        return Shortage(
            Why.QUARANTINED,
            f"{offer.id} at {price} refused lately and is left alone until "
            f"{format_instant(view.quarantined_until)}",
            offer.id,
        )
    free, open_ = market.free[member.index], market.open[member.index]
    if free >= nodes:
        return None
    have = f"{offer.id} at {price} has {free} of {nodes} machines free"
    if open_ >= nodes:
        return Shortage(
            Why.OUTRANKED, f"{have}: {open_ - free} went to jobs ahead in the queue", offer.id
        )
    return Shortage(Why.NO_CAPACITY, f"{have} ({view.in_use} of {view.depth} are ours)", offer.id)


def _too_dear(fit: Fit, member: Member, costs: str, bid: int) -> Shortage:
    offer = member.offer
    text = f"{costs}, more than {format_rate(bid)}"
    reference = fit.reference
    if bid < member.limit and reference is not None:
        return Shortage(
            Why.TOO_DEAR, f"{text}, for which {reference.id} does the same work on demand", offer.id
        )
    if member.limit == fit.max_rate:
        return Shortage(Why.TOO_DEAR, f"{text}, the job's own limit", offer.id)
    gpus = offer.shape.gpus
    return Shortage(
        Why.CEILING, f"{text}, its cost centre's ceiling for a machine of {gpus} GPUs", offer.id
    )


def no_fit(views: Sequence[OfferView], fit: Fit) -> Shortage:
    """Why no offer fits at all: the offer that fails the fewest demands, and which."""
    if not views:
        return Shortage(Why.NO_FIT, "no provider lists an offer")
    best: tuple[int, int] | None = None
    nearest, lacks = views[0].offer, [""]
    for index, view in enumerate(views):
        missing = _missing(fit.requirement, view.offer)
        if not fit.interruptible and view.offer.tenure is Tenure.SPOT:
            missing.append("it is spot, and the job may not be interrupted")
        if best is None or (len(missing), index) < best:
            best, nearest, lacks = (len(missing), index), view.offer, missing
    return Shortage(
        Why.NO_FIT,
        f"none of {len(views)} offers fits; nearest is {nearest.id}, but {', and '.join(lacks)}",
        nearest.id,
    )


def _missing(need: Requirement, offer: Offer) -> list[str]:
    shape, lacks = offer.shape, []
    if need.throughput.get(shape.gpu, 0) <= 0:
        wanted = ", ".join(sorted(gpu for gpu, speed in need.throughput.items() if speed > 0))
        lacks.append(f"its {shape.gpu} is not among {wanted or 'no accelerators at all'}")
    if shape.gpus < need.gpus:
        lacks.append(f"it has {shape.gpus} of {need.gpus} GPUs")
    elif need.exact and shape.gpus != need.gpus:
        lacks.append(f"it has {shape.gpus} GPUs where exactly {need.gpus} are asked for")
    if need.gpu_memory_gib and shape.gpu_memory_gib < need.gpu_memory_gib:
        lacks.append(f"its GPUs have {shape.gpu_memory_gib} of {need.gpu_memory_gib} GiB")
    if need.providers and offer.provider not in need.providers:
        lacks.append(f"its provider is not {' or '.join(need.providers)}")
    if need.regions and offer.region not in need.regions:
        lacks.append(f"its region {offer.region or '(none)'} is not {' or '.join(need.regions)}")
    if need.tenures and offer.tenure.value not in need.tenures:
        lacks.append(f"its tenure is not {' or '.join(need.tenures)}")
    if need.nodes > offer.capabilities.gang_max:
        most = offer.capabilities.gang_max
        lacks.append(f"it grants {most} machines at once, not {need.nodes}")
    return lacks
