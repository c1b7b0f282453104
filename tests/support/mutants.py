"""Planted bugs: the daemon with one mistake each, which storms have to find."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import msgspec

from treasury.bus import orders, views
from treasury.domain import events as e
from treasury.domain.commands import Acquire
from treasury.domain.errors import NoCapacity
from treasury.domain.lease import LeaseState
from treasury.engine import core, lifecycle, market, metering, reconcile
from treasury.engine.draft import Draft
from treasury.node.fuse import Fuse
from treasury.runtime.dispatch import Dispatcher
from treasury.runtime.leadership import Leadership
from treasury.runtime.listing import Listing
from treasury_simulations.storm.nodes import Node

Patch = Callable[[Any], None]


class Mutant(NamedTuple):
    """A mistake: how it is made, the faults that bring it out, and the seed to begin with."""

    name: str
    patch: Patch
    faults: tuple[str, ...]
    hours: int = 6
    first: int = 0


def _no_token(to: Any) -> None:
    """A request without a token is repeated after a restart as if it had one."""
    to.setattr(Dispatcher, "_repeatable", lambda self, command: True)


def _time_out_is_failure(to: Any) -> None:
    """No answer is taken for a refusal."""
    to.setattr(
        Dispatcher, "_unknown", lambda self, c, row: self._decline(c, row, NoCapacity("timed out"))
    )


def _rounds_each_slice(to: Any) -> None:
    """Each stretch is rounded up by itself, and the rounded ones are summed."""
    post = metering._post
    to.setattr(
        metering, "_post", lambda draft, lease, amount: post(draft, lease, amount + (amount > 0))
    )


def _no_fuse(to: Any) -> None:
    """A machine goes on for as long as nobody stops it."""
    to.setattr(Fuse, "blown", lambda self, now: False)
    to.setattr(Fuse, "closing", lambda self, now: False)


def _outbox_row_lost(to: Any) -> None:
    """What an earlier process left in the outbox is forgotten, and nobody asks again."""
    to.setattr(Dispatcher, "recover", lambda self, rows: None)
    to.setattr(Listing, "_release_again", lambda self, seen: None)


def _hold_released_early(to: Any) -> None:
    """A machine counts as gone when it is told to go."""
    release = Draft.release

    def early(self: Draft, placement: Any, cause: str) -> None:
        release(self, placement, cause)
        for lease_id in placement.leases:
            lease = self.book.leases.get(lease_id)
            if lease is not None and lease.state is LeaseState.RELEASING:
                lifecycle.finish_lease(self, lease, self.now, lost=False, cause=cause)

    to.setattr(Draft, "release", early)


def _retry_is_changed(to: Any) -> None:
    """A request that is repeated after a restart carries another token."""
    recover = Dispatcher.recover

    def changed(self: Dispatcher, rows: Any) -> None:
        again = []
        for seq, index, approved in rows:
            command = approved.command
            if isinstance(command, Acquire):
                command = msgspec.structs.replace(command, token=command.token[::-1])
            again.append((seq, index, msgspec.structs.replace(approved, command=command)))
        recover(self, again)

    to.setattr(Dispatcher, "recover", changed)


def _stale_leader_acts(to: Any) -> None:
    """A daemon believes that it leads because it once did."""
    to.setattr(Leadership, "holds", lambda self: True)


def _warning_dropped(to: Any) -> None:
    """A machine does not heed the market's warning."""
    to.setattr(Node, "_heed", lambda self, now, until: None)


def _checkpoint_trusted(to: Any) -> None:
    """What a job has done is taken for what it has saved, and not looked up on resuming."""

    def all_done(job: Any, placement: Any, report: Any) -> int:
        useful = max(0, report.elapsed_ns - job.spec.start_overhead)
        base = job.spec.work * report.base_ppm // 1_000_000
        return min(job.spec.work, base + useful)

    to.setattr(views, "work_done", all_done)
    to.setattr(Node, "_durable", lambda self, work: work.work_done_ppm)


def _future_believed(to: Any) -> None:
    """A quote's instant is not looked at."""
    doubt = market._doubt

    def trusting(book: Any, record: Any, quote: Any, now: int) -> str:
        why = doubt(book, record, quote, now)
        return "" if why == "observed in the future" else why

    to.setattr(market, "_doubt", trusting)


def _gang_half_placed(to: Any) -> None:
    """Work starts with the first machine of a gang."""

    def ready(draft: Draft, event: Any) -> None:
        lease = draft.book.leases.get(event.lease)
        if lease is not None and lease.state is LeaseState.GRANTED:
            placement = draft.book.placements[lease.placement]
            placement.ready = len(placement.leases)
        lifecycle.ready(draft, event)

    to.setitem(core._HANDLERS, e.MachineReady, ready)
    # Nor does the bus wait until all of them have an address.
    work = orders._work
    to.setattr(orders, "_work", lambda *of: (replace(work(*of)[0], peers=()), True))


def _one_listing_proves(to: Any) -> None:
    """A machine that one listing leaves out is gone."""

    def missing(draft: Draft, lease: Any, at: int) -> None:
        if lease.state in (LeaseState.GRANTED, LeaseState.READY):
            lifecycle.lost(draft, e.MachineLost(lease.id, at, "ghost"))

    to.setattr(reconcile, "_missing", missing)


def _release_tried_once(to: Any) -> None:
    """A machine that could not be given back is not given back again."""
    to.setattr(Dispatcher, "_current", lambda self, command, known: False)
    to.setattr(Listing, "_release_again", lambda self, seen: None)


def _orphans_ignored(to: Any) -> None:
    """Machines that nobody knows are none of our business."""
    see = reconcile.see_leases

    def known_only(draft: Draft, event: Any) -> None:
        leases = draft.book.leases
        known = tuple(
            item
            for item in event.leases
            if item.lease in leases and leases[item.lease].machine in ("", item.machine)
        )
        see(draft, msgspec.structs.replace(event, leases=known))

    to.setitem(core._HANDLERS, e.SeeLeases, known_only)


def _settled_when_learned(to: Any) -> None:
    """A machine is charged until its end is learned."""
    lost = lifecycle.lost

    def late(draft: Draft, event: Any) -> None:
        lost(draft, msgspec.structs.replace(event, at=draft.now))

    to.setattr(lifecycle, "lost", late)
    to.setitem(core._HANDLERS, e.MachineLost, late)


def _unresolved_unheld(to: Any) -> None:
    """The money of a request without an outcome is free again."""
    unknown = lifecycle.unknown

    def unheld(draft: Draft, event: Any) -> None:
        unknown(draft, event)
        placement = draft.book.placements.get(event.placement)
        for lease_id in () if placement is None else placement.leases:
            lease = draft.book.leases[lease_id]
            if lease.state is LeaseState.UNRESOLVED and lease.holds:
                metering.void_holds(draft, lease)

    to.setitem(core._HANDLERS, e.AcquireUnknown, unheld)


def _acknowledged_before_commit(to: Any) -> None:
    """A submission is answered before it is committed."""
    from treasury.runtime.agent import Agent

    submit = Agent.submit

    async def hasty(self: Agent, *inputs: Any) -> Any:
        if isinstance(inputs[0], e.SubmitJob):
            self._inbox.put(inputs, partial(int))
            return None
        return await submit(self, *inputs)

    to.setattr(Agent, "submit", hasty)


MUTANTS = (
    Mutant("no client token", _no_token, ("killed_after_call", "listing_lags"), first=2),
    Mutant("a time-out taken for failure", _time_out_is_failure, ("late_answer",)),
    Mutant("summed rounding", _rounds_each_slice, ()),
    Mutant("no fuse", _no_fuse, ("all_dead",), 10, first=1),
    Mutant(
        "an outbox row lost", _outbox_row_lost, ("killed_before_call", "killed_after_call"), first=2
    ),
    Mutant("hold released before the machine is gone", _hold_released_early, ("slow_shutdown",)),
    Mutant(
        "a retry with a changed request",
        _retry_is_changed,
        ("killed_after_call", "listing_lags"),
        first=3,
    ),
    Mutant("a stale leader acts", _stale_leader_acts, ("paused", "release_fails"), 12, first=2),
    Mutant("an interruption notice dropped", _warning_dropped, ("pool_taken", "notice_lost")),
    Mutant("a checkpoint trusted without verification", _checkpoint_trusted, ("pool_taken",)),
    Mutant("a quote from the future accepted", _future_believed, ("bad_quotes",)),
    Mutant("a gang half placed", _gang_half_placed, ("message_late",)),
    Mutant("one listing proves a death", _one_listing_proves, ("listing_flickers",)),
    Mutant("a release tried once", _release_tried_once, ("release_fails",)),
    Mutant("orphans ignored", _orphans_ignored, ("human_launch", "twin_machine")),
    Mutant("settled when the end is learned", _settled_when_learned, ("pool_taken",)),
    Mutant("an unresolved request unheld", _unresolved_unheld, ("late_answer",)),
    Mutant("acknowledged before the commit", _acknowledged_before_commit, ("killed", "store_down")),
)
