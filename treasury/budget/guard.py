"""The guard: the only maker of `Approved`.

Every command passes here, operators' included. What spends is judged by every policy at every
level of the cost centre's tree; what only stops spending is let through.
"""

from collections.abc import Sequence

from treasury.budget.levels import Level, SpendRequest
from treasury.budget.policies import (
    REBID_POLICIES,
    RENEWAL_POLICIES,
    START_POLICIES,
    Policy,
)
from treasury.domain.budget import Mode
from treasury.domain.commands import Acquire, ChangeBid, Release, StartWork, StopWork
from treasury.domain.money import format_rate
from treasury.domain.plan import Approved, Refused, Why

_ENFORCE = Mode.ENFORCE


def _judge(
    request: SpendRequest, levels: Sequence[Level], policies: tuple[Policy, ...]
) -> tuple[Refused | None, tuple[Refused, ...]]:
    """The first refusal by a budget that enforces, and what the others would have refused."""
    tolerated: list[Refused] = []
    for policy in policies:
        for level in levels:
            refusal = policy(level, request)
            if refusal is None:
                continue
            if level.budget.mode is _ENFORCE:
                return refusal, tuple(tolerated)
            tolerated.append(refusal)
    return None, tuple(tolerated)


def clamp_bid(request: SpendRequest, levels: Sequence[Level]) -> int:
    """The bid [nano-USD/h per machine] cut to every ceiling above the job and its own limit."""
    bid = request.bid
    gpus = request.offer.shape.gpus
    for level in levels:
        if level.budget.ceiling and level.budget.mode is _ENFORCE:
            bid = min(bid, level.budget.ceiling * gpus)
    if request.spec.max_rate:
        bid = min(bid, request.spec.max_rate)
    return bid


def admit(
    request: SpendRequest, levels: Sequence[Level], command: Acquire | ChangeBid
) -> tuple[Approved | Refused, tuple[Refused, ...]]:
    """Judge a command that spends. `levels` holds the job's cost centre and all above it.

    Beside the verdict: what budgets that only observe or recommend would have refused.
    """
    if request.rate > request.bid:
        too_dear = Refused(
            job=request.spec.id,
            why=Why.TOO_DEAR,
            message=f"{request.offer.id} costs {format_rate(request.rate)}, "
            f"more than the {format_rate(request.bid)} we would pay",
            asked=request.amount,
        )
        return too_dear, ()
    if request.replaces >= request.bid:
        # A lower bid frees money: nobody need agree.
        return Approved(command), ()
    policies = REBID_POLICIES if request.replaces else START_POLICIES
    refusal, tolerated = _judge(request, levels, policies)
    return refusal or Approved(command), tolerated


def renew(request: SpendRequest, levels: Sequence[Level]) -> Refused | None:
    """Judge the next hold of a machine that runs. None lets it run on."""
    return _judge(request, levels, RENEWAL_POLICIES)[0]


def stop(command: Release | StopWork) -> Approved:
    """Let through what only stops spending."""
    return Approved(command)


def start(command: StartWork) -> Approved:
    """Let work start on machines whose hold was admitted."""
    return Approved(command)
