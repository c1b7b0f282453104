"""`treasury explain JOB`: why it waited, where it ran, what it cost, and what would place it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.cli.output import TABLE, emit, output_option

if TYPE_CHECKING:
    from treasury.cli.story import Market, Stay, Story
    from treasury.domain.job import JobSpec
    from treasury.domain.market import Offer

Rows = list[list[object]]
# Offers shown to a job that waits: those that cost least per unit of work.
_NEAREST = 8


@click.command()
@click.argument("job")
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    default=Path("out"),
    envvar="TREASURY_DB",
    show_default=True,
    show_envvar=True,
    help="A database, or a folder `simulate` wrote (its first strategy's is taken).",
)
@click.option(
    "--at", "at_text", metavar="INSTANT", help="The story as far as it was then.  [default: all]"
)
@output_option
def cli(job: str, db: Path, at_text: str | None, output: str) -> None:
    """Tell the story of JOB from a database that is only read.

    Why it waited or was refused over time, where it ran, what it cost; while it waits, which
    machines fit it and what stands in the way; and until it ends, what each offer is worth to it
    and which scarce machines or budget it loses to. JSON and CSV hold what happened alone.
    """
    from treasury.cli.desk import instant
    from treasury.cli.results import find_database
    from treasury.cli.standing import until
    from treasury.cli.story import Story
    from treasury.domain.errors import NotFound, did_you_mean
    from treasury.domain.ids import JobId
    from treasury.store import SqlStore

    at = instant("--at", at_text)
    path = find_database(db)
    store = SqlStore.open(path, read_only=True)
    try:
        story = Story(JobId(job)).read(until(store.entries(), at))
    finally:
        store.close()
    if story.rejected:
        raise NotFound(f"{path}: job {job} was not taken: {story.rejected}")
    if story.spec is None:
        raise NotFound(f'{path}: no job is called "{job}"; {did_you_mean(job, story.known)}')
    if output != TABLE:
        emit(["at", "what", "detail"], _steps(story), output)
        return
    _print_story(story, story.spec, path)
    if story.ended_at is None:
        _print_prices(story.spec, path, at)


def _print_story(story: "Story", spec: "JobSpec", path: Path) -> None:
    click.echo(f"Job {spec.id} of {spec.cost_centre}, priority {spec.priority} ({path})")
    click.echo(_wish(spec))
    click.echo(_outcome(story, spec) + "\n")
    emit(["at", "what", "detail"], _steps(story), TABLE, title="What happened")
    if story.stays:
        click.echo()
        columns = ["offer", "machines", "from", "until", "for", "cost", "ended by"]
        emit(columns, [_stay(stay) for stay in story.stays.values()], TABLE, title="Where it ran")
    if story.state == "queued":
        click.echo()
        _print_outlook(story, spec)


def _print_prices(spec: "JobSpec", path: Path, at: int | None) -> None:
    """What the optimizer says of a job that is not over, on the fleet as it stands."""
    from treasury.cli.plan import optimizer_words
    from treasury.cli.standing import explained, read_standing

    standing = read_standing(str(path), at)
    click.echo()
    optimizer_words(spec, explained(standing.picture()))


def _wish(spec: "JobSpec") -> str:
    from treasury.domain.time import format_duration, format_instant

    need = spec.requirement
    speeds = ", ".join(f"{gpu} x{speed / 1000:g}" for gpu, speed in need.throughput.items())
    text = f"wants {need.nodes} x {need.gpus} of {speeds}; {format_duration(spec.work)} of work"
    if spec.deadline is not None:
        text += f"; deadline {format_instant(spec.deadline)}"
    return text


def _outcome(story: "Story", spec: "JobSpec") -> str:
    from treasury.domain.money import format_money
    from treasury.domain.time import format_duration, format_instant

    if story.ended_at is None:
        parts = [f"{story.state} at {format_instant(story.last)}"]
    else:
        parts = [f"{story.state} at {format_instant(story.ended_at)}"]
        if spec.deadline is not None:
            slack = spec.deadline - story.ended_at
            side = "before" if slack >= 0 else "after"
            parts.append(f"{format_duration(abs(slack))} {side} its deadline")
    parts += [
        f"cost {format_money(story.cost)}",
        f"{story.interruptions} interruptions",
        f"{story.migrations} migrations",
        f"{format_duration(story.lost)} of work lost",
    ]
    return "; ".join(parts)


def _steps(story: "Story") -> Rows:
    from treasury.domain.time import format_instant

    return [[format_instant(step.at), step.what, step.detail or None] for step in story.steps]


def _stay(stay: "Stay") -> list[object]:
    from treasury.domain.money import format_money
    from treasury.domain.time import format_duration, format_instant

    begun, ended = stay.granted_at, stay.ended_at
    return [
        stay.offer,
        stay.machines,
        None if begun is None else format_instant(begun),
        None if ended is None else format_instant(ended),
        None if begun is None or ended is None else format_duration(ended - begun),
        format_money(stay.cost),
        stay.outcome or None,
    ]


def _print_outlook(story: "Story", spec: "JobSpec") -> None:
    """What fits a waiting job and what stands in the way of each."""
    from treasury.domain.money import format_rate
    from treasury.domain.time import format_instant

    market, refusal = story.market, story.refusal
    if refusal is not None:
        fits = "" if refusal.fits_at is None else f"; fits at {format_instant(refusal.fits_at)}"
        click.echo(f"The last refusal: {refusal.message}{fits}")
    fitting = [offer for offer in market.offers.values() if spec.requirement.speed(offer)]
    if not fitting:
        click.echo(f"Nothing would place it: {_misfit(spec, market)}")
        return
    priced = []
    for offer in fitting:
        quote = market.quotes.get(offer.id)
        speed = spec.requirement.speed(offer)
        rate = None if quote is None else quote.rate
        per_work = None if rate is None else rate * 1_000 // speed
        obstacle = _obstacle(spec, offer, market, story.last)
        priced.append((per_work is None, per_work or 0, offer.id, rate, obstacle))
    rows: Rows = [
        [
            offer_id,
            None if rate is None else format_rate(rate),
            None if rate is None else format_rate(per_work),
            obstacle,
        ]
        for _, per_work, offer_id, rate, obstacle in sorted(priced)[:_NEAREST]
    ]
    title = f"What would place it ({len(rows)} of {len(fitting)} offers that fit)"
    emit(["offer", "rate", "per hour of work", "what stands in the way"], rows, TABLE, title=title)


def _misfit(spec: "JobSpec", market: "Market") -> str:
    """Why no offer at all fits."""
    need, offers = spec.requirement, market.offers.values()
    models = sorted({offer.shape.gpu for offer in offers})
    right = [offer for offer in offers if offer.shape.gpu in need.throughput]
    if not right:
        return f"it accepts {', '.join(need.throughput)}, the market sells {', '.join(models)}"
    largest = max(offer.shape.gpus for offer in right)
    if largest < need.gpus:
        return f"it wants {need.gpus} accelerators a machine, the largest has {largest}"
    return "its providers, regions, tenures, memory or gang size leave nothing over"


def _obstacle(spec: "JobSpec", offer: "Offer", market: "Market", now: int) -> str:
    """What keeps the job from an offer, as of the journal's end."""
    from treasury.domain.money import format_rate
    from treasury.domain.time import format_instant

    quote = market.quotes.get(offer.id)
    if quote is None:
        return "no price yet"
    if 0 <= quote.depth < spec.requirement.nodes:
        return f"{quote.depth} machines to be had, {spec.requirement.nodes} wanted"
    if spec.max_rate and quote.rate > spec.max_rate:
        return f"above the job's own limit of {format_rate(spec.max_rate)}"
    until = market.quarantined.get(offer.id, 0)
    if until > now:
        return f"refused lately; asked again from {format_instant(until)}"
    budgets = {budget.cost_centre: budget for budget in market.budgets}
    level = budgets.get(spec.cost_centre)
    while level is not None:
        if level.ceiling and quote.rate > level.ceiling * offer.shape.gpus:
            return f"above the ceiling of {level.cost_centre}, {format_rate(level.ceiling)} a GPU"
        if level.providers and offer.provider not in level.providers:
            return f"{level.cost_centre} may not use {offer.provider}"
        if level.tenures and offer.tenure.value not in level.tenures:
            return f"{level.cost_centre} may not use {offer.tenure.value} machines"
        level = budgets.get(level.parent) if level.parent else None
    return "only money or the strategy's patience"
