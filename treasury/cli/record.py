"""`treasury traces record` and `merge`: live prices into traces that `simulate` replays."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from treasury.cli.output import config_option, emit, output_option
from treasury.domain.errors import BadValue
from treasury.domain.time import MINUTE, SECOND, format_instant, parse_duration

if TYPE_CHECKING:
    from treasury.cli.markets import Market
    from treasury.config import Config
    from treasury.ports import Clock
    from treasury_simulations.traces.recording import Recording

# After a stream that failed; it backs off by itself while it can.
_AGAIN: Final = MINUTE
_MEGABYTE: Final = 1_000_000


@click.command()
@click.argument("providers", nargs=-1)
@config_option()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("recordings"),
    show_default=True,
    help="The folder of segments.",
)
@click.option("--name", default="market", show_default=True, help="What segments are called.")
@click.option("--for", "span", default="", metavar="DURATION", help="Stop by itself after this.")
@click.option("--segment", default="1d", show_default=True, metavar="DURATION")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    metavar="MB",
    help="Of all segments together; the oldest go.",
)
def record(
    providers: tuple[str, ...],
    config_file: Path | None,
    out: Path,
    name: str,
    span: str,
    segment: str,
    keep: int,
) -> None:
    """Record the prices of the markets PROVIDERS (default: every real one) until Ctrl-C.

    Only changes are written. `treasury traces merge` makes one trace of segments.
    """
    from treasury.cli.markets import on_loop, read_markets
    from treasury_simulations.traces.recording import Recording

    length, each = parse_duration(span) if span else 0, parse_duration(segment)
    if each < MINUTE:
        raise BadValue("--segment", segment, "at least 1m")
    config = read_markets(config_file, providers)
    recording = Recording(out, name, limit=keep * _MEGABYTE, segment=each)
    on_loop(lambda: _record(config, providers, recording, length))
    click.echo(f"{recording.rows} changes in {len(recording.segments())} segments in {out}")


async def _record(
    config: "Config", names: Sequence[str], recording: "Recording", length: int
) -> None:
    from treasury.cli.markets import open_markets

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with open_markets(config, names) as (markets, clock):
        tasks = [asyncio.ensure_future(_follow(m, recording, clock)) for m in markets]
        waiting = asyncio.ensure_future(told.wait())
        try:
            timeout = length / SECOND if length else None
            # What ends first: a person, the time, or a recording that cannot be written.
            done, _ = await asyncio.wait(
                [waiting, *tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.wait([*tasks, waiting])
            recording.close(clock.now())


async def _follow(market: "Market", recording: "Recording", clock: "Clock") -> None:
    """One market for as long as it lasts; a feed that fails is opened again."""
    from treasury.domain.errors import ProviderError

    while True:
        try:
            recording.offers(await market.provider.offers())
            async for quote in market.provider.quotes():
                recording.quote(quote, clock.now())
        except ProviderError as error:
            at = format_instant(clock.now())
            click.echo(f"{at} {market.name}: {type(error).__name__}: {error}", err=True)
        await clock.sleep_until(clock.now() + _AGAIN)


@click.command()
@click.argument("segments", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Trace to write.")
@output_option
def merge(segments: tuple[Path, ...], out: Path, output: str) -> None:
    """Make one trace of recorded SEGMENTS; what lay between them is marked as a gap."""
    from treasury_simulations.traces.recording import merge as merge_traces

    trace = merge_traces(segments, out, out.stem)
    header = trace.header
    rows = [
        ("start", format_instant(header.start)),
        ("end", format_instant(header.end)),
        ("pools", len(header.pools)),
        ("rows", sum(trace.rows.values())),
        ("gaps", len(header.gaps)),
    ]
    emit(("what", "value"), rows, output, title=f"{out}: {header.name}")
