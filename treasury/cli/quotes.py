"""`treasury quotes`: what the markets themselves say they sell now; no daemon is needed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from treasury.cli.output import TABLE, UNKNOWN, config_option, emit, output_option
from treasury.domain.money import NANO
from treasury.domain.time import SECOND, format_duration, parse_duration

if TYPE_CHECKING:
    from treasury.cli.markets import Market
    from treasury.config import Config
    from treasury.domain.findings import Score
    from treasury.domain.market import Offer, Quote

COLUMNS = (
    "provider", "region", "zone", "instance", "GPU", "tenure",
    "USD/h", "USD/GPU-h", "depth", "age", "score",
)  # fmt: skip
FIELDS = (
    "provider", "region", "zone", "instance", "gpu", "gpus", "tenure", "rate_nano_usd_h",
    "depth", "observed_at_ns", "age_ns", "score", "score_raw", "offer",
)  # fmt: skip


class Seen(NamedTuple):
    """What a market said: its catalogue, the newest quote of each offer, scores, and trouble."""

    offers: Sequence["Offer"]
    quotes: dict[str, "Quote"]
    scores: dict[str, "Score"]
    trouble: tuple[str, ...]


@click.command()
@click.argument("providers", nargs=-1)
@config_option()
@click.option("--gpu", default="", help="Only this accelerator, such as A100-80GB.")
@click.option("--tenure", default="", help="Only these terms: spot or on_demand.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="The cheapest N; 0 for all.")
@click.option(
    "--wait",
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="How long prices are waited for.",
)
@output_option
def cli(
    providers: tuple[str, ...],
    config_file: Path | None,
    gpu: str,
    tenure: str,
    limit: int,
    wait: str,
    output: str,
) -> None:
    """Ask the markets PROVIDERS (default: every real one) what they sell; cheapest GPU-hour first.

    age: since the price was observed. score: how readily the market would give machines, by its
    own word, where it has one. What has no price yet stands last.
    """
    from treasury.cli.markets import on_loop, read_markets

    patience = parse_duration(wait)
    config = read_markets(config_file, providers)
    found, now = on_loop(lambda: _ask(config, providers, patience))
    offers = [
        (offer, seen)
        for seen in found
        for offer in seen.offers
        if (not gpu or offer.shape.gpu == gpu) and (not tenure or offer.tenure.value == tenure)
    ]
    offers.sort(key=lambda item: _order(*item))
    shown = offers[:limit] if limit else offers
    row, columns = (_row, COLUMNS) if output == TABLE else (_plain_row, FIELDS)
    emit(columns, [row(offer, seen, now) for offer, seen in shown], output)
    for seen in found:
        for text in seen.trouble:
            click.echo(text, err=True)


async def _ask(config: "Config", names: Sequence[str], patience: int) -> tuple[list[Seen], int]:
    from treasury.cli.markets import open_markets

    async with open_markets(config, names) as (markets, clock):
        found = await asyncio.gather(*(_look(market, patience) for market in markets))
        return list(found), clock.now()


async def _look(market: "Market", patience: int) -> Seen:
    """One market; what it cannot tell is left out and said."""
    from treasury.domain.errors import ProviderError

    provider, trouble = market.provider, []
    quotes: dict[str, Quote] = {}
    scores: dict[str, Score] = {}
    try:
        offers = list(await provider.offers())
    except ProviderError as error:
        return Seen([], {}, {}, (f"{market.name}: no catalogue: {error}",))
    ask_scores = getattr(provider, "scores", None)
    if ask_scores is not None:
        try:
            scores = {score.offer: score for score in await ask_scores()}
        except ProviderError as error:
            trouble.append(f"{market.name}: no scores: {error}")
    stream = provider.quotes()
    try:
        async with asyncio.timeout(patience / SECOND):
            async for quote in stream:
                quotes[quote.offer] = quote
                if len(quotes) >= len(offers):
                    break
    except TimeoutError:
        trouble.append(f"{market.name}: {len(quotes)} of {len(offers)} offers have a price so far")
    except ProviderError as error:
        trouble.append(f"{market.name}: prices: {error}")
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return Seen(offers, quotes, scores, tuple(trouble))


def _order(offer: "Offer", seen: Seen) -> tuple[bool, int, str]:
    quote = seen.quotes.get(offer.id)
    if quote is None or quote.rate < 0:
        return True, 0, offer.id
    return False, quote.rate // max(1, offer.shape.gpus), offer.id


def _row(offer: "Offer", seen: Seen, now: int) -> Sequence[object]:
    quote, score = seen.quotes.get(offer.id), seen.scores.get(offer.id)
    sold = quote is not None and quote.rate >= 0
    rate = quote.rate if quote is not None else 0
    return (
        offer.provider,
        offer.region,
        offer.zone or UNKNOWN,
        offer.shape.instance or UNKNOWN,
        f"{offer.shape.gpus} x {offer.shape.gpu}",
        offer.tenure.value,
        _usd(rate) if sold else None,
        _usd(rate // max(1, offer.shape.gpus)) if sold else None,
        None if quote is None or quote.depth < 0 else quote.depth,
        None if quote is None else format_duration(max(0, now - quote.observed_at)),
        None if score is None else score.raw,
    )


def _plain_row(offer: "Offer", seen: Seen, now: int) -> Sequence[object]:
    quote, score = seen.quotes.get(offer.id), seen.scores.get(offer.id)
    return (
        offer.provider,
        offer.region,
        offer.zone,
        offer.shape.instance,
        offer.shape.gpu,
        offer.shape.gpus,
        offer.tenure.value,
        None if quote is None else quote.rate,
        None if quote is None else quote.depth,
        None if quote is None else quote.observed_at,
        None if quote is None else max(0, now - quote.observed_at),
        None if score is None else score.value,
        None if score is None else score.raw,
        offer.id,
    )


def _usd(rate: int) -> str:
    whole, rest = divmod(rate, NANO)
    return f"{whole}.{rest // 100_000:04d}"
