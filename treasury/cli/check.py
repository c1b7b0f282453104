"""`treasury check`: would a market let us do what the daemon will have to do."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.cli.output import TABLE, config_option, emit, output_option, style

if TYPE_CHECKING:
    from treasury.cli.markets import Market
    from treasury.config import Config
    from treasury.domain.findings import Finding
    from treasury_simulations.conformance import Report

COLUMNS = ("market", "what", "verdict", "detail", "remedy")


@click.command()
@click.argument("providers", nargs=-1)
@config_option()
@click.option("--policy", "show_policy", is_flag=True, help="Print what must be allowed, alone.")
@click.option("--conformance", is_flag=True, help="Try the adapter's promises case by case.")
@click.option(
    "--buy",
    default="",
    metavar="OFFER",
    help="With --conformance: machines of OFFER may be bought. It costs money.",
)
@output_option
@click.pass_context
def cli(
    ctx: click.Context,
    providers: tuple[str, ...],
    config_file: Path | None,
    show_policy: bool,
    conformance: bool,
    buy: str,
    output: str,
) -> None:
    """Ask the markets PROVIDERS (default: every real one) for all that the daemon will need.

    Credentials, the clock, each permission, prices, quotas, notices: nothing is bought. What is
    missing is printed with what to do, and the least that must be allowed. Exits 1 when something
    does not work.
    """
    from treasury.cli.markets import on_loop, read_markets
    from treasury.domain.errors import BadValue

    if buy and not conformance:
        raise BadValue("--buy", buy, "to be given with --conformance")
    config = read_markets(config_file, providers)
    if conformance:
        reports = on_loop(lambda: _conform(config, providers, buy))
        _print_reports(reports, output)
        ctx.exit(0 if all(report.conforms for report in reports) else 1)
    found = on_loop(lambda: _check(config, providers, ask=not show_policy))
    if show_policy:
        click.echo("\n\n".join(policy for _, _, policy in found if policy))
        return
    _print_findings(found, output)
    bad = any(finding.verdict.value == "bad" for _, findings, _ in found for finding in findings)
    ctx.exit(1 if bad else 0)


async def _check(
    config: "Config", names: Sequence[str], *, ask: bool
) -> list[tuple[str, Sequence["Finding"], str]]:
    """(market, findings, policy) of each; findings only where they are asked for."""
    from treasury.cli.markets import open_markets

    async with open_markets(config, names) as (markets, _clock):
        return [
            (market.name, await _findings(market) if ask else (), _policy(market))
            for market in markets
        ]


async def _findings(market: "Market") -> Sequence["Finding"]:
    """What the adapter's own check says; for one without, whether it can list what there is."""
    from treasury.domain.errors import ProviderError
    from treasury.domain.findings import Finding, Verdict

    check = getattr(market.provider, "check", None)
    if check is not None:
        findings: Sequence[Finding] = await check()
        return findings
    found = []
    for what, ask in (("offers", market.provider.offers), ("machines", market.provider.leases)):
        try:
            count = len(await ask())
        except ProviderError as error:
            text = f"{type(error).__name__}: {error}"
            found.append(Finding(what, Verdict.BAD, text))
        else:
            found.append(Finding(what, Verdict.FINE, f"{count} listed"))
    return found


def _policy(market: "Market") -> str:
    policy = getattr(market.provider, "policy", None)
    return "" if policy is None else str(policy())


_COLOURS = {"fine": "green", "warning": "yellow", "bad": "red", "skipped": "white"}


def _print_findings(found: Sequence[tuple[str, Sequence["Finding"], str]], output: str) -> None:
    rows = [
        (name, item.what, item.verdict.value, item.detail, item.remedy or None)
        for name, findings, _ in found
        for item in findings
    ]
    if output != TABLE:
        emit(COLUMNS, rows, output)
        return
    for name, findings, policy in found:
        click.echo(f"{name}:")
        for item in findings:
            word = style(f"{item.verdict.value:8}", sys.stdout, fg=_COLOURS[item.verdict.value])
            click.echo(f"  {word} {item.what}: {item.detail}")
            if item.remedy:
                click.echo(f"           -> {item.remedy}")
        if policy and any(item.verdict.value == "bad" for item in findings):
            click.echo(f"\nThe least that must be allowed at {name}:\n{policy}")


async def _conform(config: "Config", names: Sequence[str], buy: str) -> list["Report"]:
    """The conformance suite against the real markets, as another installation: the daemon neither
    sees nor stops what is bought here."""
    from treasury.cli.markets import open_markets
    from treasury.domain.ids import OfferId
    from treasury_simulations.conformance import run

    reports = []
    installation = f"{config.engine.installation}-check"
    async with open_markets(config, names, installation=installation) as (markets, clock):
        for market in markets:
            mine = buy if buy.startswith(f"{market.name}/") else ""
            report = await run(
                market.provider,
                None,
                clock=clock,
                buy=OfferId(mine) if mine else None,
                run_name=f"{installation}/{clock.now()}",
            )
            reports.append(report)
    return reports


def _print_reports(reports: Sequence["Report"], output: str) -> None:
    rows = [
        (report.provider, result.number, result.title, result.outcome.value, result.detail or None)
        for report in reports
        for result in report.results
    ]
    emit(("market", "case", "what it shows", "outcome", "detail"), rows, output)
