"""Counterfactuals of `treasury plan`: the same fleet with other budgets, prices or providers."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from treasury.cli.output import TABLE, emit
from treasury.domain.errors import BadValue, NotFound, did_you_mean
from treasury.domain.money import format_money, format_rate, parse_money, parse_rate

if TYPE_CHECKING:
    from treasury.optimizer.flow import Change
    from treasury.optimizer.flow.picture import Picture
    from treasury.optimizer.flow.words import Scarcity, Words

# Cost centres may hold either sign themselves: the last one before a figure counts.
_BUDGET: Final = re.compile(r"(?P<centre>.+)(?P<sign>[+-])\s*(?P<amount>[0-9].*)", re.ASCII)
_RIGHT: Final = 'COST_CENTRE+AMOUNT or COST_CENTRE-AMOUNT, such as "research+200USD"'
_MICRO: Final = 1_000
# Jobs named in a line; the rest are counted.
_NAMES: Final = 8


def counterfactual(
    words: "Words", budgets: Sequence[str], price_cap: str | None, without: Sequence[str]
) -> dict[str, Any]:
    """What would be different: jobs that start, stop and move, cost, gain, and what is scarce then.

    Raises BadValue or NotFound for what cannot be asked.
    """
    from treasury.cli.standing import explained, settings
    from treasury.optimizer.flow import what_if

    picture = words.picture
    change, asked = _change(picture, budgets, price_cap, without)
    difference = what_if(words.plan, change, settings())
    then = explained(picture, difference.plan)
    name = [view.spec.id for view in picture.jobs]
    stopped = [*(name[job] for job in difference.stopped), *_lost(picture, change)]
    return {
        "asked": asked,
        "before": summary(words),
        "after": summary(then),
        "started": [name[job] for job in difference.started],
        "stopped": stopped,
        "moved": [name[job] for job in difference.moved],
        "scarce": scarcity_rows(then.scarce()),
    }


def _change(
    picture: "Picture", budgets: Sequence[str], price_cap: str | None, without: Sequence[str]
) -> tuple["Change", list[str]]:
    """What is asked for, and the same in words."""
    import numpy as np

    from treasury.optimizer.flow import Change

    more: dict[int, int] = {}
    asked: list[str] = []
    for text in budgets:
        centre, amount = _budget(picture, text)
        more[centre] = more.get(centre, 0) + picture.per_hour(amount)
        sign = "more" if amount >= 0 else "less"
        asked.append(f"{picture.centres[centre]} has {format_money(abs(amount))} {sign}")
    cap = None
    if price_cap is not None:
        cap = _cap(price_cap)
        asked.append(f"no machine costs more than {format_rate(cap * _MICRO)}")
    closed = np.zeros(len(picture.offers), dtype=np.bool_)
    providers = [str(view.offer.provider) for view in picture.offers]
    for provider in without:
        if provider not in providers:
            near = did_you_mean(provider, set(providers))
            raise NotFound(f"--without: no provider is called {provider!r}; {near}")
        closed |= np.array([name == provider for name in providers], dtype=np.bool_)
        asked.append(f"nothing is to be had at {provider}")
    return Change(more or None, cap, closed if without else None), asked


def _budget(picture: "Picture", text: str) -> tuple[int, int]:
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise BadValue("--budget", text, _RIGHT)
    try:
        amount = parse_money(match["amount"])
    except BadValue as error:
        raise BadValue("--budget", text, f"{_RIGHT}: {error.right}") from error
    name = match["centre"].strip()
    names = [str(centre) for centre in picture.centres]
    if name not in names:
        near = did_you_mean(name, names)
        raise NotFound(f"--budget: no cost centre is called {name!r}; {near}")
    number = names.index(name)
    if match["sign"] == "-":
        room = picture.room(picture.centres[number])
        if amount > room:
            right = f"at most {format_money(room)} less: the rest is spent or held"
            raise BadValue("--budget", text, right)
        amount = -amount
    return number, amount


def _cap(text: str) -> int:
    """Micro-USD an hour."""
    try:
        rate = parse_rate(text)
    except BadValue as error:
        raise BadValue("--price-cap", text, error.right) from error
    if rate <= 0:
        raise BadValue("--price-cap", text, "more than 0 an hour")
    return rate // _MICRO


def _lost(picture: "Picture", change: "Change") -> list[str]:
    """Jobs that stay whatever is planned, and would lose the offer they are on."""
    closed = set()
    for number, view in enumerate(picture.offers):
        gone = change.without is not None and bool(change.without[number])
        if gone or (change.price_cap is not None and view.rate > change.price_cap * _MICRO):
            closed.add(view.offer.id)
    return [
        view.spec.id
        for view in picture.snapshot.jobs
        if view.spec.id in picture.fixed
        and view.placement is not None
        and view.placement.offer in closed
    ]


def summary(words: "Words") -> dict[str, Any]:
    """The figures of a plan: jobs with machines (those that cannot be moved apart), micro-USD an
    hour they cost, and what they gain by the hour of work; the bound no plan exceeds, and the
    gap."""
    certificate = words.plan.certificate
    return {
        "placed": int((words.plan.placed >= 0).sum()),
        "fixed": len(words.picture.fixed),
        "cost_per_hour": words.burn,
        "gain": certificate.value,
        "bound": certificate.bound,
        "gap": round(certificate.gap, 6),
    }


def scarcity_rows(rows: "Sequence[Scarcity]") -> list[dict[str, Any]]:
    """What is scarce, for programs."""
    return [
        {
            "kind": row.kind,
            "name": row.name,
            "used": row.used,
            "limit": row.limit,
            "price": row.price,
            "why": row.text,
            "more": row.money,
            "would_place": list(row.jobs),
        }
        for row in rows
    ]


def print_difference(difference: dict[str, Any]) -> None:
    """A counterfactual for people."""
    before, after = difference["before"], difference["after"]
    rows: list[list[object]] = [
        [
            "jobs with machines",
            before["placed"],
            after["placed"],
            f"{after['placed'] - before['placed']:+d}",
        ]
    ]
    for label, key in (("cost an hour", "cost_per_hour"), ("gain an hour of work", "gain")):
        more = after[key] - before[key]
        change = f"{'+' if more > 0 else ''}{format_money(more)}"
        rows.append([label, format_money(before[key]), format_money(after[key]), change])
    emit(["", "now", "then", "difference"], rows, TABLE, title=f"If {_and(difference['asked'])}")
    for word, key in (("starts", "started"), ("stops", "stopped"), ("moves", "moved")):
        jobs = difference[key]
        if jobs:
            more = f" and {len(jobs) - _NAMES} more" if len(jobs) > _NAMES else ""
            click.echo(f"{word}: {', '.join(jobs[:_NAMES])}{more}")
    if not difference["scarce"]:
        click.echo("What is scarce then: nothing")
        return
    click.echo("What is scarce then")
    for row in difference["scarce"]:
        click.echo(f"  {row['why']}")


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
