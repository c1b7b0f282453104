"""What a strategy remembers of proposals that came to nothing.

The snapshot does not say why the guard refused: pacing, windows, allowed markets and caps are its
business. But a job that was to be placed and stands in the next snapshot exactly as before was
refused. Its offer is left to others for a while, so that jobs nobody will pay for do not keep those
behind them from machines.
"""

from typing import Final

import msgspec

from treasury.domain.ids import JobId, OfferId
from treasury.domain.job import JobState
from treasury.domain.plan import JobView, Snapshot
from treasury.domain.time import DAY, MINUTE

# How long an offer that was refused to a job is not proposed to it again.
RETRY: Final = 10 * MINUTE
# A switch gives up a machine before the new one is admitted: an offer refused within a day is not
# worth it.
_GRUDGE: Final = DAY


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An offer that was refused to a job at an instant [ns]."""

    at: int

    @property
    def until(self) -> int:
        """When it may be proposed again [ns]."""
        return self.at + RETRY


class Refusals:
    """Which offers were refused to which jobs lately."""

    def __init__(self) -> None:
        self._version = -1
        self._proposed: dict[JobId, tuple[JobView, OfferId]] = {}
        self._refused: dict[JobId, dict[OfferId, Refused]] = {}

    def learn(self, snapshot: Snapshot) -> None:
        """Compare what was proposed for the last snapshot with a newer one."""
        if snapshot.version == self._version:
            return
        if self._proposed:
            for view in snapshot.jobs:
                proposed = self._proposed.get(view.spec.id)
                if (
                    proposed is not None
                    and view.state is JobState.QUEUED
                    and (view is proposed[0] or view == proposed[0])
                ):
                    refused = self._refused.setdefault(view.spec.id, {})
                    refused[proposed[1]] = Refused(snapshot.now)
            self._proposed.clear()
        if len(self._refused) > 2 * len(snapshot.jobs):
            alive = {view.spec.id for view in snapshot.jobs}
            self._refused = {job: of for job, of in self._refused.items() if job in alive}
        self._version = snapshot.version

    def propose(self, view: JobView, offer: OfferId) -> None:
        """Remember that a queued job was to be placed on an offer."""
        self._proposed[view.spec.id] = (view, offer)

    def of(self, job: JobId) -> dict[OfferId, Refused] | None:
        """The offers refused to a job, if any ever was."""
        return self._refused.get(job) if self._refused else None

    def bears_grudge(self, job: JobId, offer: OfferId, now: int) -> bool:
        """Whether an offer was refused to a job so lately that giving up a machine for it is
        unwise."""
        refused = self.of(job)
        return refused is not None and offer in refused and now < refused[offer].at + _GRUDGE
