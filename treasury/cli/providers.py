"""`treasury providers`: the markets that are configured or registered, and what they can do."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from treasury.cli.output import config_option, emit, output_option

if TYPE_CHECKING:
    from treasury.config import ProviderSettings

COLUMNS = [
    "provider",
    "kind",
    "from",
    "bids",
    "floating",
    "notice",
    "grant delay",
    "boot",
    "billing step",
    "billing minimum",
    "listing lag",
    "gang max",
    "depth",
    "refusals",
    "quota",
]


@click.command()
@config_option()
@output_option
def cli(config_file: Path | None, output: str) -> None:
    """List providers: those of the configuration, then registered kinds it does not use.

    refusals: requests of a thousand that are refused; quota: most machines, - for no limit.
    """
    from treasury.config import load_config
    from treasury.registry import origin, plugins

    config = load_config(config_file)
    rows = [
        [name, item.kind, Path(config.file).name, *_capabilities(item)]
        for name, item in config.providers.items()
    ]
    blank: list[object] = [None] * (len(COLUMNS) - 3)
    rows += [
        [name, market.kind, Path(config.file).name, *blank]
        for name, market in config.markets.items()
    ]
    used = {item.kind for item in config.providers.values()}
    used |= {market.kind for market in config.markets.values()}
    rows += [
        [None, kind, origin(entry), *blank]
        for kind, entry in plugins("treasury.providers").items()
        if kind not in used
    ]
    emit(COLUMNS, rows, output)


def _capabilities(settings: "ProviderSettings") -> list[object]:
    from treasury.domain.time import format_duration

    able = settings.capabilities
    return [
        able.bids,
        able.floating,
        format_duration(able.notice_ns),
        format_duration(able.grant_delay_ns),
        format_duration(able.boot_ns),
        format_duration(able.billing_step_ns),
        format_duration(able.billing_minimum_ns),
        format_duration(able.listing_lag_ns),
        able.gang_max,
        settings.depth,
        settings.refusal_per_mille,
        settings.quota or None,
    ]
