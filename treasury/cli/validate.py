"""`treasury validate`: is a configuration sound, and does it fit a market."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.cli.output import TABLE, emit, output_option, style

if TYPE_CHECKING:
    from treasury.config import Config
    from treasury.domain.errors import ConfigError
    from treasury_simulations.scenario import Scenario

Rows = list[list[object]]


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--trace", default="", help="A market to hold it against: a file or bundled name.")
@output_option
@click.pass_context
def cli(ctx: click.Context, file: Path | None, trace: str, output: str) -> None:
    """Check FILE (default: the embedded configuration).

    Prints every problem with its line, path and value and what would be right, or a summary.
    With --trace also the jobs that no machine of that market can run. Exits 1 for a bad file.
    """
    from treasury.bootstrap import market_problems, strategy_problems
    from treasury.config import inspect_config

    findings = inspect_config(file)
    config, errors = findings.config, findings.errors
    if config is not None:
        errors = (*strategy_problems(config), *market_problems(config))
    if config is None or errors:
        _print_problems(errors, output)
        ctx.exit(1)
    scenario = None if not trace else _fit(ctx, config, trace, output)
    _print_summary(config, scenario, output)


def _print_problems(errors: Sequence["ConfigError"], output: str) -> None:
    if output != TABLE:
        rows: Rows = [[error.file, error.path, error.problem] for error in errors]
        emit(["file", "path", "problem"], rows, output)
        return
    import sys

    for error in errors:
        click.echo(style(str(error), sys.stdout, fg="red"))
    click.echo(f"{len(errors)} problem{'s' if len(errors) != 1 else ''}")


def _fit(ctx: click.Context, config: "Config", trace: str, output: str) -> "Scenario":
    """The scenario on a trace; a configuration that does not fit it is a bad one."""
    from treasury.domain.errors import ConfigError
    from treasury_simulations.scenario import build_scenario

    try:
        return build_scenario(config, trace)
    except ConfigError as error:
        _print_problems([error], output)
        ctx.exit(1)


def _print_summary(config: "Config", scenario: "Scenario | None", output: str) -> None:
    from treasury.domain.money import format_money

    rows: Rows = [
        [
            "budget",
            budget.cost_centre,
            f"{format_money(budget.amount)} {budget.period.value}"
            + (f", under {budget.parent}" if budget.parent else ""),
        ]
        for budget in config.budgets
    ]
    rows += [["provider", name, item.kind] for name, item in config.providers.items()]
    rows += [["provider", name, market.kind] for name, market in config.markets.items()]
    rows += [["strategy", name, item.kind] for name, item in config.strategies.items()]
    rows += [["job", job.id, job.cost_centre] for job in config.jobs]
    emit(["section", "name", "what"], rows, output, title=f"{config.file}: OK")
    if scenario is not None:
        for note in (*scenario.notes, *_unplaceable(scenario)):
            click.echo(f"note: {note}", err=True)


def _unplaceable(scenario: "Scenario") -> list[str]:
    """A line for each job that fits no machine of the trace, whatever it costs."""
    from treasury_simulations.scenario import offers_of

    offers = offers_of(scenario)
    return [
        f"job {job.id} fits no machine of {scenario.trace}: {job.requirement.nodes} x "
        f"{job.requirement.gpus} of {', '.join(job.requirement.throughput)}"
        for job in scenario.jobs
        if not any(job.requirement.speed(offer) for offer in offers)
    ]
