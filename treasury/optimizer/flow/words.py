"""The reasons of a plan in words, with the names and figures of the snapshot it was made for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from treasury.domain.ids import JobId, OfferId
from treasury.domain.money import format_money, format_rate
from treasury.optimizer.flow.arrays import SPEED_UNIT
from treasury.optimizer.flow.engine import FlowPlan
from treasury.optimizer.flow.explain import (
    Binding,
    Cost,
    Explanation,
    Option,
    Reasons,
    Row,
    bindings,
)
from treasury.optimizer.flow.picture import Picture
from treasury.optimizer.reasons import shortage

_MICRO: Final = 1_000
# More names than these do not make a reason clearer.
_NAMES: Final = 4
# Jobs that one budget could place are counted up to here.
_COUNTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Weighed:
    """An offer as a job sees it. rate, bid: nano-USD/h per machine; bid: at which the job would do
    as well elsewhere or not at all. worth, left: of an hour of work [micro-USD], before and after
    paying for what is scarce; scarce: that, by name."""

    offer: OfferId
    rate: int
    worth: int
    scarce: tuple[tuple[str, int], ...]
    left: int
    bid: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is to be where it is to be. now, then: its offer, None while it waits."""

    job: JobId
    now: OfferId | None
    then: OfferId | None
    text: str
    offers: tuple[Weighed, ...] = ()


@dataclass(frozen=True, slots=True)
class Scarcity:
    """A row that is worth something. price: of a budget by the dollar, of a pool by the machine
    [micro-USD per hour of work]. money, jobs: how much more would place which."""

    kind: str
    name: str
    used: int
    limit: int
    price: float
    text: str
    money: int = 0
    jobs: tuple[JobId, ...] = ()


class Words:
    """The words of one plan for one picture."""

    def __init__(self, picture: Picture, plan: FlowPlan) -> None:
        self.picture, self.plan = picture, plan
        self._reasons = Reasons(plan)
        self._number = {view.spec.id: at for at, view in enumerate(picture.jobs)}

    def reason(self, job: JobId, options: int = 2) -> Reason | None:
        """Why one job is where it is; None for one the snapshot does not hold. options: how many
        offers are shown, the job's own first, then the best."""
        number = self._number.get(job)
        if number is None:
            return self._fixed(job)
        told = self._reasons.explain(number, max(2, options))
        view = self.picture.jobs[number]
        now = None if view.placement is None else view.placement.offer
        then = None if told.placed < 0 else self._offer(told.placed)
        offers = tuple(self._weighed(option) for option in told.options[:options])
        text = self._waits(number, told) if then is None else self._placed(now, told)
        return Reason(job, now, then, text, offers)

    def reasons(self, options: int = 2) -> tuple[Reason, ...]:
        """Every job of the snapshot, in queue order."""
        found = (self.reason(view.spec.id, options) for view in self.picture.snapshot.jobs)
        return tuple(reason for reason in found if reason is not None)

    def scarce(self) -> tuple[Scarcity, ...]:
        """What binds, budgets first, the dearest first."""
        rows = sorted(bindings(self.plan), key=lambda row: row.row is not Row.CENTRE)
        return tuple(self._scarcity(row) for row in rows)

    @property
    def burn(self) -> int:
        """What all machines of the plan cost an hour [micro-USD]."""
        plan = self.plan
        used = np.flatnonzero(plan.counts)
        rate = plan.flow.instance.offers.rate[plan.flow.offer[used]]
        return int((rate * plan.flow.units[used] * plan.counts[used]).sum())

    # --- jobs ------------------------------------------------------------------------------------

    def _fixed(self, job: JobId) -> Reason | None:
        why = self.picture.fixed.get(job)
        if why is None:
            return None
        view = next(view for view in self.picture.snapshot.jobs if view.spec.id == job)
        now = None if view.placement is None else view.placement.offer
        return Reason(job, now, now, f"stays as it is: {why}")

    def _placed(self, now: OfferId | None, told: Explanation) -> str:
        first = told.options[0]
        name = self._offer(first.offer)
        verb = "stays on" if now == name else "takes" if now is None else f"leaves {now} for"
        text = (
            f"{verb} {name} at {self._rate(first.offer)}: worth {_hourly(first.net)} after its "
            f"price{self._paying(first)}"
        )
        if len(told.options) > 1:
            second = told.options[1]
            text += f"; next is {self._offer(second.offer)} at {self._rate(second.offer)}"
            text += f", worth {_hourly(second.net)}{self._paying(second)}"
        else:
            text += "; nothing else would do"
        return f"{text}; it would pay up to {format_rate(first.bid * _MICRO)} a machine"

    def _paying(self, option: Option) -> str:
        if not option.costs:
            return ""
        parts = " and ".join(f"{format_money(c.amount)} for {self._row(c)}" for c in option.costs)
        return f", {format_money(option.left)} after {parts}"

    def _waits(self, number: int, told: Explanation) -> str:
        view = self.picture.jobs[number]
        verb = "waits" if view.placement is None else f"is stopped on {view.placement.offer}"
        if not told.options:
            return f"{verb}: {self._closed(number)}"
        first = told.options[0]
        would = f"{self._offer(first.offer)} at {self._rate(first.offer)} would gain "
        would += _hourly(first.net)
        if told.indivisible:
            nodes = view.spec.requirement.nodes
            return f"{verb}: {would}, but no room for {nodes} at once is left, in machines or money"
        if told.blocker is None:
            return f"{verb}: {would}, and nothing gains more"
        return f"{verb}: {would}, but {self._lost_to(told.blocker, number)}"

    def _lost_to(self, cost: Cost, number: int) -> str:
        if cost.row is Row.CENTRE:
            name = self.picture.centres[cost.index]
            return (
                f"what it takes of {name} gains {format_money(cost.amount)} with "
                f"{self._rivals(number, centre=cost.index)}: {_dollar(name, cost.price)}"
            )
        if cost.row is Row.POOL:
            return (
                f"the machines gain {format_money(cost.amount)} with "
                f"{self._rivals(number, offer=cost.index)}: one is worth "
                f"{_hourly(round(cost.price))}"
            )
        return f"{self._row(cost)} is worth {_hourly(cost.amount)} to others"

    def _rivals(self, number: int, offer: int = -1, centre: int = -1) -> str:
        """Who has what a job would need, those with the most first."""
        plan, flow = self.plan, self.plan.flow
        on = np.flatnonzero(plan.placed >= 0)
        if offer >= 0:
            on = on[plan.placed[on] == offer]
        else:
            mine = flow.instance.jobs.centre[on]
            above = np.append(flow.rows.above, np.full((1, flow.rows.above.shape[1]), -1), axis=0)
            on = on[(above[mine] == centre).any(axis=1)]
        kind = flow.instance.jobs.kind[on]
        machines = flow.instance.kinds.machines[kind, plan.placed[on]]
        burn = machines * flow.rows.committed[plan.placed[on]]
        ranked = on[np.argsort(-burn, kind="stable")]
        return _names([self.picture.jobs[at].spec.id for at in ranked.tolist() if at != number])

    def _closed(self, number: int) -> str:
        """Why a job has no offer that pays at all."""
        flow, picture = self.plan.flow, self.picture
        instance, fit = flow.instance, picture.fits[number]
        kind = int(instance.jobs.kind[number])
        open_ = np.flatnonzero(
            (instance.kinds.speed[kind] > 0) & (instance.offers.capacity >= fit.nodes)
        )
        if not len(open_):
            waits = bool(fit.fallback) and not (instance.kinds.speed[kind] > 0).all()
            lack = shortage(picture.market, fit, spot_only=waits)
            return lack.detail
        burn = flow.rows.committed[open_] * fit.nodes
        at = int(open_[np.argmin(burn)])
        centre = int(instance.jobs.centre[number])
        if centre >= 0:
            levels = flow.rows.above[centre]
            least = min((int(flow.rows.limit[i]), int(i)) for i in levels if i >= 0)
            if least[0] < int(burn.min()):
                need, have = picture.money(int(burn.min())), picture.money(least[0])
                return (
                    f"{self._offer(at)} needs {format_money(need)} held, and "
                    f"{picture.centres[least[1]]} has {format_money(have)}: "
                    f"{format_money(need - have)} more would do"
                )
        speed = instance.kinds.speed[kind, open_]
        price = instance.offers.rate[open_] * fit.nodes * SPEED_UNIT // speed
        at = int(np.argmin(price))
        value = int(instance.jobs.value[number])
        name = self._offer(int(open_[at]))
        return (
            f"an hour of its work is worth {format_money(value)} and costs "
            f"{format_money(int(price[at]))} at {name}, starts and interruptions not counted"
        )

    def _weighed(self, option: Option) -> Weighed:
        view = self.picture.offers[option.offer]
        scarce = tuple((self._row(cost), cost.amount) for cost in option.costs)
        return Weighed(
            view.offer.id, view.rate, option.net, scarce, option.left, option.bid * _MICRO
        )

    # --- rows ------------------------------------------------------------------------------------

    def _scarcity(self, row: Binding) -> Scarcity:
        picture = self.picture
        if row.row is Row.CENTRE:
            name = str(picture.centres[row.index])
            jobs, more = self._reasons.would_place(row.index, _COUNTED)
            text = _dollar(name, row.price)
            money = picture.money(max(0, more - (row.limit - row.used)))
            names = tuple(picture.jobs[at].spec.id for at in jobs)
            if jobs:
                these = "this job" if len(jobs) == 1 else f"these {len(jobs)} jobs"
                text += f": {format_money(money)} more would place {these}: {_names(names)}"
            used, limit = picture.money(row.used), picture.money(row.limit)
            return Scarcity("budget", name, used, limit, row.price, text, money, names)
        name = self._row(Cost(row.row, row.index, 0, row.price))
        text = f"one more of {name} is worth {_hourly(round(row.price))}"
        return Scarcity(row.row.value, name, row.used, row.limit, row.price, text)

    def _row(self, cost: Cost) -> str:
        if cost.row is Row.POOL:
            return self._offer(cost.index)
        if cost.row is Row.CENTRE:
            return f"budget {self.picture.centres[cost.index]}"
        return f"{cost.row.value} {cost.index}"

    def _offer(self, number: int) -> OfferId:
        return self.picture.offers[number].offer.id

    def _rate(self, number: int) -> str:
        return format_rate(max(0, self.picture.offers[number].rate))


def _hourly(micros: int) -> str:
    return f"{format_money(micros)} an hour of work"


def _dollar(name: str, price: float) -> str:
    return f"budget {name} is worth {price:.2f} $/$ at the margin"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    shown = ", ".join(names[:_NAMES]) or "nobody"
    return f"{shown} and {more} more" if more > 0 else shown
