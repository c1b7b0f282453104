"""The last gate: a plan is judged job by job against the instance, in integers, by code that shares
nothing with what made it."""

from dataclasses import dataclass

import numpy as np

from treasury.domain.errors import InvariantBroken
from treasury.optimizer.flow.arrays import HOUR_S, SPEED_UNIT, Instance, Ints


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a plan was found to be worth, and what no plan can exceed [micro-USD/h]. moved: running
    jobs moved or stopped. burn: what each cost centre is committed to, all below included."""

    value: int
    bound: int
    moved: int
    burn: Ints

    @property
    def gap(self) -> float:
        """The part of the bound that the plan does not reach; 0 is proven optimal."""
        return 0.0 if self.bound <= 0 else (self.bound - self.value) / self.bound


def certify(instance: Instance, placed: Ints, bound: int) -> Certificate:
    """Judge a plan: the offer of each job, -1 for none. bound: of the best prices, or of a proof.

    Raises InvariantBroken for a plan that breaks a row, and for one worth more than its bound:
    then either is wrong, and nothing may be done on their word.
    """
    jobs, kinds, offers, rules = instance.jobs, instance.kinds, instance.offers, instance.rules
    on = np.flatnonzero(placed >= 0)
    at = placed[on]
    kind = jobs.kind[on]
    _refuse("serves", np.flatnonzero(kinds.speed[kind, at] <= 0), "a job sits where it cannot run")
    machines = kinds.machines[kind, at].astype(np.int64)
    taken = _summed(at, machines, len(offers))
    _within("pool", taken, offers.capacity)
    limited = np.flatnonzero(offers.quota >= 0)
    counted = _summed(offers.quota[limited], (taken * offers.weight)[limited], len(rules.quota))
    _within("quota", counted, rules.quota)
    burn = _burn(instance, jobs.centre[on], offers.committed[at] * machines)
    _within("cost centre", burn, rules.limit)
    grouped = jobs.group[on] >= 0
    zones = int(offers.zone.max(initial=-1)) + 1
    place = jobs.group[on][grouped] * zones + offers.zone[at[grouped]]
    crowd = np.bincount(place, minlength=len(rules.spread) * zones)
    _within("spread", crowd, np.repeat(rules.spread, zones))
    held = jobs.incumbent
    moved = int(((held >= 0) & (held != placed)).sum())
    value = _worth(instance, on, at, machines)
    value -= max(0, moved - rules.churn_limit) * rules.churn_price
    if value > bound:
        raise InvariantBroken(f"a plan worth {value} is above its bound {bound} [micro-USD/h]")
    return Certificate(value, bound, moved, burn)


def _summed(index: Ints, amounts: Ints, size: int) -> Ints:
    """Sums of integers by index, exact where floats would not be."""
    out = np.zeros(size, dtype=np.int64)
    np.add.at(out, index, amounts)
    return out


def _burn(instance: Instance, centre: Ints, burn: Ints) -> Ints:
    """What each cost centre is committed to: what it pays itself, and all centres below it."""
    parent, size = instance.rules.parent, len(instance.rules.limit)
    out = np.zeros(size, dtype=np.int64)
    at, rest = centre, burn
    while len(at):
        known = at >= 0
        at, rest = at[known], rest[known]
        np.add.at(out, at, rest)
        at = parent[at]
    return out


def _worth(instance: Instance, on: Ints, at: Ints, machines: Ints) -> int:
    """The worth of every placed job, as docs/optimizer.md states it [micro-USD/h]."""
    jobs, offers, rules = instance.jobs, instance.offers, instance.rules
    speed = instance.kinds.speed[jobs.kind[on], at].astype(np.int64)
    gross = jobs.value[on] * speed // SPEED_UNIT
    price = offers.rate[at] * machines
    pause = jobs.restart[on] + jobs.interval[on] // 2
    risk = np.minimum(offers.hazard[at] * machines * pause // HOUR_S, min(rules.loss_cap, 10**6))
    million = np.int64(10**6)
    loss = gross // million * risk + -(-(gross % million) * risk // million)
    held = jobs.incumbent[on]
    stop = np.where(held >= 0, pause, jobs.restart[on])
    once = -(-(gross * stop + price * jobs.restart[on]) // rules.residence)
    away = (jobs.home[on] >= 0) & (jobs.home[on] != offers.region[at])
    once += np.where(away, -(-jobs.transfer[on] * HOUR_S // rules.residence), 0)
    worth = gross - loss - price - np.where(held == at, 0, once)
    return int((worth * SPEED_UNIT // speed if rules.by_work else worth).sum())


def _within(what: str, used: Ints, limit: Ints) -> None:
    over = np.flatnonzero(used > limit)
    if len(over):
        first = int(over[0])
        raise InvariantBroken(
            f"{what} {first}: {int(used[first])} used of {int(limit[first])}: no such plan may act"
        )


def _refuse(what: str, found: Ints, message: str) -> None:
    if len(found):
        raise InvariantBroken(f"{what}: {message} (entry {int(found[0])})")
