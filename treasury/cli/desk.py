"""Changes made by hand: the engine is stepped on a database that no agent writes to.

The verbs that change something share this: open as the one writer, replay, step, append. What is
refused is a fact like any other and is kept.
"""

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from treasury.cli.output import AnyFunction
from treasury.domain.errors import StoreError

if TYPE_CHECKING:
    from treasury.cli.client import Client
    from treasury.domain.events import Input
    from treasury.domain.turn import Entry
    from treasury.engine import Book
    from treasury.store.sql import SqlStore

WRITES: Final = "Database to change; a daemon that leads it is asked to."
T = TypeVar("T")


class Led(StoreError):
    """Another process writes to the database."""


def db_option(
    text: str = "Database of the journal; it is only read.",
) -> Callable[[AnyFunction], AnyFunction]:
    """`--db PATH`, the variable TREASURY_DB, or treasury.db."""
    return click.option(
        "--db",
        default="treasury.db",
        envvar="TREASURY_DB",
        show_default=True,
        show_envvar=True,
        metavar="PATH",
        help=text,
    )


at_option = click.option(
    "--at", "at_text", metavar="INSTANT", help="When it counts from.  [default: now]"
)


def as_of_option(function: AnyFunction) -> AnyFunction:
    """`--as-of INSTANT`: what was known then."""
    return click.option(
        "--as-of", metavar="INSTANT", help="As it was known at an instant.  [default: the newest]"
    )(function)


def instant(option: str, text: str | None) -> int | None:
    """An option's instant [ns]. Raises BadValue that names the option."""
    from treasury.domain.errors import BadValue
    from treasury.domain.time import parse_instant

    if text is None:
        return None
    try:
        return parse_instant(text)
    except BadValue as error:
        raise BadValue(option, text, error.right) from error


@contextmanager
def reading(db: str) -> Iterator["SqlStore"]:
    """The store, for reading: looking never makes, migrates or locks a database."""
    from treasury.store import SqlStore

    store = SqlStore.open(db, read_only=True)
    try:
        yield store
    finally:
        store.close()


class Desk:
    """A book rebuilt from its journal, and the one hand that may change it."""

    def __init__(self, store: "SqlStore", at: int | None) -> None:
        from treasury.domain.errors import UserError
        from treasury.domain.time import format_instant
        from treasury.engine import replay

        self.book: Book = replay(store.entries())
        self.store = store
        self.now = time.time_ns() if at is None else at
        if self.now < self.book.now:
            raise UserError(
                f"{store.name}: its newest turn is of {format_instant(self.book.now)}, which is "
                f"after {format_instant(self.now)}: time does not go back; mend the clock,"
                " or say --at"
            )

    def step(self, *batch: "Input") -> "Entry":
        """One turn, committed, after a turn of what had become due by then: a change is judged, and
        its figures told, on books that are up to date. Raises StoreError."""
        from treasury.domain.events import Wake

        queues = (self.book.calendar, self.book.timers)
        if any(queue and queue[0][0] <= self.now for queue in queues):
            self._commit(Wake())
        return self._commit(*batch)

    def _commit(self, *batch: "Input") -> "Entry":
        from treasury.engine import step

        turn = step(self.book, batch, self.now)
        self.store.append(turn.entry)
        return turn.entry

    def cost_centre(self, name: str) -> Any:
        """A cost centre that is there. Raises NotFound with the nearest."""
        from treasury.domain.errors import NotFound, did_you_mean

        if name not in self.book.budgets:
            raise NotFound(f"no cost centre is called {name!r}; {did_you_mean(name, self.names)}")
        return name

    @property
    def names(self) -> list[str]:
        """Every cost centre."""
        return [str(centre) for centre in self.book.budgets]


@contextmanager
def desk(db: str, at_text: str | None) -> Iterator[Desk]:
    """A desk on a database that is there already. Raises Led when another process leads."""
    from treasury.store import SqlStore

    at = instant("--at", at_text)
    with reading(db):
        pass  # A mistyped path must not make an empty database.
    store = SqlStore.open(db)
    try:
        if not store.lead(f"{who()} at the command line"):
            raise Led(
                f"{store.name}: {store.leader!r} writes to it; stop it first,"
                " or wait a minute if it died"
            )
        yield Desk(store, at)
    finally:
        store.close()


def order(
    db: str, at_text: str | None, by_hand: Callable[[Desk], T], by_daemon: Callable[["Client"], T]
) -> T:
    """A change, made at the desk, or by the daemon that leads the database where one does: the one
    of the variables TREASURY_URL and TREASURY_STATE, or of ./treasury-state. Raises UserError."""
    from treasury.domain.errors import UserError

    try:
        with desk(db, at_text) as hand:
            return by_hand(hand)
    except Led as led:
        from treasury.cli.client import NoDaemon, find

        try:
            client = find()
        except NoDaemon as error:
            raise Led(f"{led}; it could make the change itself, but {error}") from led
        if at_text is not None:
            raise UserError(f"--at {at_text!r}: a running daemon makes changes now") from led
        return by_daemon(client)


def who() -> str:
    """Who changes something: the name the system knows the user by."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return "cli"
