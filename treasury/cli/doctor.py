"""`treasury doctor`: would a daemon work here, and what is wrong if not."""

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from treasury.cli.output import TABLE, emit, output_option
from treasury.cli.run import DEFAULT_FILE

if TYPE_CHECKING:
    from treasury.bootstrap.wiring import Orders
    from treasury.config import Config
    from treasury.engine import Book
    from treasury.ports import Provider

GOOD: Final = "ok"
WARN: Final = "look"
BAD: Final = "bad"
# Less free space than this will not hold a busy month's journal.
_SPACE: Final = 2**30
# Sockets and files: a connection for each machine and client, and then some.
_FILES: Final = 1_024
_NETWORK_FILESYSTEMS: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")
_CALL_SECONDS: Final = 60.0


class Found(NamedTuple):
    """One look. state: GOOD, WARN or BAD."""

    check: str
    state: str
    detail: str


@click.command()
@click.argument(
    "config_file",
    required=False,
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TREASURY_CONFIG",
    metavar="[CONFIG]",
)
@click.option("--online", is_flag=True, help="Ask the markets, too: what they sell, what we hold.")
@output_option
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None, online: bool, output: str) -> None:
    """Look at everything `treasury run CONFIG` needs; changes nothing.

    Each line is "ok", something to "look" at, or "bad": then the daemon would not start or not
    work. Exits 1 when anything is bad.
    """
    path = config_file or Path(DEFAULT_FILE)
    found = list(_examine(path, online=online))
    emit(["check", "state", "detail"], [list(item) for item in found], output)
    bad = sum(item.state == BAD for item in found)
    if output == TABLE:
        click.echo(f"{bad} bad" if bad else "nothing bad", err=True)
    ctx.exit(1 if bad else 0)


def _examine(path: Path, *, online: bool) -> Iterator[Found]:
    from treasury.bootstrap import market_problems, strategy_problems
    from treasury.bootstrap.wiring import Orders
    from treasury.config import inspect_config
    from treasury.domain.errors import UserError

    try:
        findings = inspect_config(path)
    except UserError as error:
        yield Found("configuration", BAD, str(error))
        return
    config = findings.config
    problems = findings.errors
    if config is not None:
        problems = (*strategy_problems(config), *market_problems(config))
    for problem in problems:
        yield Found("configuration", BAD, str(problem))
    if config is None or problems:
        return
    yield Found("configuration", GOOD, f"{path}: {len(config.budgets)} budgets")
    orders = Orders(path=path, holder="", draw=bytes, environment=os.environ)
    yield from _machine(config, orders)
    book = None
    for item in _database(config, orders):
        if isinstance(item, Found):
            yield item
        else:
            book = item
    yield _bus(config)
    yield _api(config)
    yield from _markets(config, orders, book, online=online)


def _machine(config: "Config", orders: "Orders") -> Iterator[Found]:
    """This host: its clock, its limits, the state directory."""
    import resource

    year = time.gmtime().tm_year
    yield Found("clock", GOOD if year >= 2024 else BAD, time.strftime("%FT%TZ", time.gmtime()))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Found("open files", GOOD if files >= _FILES else WARN, f"at most {files}")
    from treasury.bootstrap.wiring import place

    state = place(orders, config.daemon.state).absolute()
    if not state.exists():
        made = os.access(state.parent, os.W_OK)
        text = f"{state}: will be made" if made else f"{state}: cannot be made by this user"
        yield Found("state directory", GOOD if made else BAD, text)
    elif not os.access(state, os.W_OK | os.X_OK):
        yield Found("state directory", BAD, f"{state}: this user cannot write to it")
    elif state.stat().st_mode & 0o077:
        yield Found("state directory", WARN, f"{state}: others may look into it: chmod 700 it")
    else:
        yield Found("state directory", GOOD, str(state))
    free = shutil.disk_usage(_existing(state)).free
    yield Found("disk space", GOOD if free >= _SPACE else WARN, f"{free / 2**30:.1f} GiB free")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _database(config: "Config", orders: "Orders") -> "Iterator[Found | Book]":
    """The journal: whether it can be read and is whole, who leads; and the book it describes."""
    from treasury.bootstrap.live import database
    from treasury.domain.errors import UserError
    from treasury.domain.time import format_instant
    from treasury.engine import replay
    from treasury.store.sql import SqlStore

    url = database(config, orders)
    if "://" not in url:
        path = Path(url)
        kind = _filesystem(_existing(path.absolute()))
        if kind in _NETWORK_FILESYSTEMS:
            yield Found("database", BAD, f"{path} is on {kind}: SQLite needs a local disk")
        if not path.exists():
            yield Found("database", GOOD, f"{path}: will be made")
            return
    try:
        store = SqlStore.open(url, read_only=True)
    except UserError as error:
        yield Found("database", BAD, str(error))
        return
    try:
        book = replay(store.entries())
    except UserError as error:
        yield Found("database", BAD, str(error))
        return
    finally:
        store.close()
    when = format_instant(book.now)
    future = book.now > time.time_ns()
    text = f"{store.name}: turn {book.seq} of {when}, {len(book.leases)} machines held"
    yield Found("database", BAD if future else GOOD, text + (": in the future" if future else ""))
    yield book


def _filesystem(path: Path) -> str:
    """The kind of file system a path is on, "" where the system does not tell."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, mount, found, *_ = line.split()
        if path.is_relative_to(mount) and len(mount) > len(best):
            best, kind = mount, found
    return kind


def _bus(config: "Config") -> Found:
    from importlib.util import find_spec

    bus = config.bus
    address = f"{bus.host}:{bus.port}"
    if not bus.embedded:
        answers = _answers(bus.host, bus.port)
        text = "answers" if answers else "does not answer"
        return Found("broker", GOOD if answers else BAD, f"{address} {text}")
    if find_spec("amqtt") is None:
        return Found("broker", BAD, "embedded and missing: pip install 'spot-treasury[broker]'")
    if _answers(bus.host, bus.port):
        return Found("broker", WARN, f"{address} is taken: by a daemon that runs, or another")
    return Found("broker", GOOD, f"embedded, will listen on {address}")


def _api(config: "Config") -> Found:
    host, port = config.api.host, config.api.port
    if port and _answers(host, port):
        return Found("API", WARN, f"{host}:{port} is taken: by a daemon that runs, or another")
    return Found("API", GOOD, f"will listen on {host}:{port or 'a free port'}")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _markets(
    config: "Config", orders: "Orders", book: "Book | None", *, online: bool
) -> Iterator[Found]:
    """Each real market: whether its adapter can be made, and what it answers."""
    from treasury.bootstrap.wiring import provider_of
    from treasury.domain.errors import UserError
    from treasury.runtime.clocks import system_host

    if not config.markets:
        yield Found("markets", BAD, "none: no [provider.NAME] has another kind than simulated")
    host = system_host(2)
    with tempfile.TemporaryDirectory() as spare:
        for name in config.markets:
            try:
                provider = provider_of(config, host, orders, name, Path(spare))
            except UserError as error:
                yield Found(f"provider.{name}", BAD, str(error))
                continue
            if online:
                yield asyncio.run(_ask(name, provider, book))
            else:
                yield Found(f"provider.{name}", GOOD, "can be made; --online asks it")
    for lease in () if book is None else book.leases.values():
        if lease.provider not in config.markets:
            text = "machines are held there, and the configuration does not know it"
            yield Found(f"provider.{lease.provider}", BAD, text)
            return


async def _ask(name: str, provider: "Provider", book: "Book | None") -> Found:
    from treasury.engine import Book
    from treasury.runtime.breaker import doubt

    try:
        async with asyncio.timeout(_CALL_SECONDS):
            offers = await provider.offers()
            held = await provider.leases()
            await provider.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return Found(f"provider.{name}", BAD, f"{type(error).__name__}: {error}")
    alive = [item for item in held if item.ended_at is None]
    why = doubt(book or Book(), alive)
    text = f"{len(offers)} offers, {len(alive)} machines with our tag"
    if why:
        return Found(f"provider.{name}", BAD, f"{text}: {why}")
    return Found(f"provider.{name}", GOOD, text)
