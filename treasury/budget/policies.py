"""Policies: each looks at one level and one request and refuses with figures, or stays silent."""

from collections.abc import Callable

from treasury.budget.levels import Level, SpendRequest
from treasury.budget.periods import day_bounds
from treasury.domain.money import format_money, format_rate
from treasury.domain.plan import Refused, Why
from treasury.domain.time import DAY, HOUR, NEVER, format_instant

_FIRST_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday, day 3 of a week that starts on Monday

Policy = Callable[[Level, SpendRequest], Refused | None]


def _refuse(
    level: Level, request: SpendRequest, why: Why, text: str, fits_at: int | None = None
) -> Refused:
    budget = level.budget
    when = "" if fits_at is None or fits_at >= NEVER else f"; it fits at {format_instant(fits_at)}"
    return Refused(
        job=request.spec.id,
        why=why,
        message=f"{budget.cost_centre}: {text}{when}",
        cost_centre=budget.cost_centre,
        limit=level.limit,
        held=level.held,
        spent=level.spent,
        asked=request.amount,
        fits_at=fits_at if fits_at is not None and fits_at < NEVER else None,
    )


def frozen(level: Level, request: SpendRequest) -> Refused | None:
    """A frozen budget takes no new machines; what runs is paid for."""
    if level.frozen:
        return _refuse(level, request, Why.FROZEN, "frozen: it takes no new machines")
    return None


def approval(level: Level, request: SpendRequest) -> Refused | None:
    """A dear job waits until a person has said yes."""
    above = level.budget.approve_above
    if above and not request.approved and request.estimate > above:
        return _refuse(
            level,
            request,
            Why.APPROVAL,
            f"expected to cost {format_money(request.estimate)}, more than "
            f"{format_money(above)}: waits for approval",
        )
    return None


def allowed_markets(level: Level, request: SpendRequest) -> Refused | None:
    """Only the providers, regions and tenures the budget names, if it names any."""
    budget, offer = level.budget, request.offer
    if budget.providers and offer.provider not in budget.providers:
        return _refuse(
            level,
            request,
            Why.NOT_ALLOWED,
            f"provider {offer.provider} is not among {', '.join(budget.providers)}",
        )
    if budget.regions and offer.region not in budget.regions:
        return _refuse(
            level,
            request,
            Why.NOT_ALLOWED,
            f"region {offer.region} is not among {', '.join(budget.regions)}",
        )
    if budget.tenures and offer.tenure.value not in budget.tenures:
        return _refuse(
            level,
            request,
            Why.NOT_ALLOWED,
            f"tenure {offer.tenure.value} is not among {', '.join(budget.tenures)}",
        )
    return None


def price_ceiling(level: Level, request: SpendRequest) -> Refused | None:
    """No more than the ceiling per GPU-hour."""
    ceiling = level.budget.ceiling
    if ceiling and request.rate > ceiling * request.offer.shape.gpus:
        return _refuse(
            level,
            request,
            Why.CEILING,
            f"{format_rate(request.rate // request.offer.shape.gpus)} per GPU is above the "
            f"ceiling of {format_rate(ceiling)}",
        )
    return None


def time_window(level: Level, request: SpendRequest) -> Refused | None:
    """New machines only within the allowed hours of the week."""
    windows = level.budget.windows
    if not windows:
        return None
    for hours_ahead in range(7 * 24 + 1):
        instant = request.now if hours_ahead == 0 else (request.now // HOUR + hours_ahead) * HOUR
        day = (instant // DAY + _FIRST_MONDAY_OFFSET) % 7
        hour = instant % DAY // HOUR
        if any(day in w.days and w.start_hour <= hour < w.end_hour for w in windows):
            if hours_ahead == 0:
                return None
            return _refuse(level, request, Why.WINDOW, "outside its allowed hours", instant)
    return _refuse(level, request, Why.WINDOW, "its allowed hours are empty")


def job_cap(level: Level, request: SpendRequest) -> Refused | None:
    """No job may cost more than the cap."""
    cap = level.budget.job_cap
    if cap and request.job_spent + request.amount > cap:
        return _refuse(
            level,
            request,
            Why.BUDGET,
            f"the job has cost or holds {format_money(request.job_spent)} and asks for "
            f"{format_money(request.amount)} more, above the cap of {format_money(cap)} a job",
        )
    return None


def burn_cap(level: Level, request: SpendRequest) -> Refused | None:
    """All machines together may not cost more an hour than the cap."""
    cap = level.budget.burn_cap
    asked = (request.bid - request.replaces) * request.machines
    if cap and level.burn + asked > cap:
        return _refuse(
            level,
            request,
            Why.PACING,
            f"burns {format_rate(level.burn)} and would burn {format_rate(asked)} more, "
            f"above {format_rate(cap)}",
        )
    return None


def day_cap(level: Level, request: SpendRequest) -> Refused | None:
    """No day may cost more than the cap."""
    cap = level.budget.day_cap
    wanted = level.spent_today + level.held + request.amount
    if cap and wanted > cap:
        return _refuse(
            level,
            request,
            Why.PACING,
            f"today's spending and holds would be {format_money(wanted)}, above the cap of "
            f"{format_money(cap)} a day",
            day_bounds(level.budget, request.now)[1],
        )
    return None


def pacing(level: Level, request: SpendRequest) -> Refused | None:
    """Spending may run ahead of the calendar only by the allowed front-loading."""
    budget = level.budget
    if not budget.front_load or level.end >= NEVER or level.limit <= 0:
        return None
    length = level.end - level.start
    elapsed = request.now - level.start
    allowed = level.limit * (elapsed * 1_000 + budget.front_load * length) // (length * 1_000)
    wanted = level.spent + level.held + request.amount
    if wanted <= min(allowed, level.limit):
        return None
    # The instant at which the line reaches what is wanted; never within this period if above it.
    share = -(-wanted * length // level.limit) - budget.front_load * length // 1_000
    fits_at = level.start + share if wanted <= level.limit else level.end
    return _refuse(
        level,
        request,
        Why.PACING,
        f"spent and held would be {format_money(wanted)}, ahead of the "
        f"{format_money(min(allowed, level.limit))} this part of the period allows",
        fits_at,
    )


def reserve(level: Level, request: SpendRequest) -> Refused | None:
    """The last part of a budget is kept for jobs of high priority."""
    budget = level.budget
    if not budget.reserve or request.spec.priority >= budget.reserve_priority:
        return None
    if level.available - request.amount < budget.reserve:
        return _refuse(
            level,
            request,
            Why.RESERVE,
            f"only {format_money(max(0, level.available - budget.reserve))} is left for "
            f"priorities below {budget.reserve_priority}",
            level.end,
        )
    return None


def hard_limit(level: Level, request: SpendRequest) -> Refused | None:
    """What is neither spent nor held must cover what is asked."""
    if request.amount > level.available + level.lendable:
        return _refuse(
            level,
            request,
            Why.BUDGET,
            f"{format_money(request.amount)} asked, {format_money(level.available)} available "
            f"(limit {format_money(level.limit)}, spent {format_money(level.spent)}, "
            f"held {format_money(level.held)})",
            level.end,
        )
    return None


# The order in which refusals are reported: what can never fit first, money last.
START_POLICIES: tuple[Policy, ...] = (
    frozen,
    allowed_markets,
    price_ceiling,
    time_window,
    approval,
    job_cap,
    burn_cap,
    day_cap,
    pacing,
    reserve,
    hard_limit,
)
# A higher bid for machines that run: their hours and markets were judged when they were taken.
REBID_POLICIES: tuple[Policy, ...] = (
    frozen,
    price_ceiling,
    job_cap,
    burn_cap,
    day_cap,
    pacing,
    reserve,
    hard_limit,
)
# A machine that runs already only has to be paid for: hours, pacing and reserve ruled its start.
RENEWAL_POLICIES: tuple[Policy, ...] = (job_cap, hard_limit)
