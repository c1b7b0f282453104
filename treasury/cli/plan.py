"""`treasury plan`: what a strategy would do now, at what price, why, and what if."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.cli.desk import db_option, instant
from treasury.cli.output import TABLE, config_option, emit

if TYPE_CHECKING:
    from treasury.cli.standing import Standing
    from treasury.domain.ids import JobId
    from treasury.domain.job import JobSpec
    from treasury.domain.plan import Action, JobView, LeftOut, Plan
    from treasury.optimizer.flow.words import Reason, Scarcity, Words

Rows = list[list[object]]
# Offers shown to each job in JSON.
_OFFERS = 8


@click.command()
@db_option("Path or URL of the journal's database; it is only read.")
@click.option(
    "--run", type=click.Path(path_type=Path), help="Instead: a folder that `simulate` wrote."
)
@click.option(
    "--at", "at_text", metavar="INSTANT", help="The fleet as it was then.  [default: the newest]"
)
@config_option("Where strategies are configured.")
@click.option("--strategy", default="", metavar="NAME", help="Who decides.  [default: who did]")
@click.option("--why", is_flag=True, help="Say why, of every job, and what is scarce.")
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="CENTRE+AMOUNT",
    help="What if: a budget with more or less, such as research+200USD.",
)
@click.option("--price-cap", metavar="RATE", help="What if: no machine above it, as 2.10USD/h.")
@click.option(
    "--without", multiple=True, metavar="PROVIDER", help="What if: nothing to be had there."
)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
def cli(
    db: str,
    run: Path | None,
    at_text: str | None,
    config_file: Path | None,
    strategy: str,
    why: bool,
    budgets: tuple[str, ...],
    price_cap: str | None,
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what a strategy would do with the fleet as it stands, and at what price.

    Nothing is done. --why adds the optimizer's reasons and shadow prices; --budget, --price-cap and
    --without ask what would be different otherwise, all together.
    """
    from treasury.cli.standing import explained, read_standing
    from treasury.cli.whatif import counterfactual, print_difference

    place = db if run is None else _place(run, strategy)
    standing = read_standing(place, instant("--at", at_text))
    name, proposal = _proposal(standing, config_file, strategy)
    asked = bool(budgets or price_cap or without)
    words = None
    if why or asked or as_json:
        words = explained(standing.picture())
    difference = None
    if asked and words is not None:
        difference = counterfactual(words, budgets, price_cap, without)
    if as_json:
        _print_json(standing, name, proposal, words, difference, why=why)
        return
    _print_plan(standing, name, proposal, words if why else None)
    if why and words is not None:
        click.echo()
        print_scarce(words.scarce())
    if difference is not None:
        click.echo()
        print_difference(difference)


def _place(run: Path, strategy: str) -> str:
    """A strategy's own database in a folder of a simulation, else the first."""
    from treasury.cli.results import database_file

    own = run / database_file(strategy)
    return str(own if strategy and own.is_file() else run)


def _proposal(standing: "Standing", config_file: Path | None, strategy: str) -> tuple[str, "Plan"]:
    """Who decides, and what it would do. A database is named after its strategy if `simulate` made
    it; otherwise the configuration's first decides."""
    from treasury.bootstrap import make_strategy, strategy_names
    from treasury.cli.results import read_manifest
    from treasury.config import load_config

    config = load_config(config_file)
    source = Path(standing.source)
    manifest, own = read_manifest(source.parent), source.stem
    name = strategy
    if not name:
        named = manifest is not None and own in manifest.strategies
        name = own if named else strategy_names(config)[0]
    return name, make_strategy(config, name).propose(standing.snapshot)


class _Does:
    """What a plan does with each job."""

    def __init__(self, plan: "Plan") -> None:
        self.actions: dict[JobId, list[Action]] = {}
        for action in plan.actions:
            self.actions.setdefault(action.job, []).append(action)
        self.left_out: dict[JobId, LeftOut] = {left.job: left for left in plan.left_out}

    def row(self, view: "JobView", rates: dict[str, int]) -> dict[str, object]:
        """One job: what becomes of it, where, and at what price."""
        from treasury.domain.plan import Migrate, Place, Preempt, Rebid

        placement = view.placement
        now = None if placement is None else placement.offer
        does, offer, bid = ("waits" if now is None else "stays"), now, None
        if placement is not None:
            bid = placement.bid
        actions = self.actions.get(view.spec.id, [])
        stopped = any(isinstance(action, Preempt) for action in actions)
        if stopped:
            does, offer, bid = "stops", None, None
        for action in actions:
            if isinstance(action, Place):
                does, offer, bid = ("switches" if stopped else "takes"), action.offer, action.bid
            elif isinstance(action, Migrate):
                does, offer, bid = "moves", action.offer, action.bid
            elif isinstance(action, Rebid):
                does, bid = "bids", action.bid
        rate = None if offer is None else rates.get(offer, -1)
        left = self.left_out.get(view.spec.id)
        return {
            "job": view.spec.id,
            "cost_centre": view.spec.cost_centre,
            "state": view.state.value,
            "now": now,
            "does": does,
            "offer": offer,
            "machines": view.spec.requirement.nodes,
            "rate": rate if rate is not None and rate >= 0 else None,
            "bid": bid,
            "why": None if left is None else f"{left.why.value}: {left.detail}",
        }


def plan_rows(standing: "Standing", plan: "Plan") -> list[dict[str, object]]:
    """What becomes of every active job, in queue order. Rates in nano-USD/h per machine."""
    rates: dict[str, int] = {view.offer.id: view.rate for view in standing.snapshot.offers}
    does = _Does(plan)
    return [does.row(view, rates) for view in standing.snapshot.jobs]


def _print_plan(standing: "Standing", name: str, plan: "Plan", words: "Words | None") -> None:
    from treasury.domain.time import format_instant

    when = format_instant(standing.snapshot.now)
    rows = plan_rows(standing, plan)
    if not rows:
        click.echo(
            f"No job is active at {when} ({standing.source}): nothing to plan; "
            "--at INSTANT shows an earlier one"
        )
        return
    still = ("waits", "stays")
    shown = [row for row in rows if row["does"] not in still or words is not None]
    counts = {word: sum(row["does"] == word for row in rows) for word in still}
    title = f"What {name} would do at {when} ({standing.source})"
    if shown:
        columns = ["job", "of", "does", "machines", "offer", "rate", "at most"]
        emit(columns, [_shown(row) for row in shown], TABLE, title=title)
    else:
        click.echo(f"{title}: nothing")
    click.echo(f"{counts['stays']} stay where they are, {counts['waits']} wait")
    if words is None:
        return
    click.echo("\nWhy")
    for row in rows:
        job: JobId = row["job"]  # type: ignore[assignment]
        reason = words.reason(job)
        if row["why"] is not None:
            click.echo(f"{job}: {name} says {row['why']}")
        if reason is not None:
            click.echo(f"{job}: by prices it {reason.text}")


def _shown(row: dict[str, object]) -> list[object]:
    from treasury.domain.money import format_rate

    rate, bid = row["rate"], row["bid"]
    return [
        row["job"],
        row["cost_centre"],
        row["does"],
        row["machines"],
        row["offer"],
        format_rate(rate) if isinstance(rate, int) else None,
        format_rate(bid) if isinstance(bid, int) else None,
    ]


def print_scarce(rows: "tuple[Scarcity, ...]", title: str = "What is scarce") -> None:
    """The shadow prices, one sentence each."""
    if not rows:
        click.echo(f"{title}: nothing")
        return
    click.echo(title)
    for row in rows:
        click.echo(f"  {row.text}")


def optimizer_words(spec: "JobSpec", words: "Words") -> None:
    """Print the optimizer's reasons for one job, with what each offer is worth to it."""
    from treasury.domain.money import format_money, format_rate

    reason = words.reason(spec.id, _OFFERS)
    if reason is None:
        return
    click.echo(f"By prices it {reason.text}")
    if not reason.offers:
        return
    rows: Rows = [
        [
            offer.offer,
            format_rate(offer.rate),
            format_money(offer.worth),
            ", ".join(f"{format_money(amount)} {name}" for name, amount in offer.scarce) or None,
            format_money(offer.left),
            format_rate(offer.bid),
        ]
        for offer in reason.offers
    ]
    columns = ["offer", "rate", "worth an hour", "less what is scarce", "left", "pays up to"]
    click.echo()
    emit(columns, rows, TABLE, title="What an hour of its work is worth")


def _print_json(
    standing: "Standing",
    name: str,
    plan: "Plan",
    words: "Words | None",
    difference: "dict[str, object] | None",
    *,
    why: bool,
) -> None:
    import json

    from treasury.cli.whatif import scarcity_rows, summary
    from treasury.domain.time import format_instant

    out: dict[str, object] = {
        "at": format_instant(standing.snapshot.now),
        "source": standing.source,
        "strategy": name,
        "jobs": plan_rows(standing, plan),
    }
    if words is not None:
        optimizer = {**summary(words), "scarce": scarcity_rows(words.scarce())}
        if why:
            optimizer["jobs"] = [_reason(reason) for reason in words.reasons(_OFFERS)]
        out["optimizer"] = optimizer
    if difference is not None:
        out["what_if"] = difference
    click.echo(json.dumps(out, indent=2, ensure_ascii=False))


def _reason(reason: "Reason") -> dict[str, object]:
    return {
        "job": reason.job,
        "now": reason.now,
        "then": reason.then,
        "why": reason.text,
        "offers": [
            {
                "offer": offer.offer,
                "rate": offer.rate,
                "worth": offer.worth,
                "scarce": dict(offer.scarce),
                "left": offer.left,
                "pays_up_to": offer.bid,
            }
            for offer in reason.offers
        ],
    }
