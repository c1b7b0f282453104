"""On-demand at once: what a team without spot machines pays. The yardstick of every comparison."""

import msgspec

from treasury.domain.plan import JobView, PlacementView
from treasury.optimizer.deadline import Fallback, in_time
from treasury.optimizer.market import Arc
from treasury_strategies.patient import fastest
from treasury_strategies.queue import Entry, QueueStrategy, Walk


class OnDemandSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""


class OnDemand(QueueStrategy):
    """Places each job at once on the cheapest machines the market cannot take back, and leaves it
    there. With a deadline: the cheapest that still make it, the fastest if none do."""

    name = "on_demand"
    Settings = OnDemandSettings

    def __init__(self, settings: OnDemandSettings | None = None) -> None:
        super().__init__()
        self.settings = settings if settings is not None else OnDemandSettings()

    def queued(self, walk: Walk, view: JobView, entry: Entry) -> Arc | None:
        """The cheapest open on-demand, reserved or owned offer."""
        fit, spec = entry.fit, view.spec
        if spec.deadline is None:
            return self.best(entry, fit.fallback)
        left = spec.work - view.work_done
        open_ = self.open(entry, fit.fallback)
        for arc in open_:
            back = Fallback(arc.speed, spec.start_overhead + arc.lead)
            if in_time(walk.now, left, spec.deadline, back, walk.tick):
                return arc
        return fastest(open_)

    def placed(
        self, walk: Walk, view: JobView, entry: Entry, placement: PlacementView
    ) -> Arc | None:
        """Never moves a job."""
        del walk, view, entry, placement
        return None
