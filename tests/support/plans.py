"""Strategies for tests: what they answer is said beforehand."""

from collections.abc import Callable
from typing import Any

from treasury.domain.plan import Place, Plan, Snapshot


class Scripted:
    """Answers with what a function makes of the snapshot; counts how often it was asked."""

    name = "scripted"

    def __init__(self, answer: Callable[[Snapshot], Any]) -> None:
        self.answer = answer
        self.asked: list[Snapshot] = []

    def propose(self, snapshot: Snapshot) -> Plan:
        self.asked.append(snapshot)
        answer: Plan = self.answer(snapshot)
        return answer


def cheapest(snapshot: Snapshot) -> Plan:
    """Every queued job on the cheapest offer that fits and has room; looks again every hour."""
    actions: list[Any] = []
    offers = sorted(snapshot.offers, key=lambda view: (view.rate, view.offer.id))
    taken = dict.fromkeys(snapshot.offers, 0)
    for view in snapshot.jobs:
        if view.state.value != "queued":
            continue
        for offer in offers:
            nodes = view.spec.requirement.nodes
            if view.spec.requirement.speed(offer.offer) <= 0:
                continue
            if offer.free(snapshot.now) - taken[offer] >= nodes:
                taken[offer] += nodes
                actions.append(Place(view.spec.id, offer.offer.id, 2 * offer.rate))
                break
    return Plan(snapshot.version, tuple(actions), (), snapshot.now + 3_600 * 10**9)


__all__ = ["Scripted", "cheapest"]
