"""Who goes first where capacity is short: jobs of one priority by what an hour is worth to them."""

from collections.abc import Callable, Iterable

from treasury.domain.job import JobState
from treasury.domain.plan import JobView, OfferView


def is_short(jobs: Iterable[JobView], spot: Iterable[OfferView], now: int) -> bool:
    """Whether the queued jobs that have a deadline might want more spot machines than are free."""
    wanted = sum(view.spec.requirement.nodes for view in jobs if _competes(view))
    return wanted > sum(view.free(now) for view in spot)


def by_value(jobs: tuple[JobView, ...], value: Callable[[JobView], float]) -> tuple[JobView, ...]:
    """The jobs in queue order, but queued ones with a deadline in order of value among those of
    their own priority: each place in the queue that such a job held is held by such a job again."""
    places: dict[int, list[int]] = {}
    for at, view in enumerate(jobs):
        if _competes(view):
            places.setdefault(view.spec.priority, []).append(at)
    ordered = list(jobs)
    for held in places.values():
        ranked = sorted(held, key=lambda at: (-value(jobs[at]), at))
        for place, at in zip(held, ranked, strict=True):
            ordered[place] = jobs[at]
    return tuple(ordered)


def _competes(view: JobView) -> bool:
    return view.state is JobState.QUEUED and view.spec.deadline is not None
