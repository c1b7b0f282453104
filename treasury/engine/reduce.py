"""Reduce: the only way facts change the book. No decisions here: a fact says all there is."""

from collections.abc import Callable, Iterable
from heapq import heappop
from typing import Any

from treasury.domain import events as e
from treasury.domain.turn import Entry
from treasury.engine import reduce_money, reduce_work
from treasury.engine.book import Book
from treasury.engine.moves import plan_by


def _nothing(book: Book, fact: Any) -> None:
    """Facts kept for people: they change nothing the engine decides by."""


REDUCERS: dict[type, Callable[[Book, Any], None]] = {
    **reduce_money.REDUCERS,
    **reduce_work.REDUCERS,
    e.BudgetChangeRefused: _nothing,
    e.QuoteRejected: _nothing,
    e.JobRejected: _nothing,
    e.LeaseNoticed: _nothing,
    e.Discrepancy: _nothing,
}


def reduce(book: Book, fact: e.Fact) -> None:
    """Take one fact into the book."""
    REDUCERS[type(fact)](book, fact)


def begin(book: Book, now: int) -> None:
    """Open a turn: the next sequence number, the instant, and the plans that have become due."""
    book.seq += 1
    book.now = now
    timers = book.plan_timers
    while timers and timers[0] <= now:
        heappop(timers)
        if book.queued:
            plan_by(book, now)


def take(book: Book, entry: Entry) -> None:
    """Take one journalled turn into the book."""
    begin(book, entry.at)
    for transfer in entry.transfers:
        book.ledger.apply(transfer)
    for fact in entry.facts:
        reduce(book, fact)


def replay(entries: Iterable[Entry]) -> Book:
    """The book that a journal describes."""
    book = Book()
    for entry in entries:
        take(book, entry)
    return book
