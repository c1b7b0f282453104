"""Journals for hledger, ledger and beancount, strict enough that one micro-unit counts.

Every account, currency and payee is declared before it is used, each movement of a wallet asserts
its balance, and beancount gets a closing assertion for each account with the tolerance `~ 0`: left
out, it would forgive the last digit.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from treasury.domain.time import DAY, format_instant, to_datetime
from treasury.domain.turn import Entry
from treasury.finops.postings import Transaction, decimal, transactions

_ASSETS: Final = "assets:"


def journal(entries: Iterable[Entry], *, holds: bool = True) -> Iterator[str]:
    """Text, a piece a transaction, that both `hledger check -s ordereddates payees` and
    `ledger --strict --pedantic` accept."""
    balances: dict[str, int] = {}
    known: set[tuple[str, str]] = set()

    def declare(what: str, name: str, detail: str = "") -> Iterator[str]:
        if (what, name) not in known:
            known.add((what, name))
            yield f"{what} {name}\n{detail}"

    for item in transactions(entries, holds=holds):
        transfer = item.transfer
        currency = transfer.currency
        yield from declare("commodity", currency, f"    format 1000.000000 {currency}\n")
        yield from declare("payee", transfer.reason)
        for posting in item.postings:
            yield from declare("account", posting.account)
        lines = [
            f"\n{_day(item.recorded_at)} * ({transfer.id}) {transfer.reason}",
            f"    ; {', '.join(f'{name}:{value}' for name, value in _details(item))}",
        ]
        for posting in item.postings:
            account = posting.account
            balances[account] = balance = balances.get(account, 0) + posting.amount
            line = f"    {account}  {decimal(posting.amount)} {currency}"
            if account.startswith(_ASSETS):
                line += f" = {decimal(balance)} {currency}"
            lines.append(line)
        yield "\n".join(lines) + "\n"


def beancount(entries: Iterable[Entry], *, holds: bool = True) -> Iterator[str]:
    """Text, a piece a transaction, that `bean-check` accepts."""
    names = _Names()
    balances: dict[tuple[str, str], int] = {}
    last = 0
    yield 'option "title" "treasury"\noption "operating_currency" "USD"\n'
    for item in transactions(entries, holds=holds):
        transfer, last = item.transfer, item.recorded_at
        for posting in item.postings:
            if posting.account not in names.given:
                name = names.name(posting.account)
                yield f'1970-01-01 open {name}\n  path: "{posting.account}"\n'
        lines = [f'\n{_day(last)} * "{_quoted(transfer.reason)}" "transfer {transfer.id}"']
        lines += [f'  {name}: "{_quoted(value)}"' for name, value in _details(item)]
        for posting in item.postings:
            key = (names.name(posting.account), transfer.currency)
            balances[key] = balances.get(key, 0) + posting.amount
            lines.append(f"  {key[0]}  {decimal(posting.amount)} {transfer.currency}")
        yield "\n".join(lines) + "\n"
    # An assertion counts from the beginning of its day.
    closing = _day(last + DAY)
    for (name, currency), balance in sorted(balances.items()):
        yield f"\n{closing} balance {name}  {decimal(balance)} ~ 0 {currency}\n"


def _details(item: Transaction) -> Iterator[tuple[str, str]]:
    """What a transaction says beside its amounts."""
    transfer = item.transfer
    yield "kind", transfer.kind.value
    yield "turn", str(item.seq)
    yield "recorded", format_instant(item.recorded_at)
    yield "happened", format_instant(transfer.event_at)
    if transfer.refers is not None:
        yield "of", str(transfer.refers)
    if transfer.lease is not None:
        yield "lease", str(transfer.lease)


def _day(instant: int) -> str:
    return to_datetime(instant).strftime("%Y-%m-%d")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Names:
    """Beancount's names for our accounts: parts begin with a capital or a digit and hold letters,
    digits and dashes. Two of ours never share one; `path` in the file tells which is which."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self._taken: set[str] = set()

    def name(self, account: str) -> str:
        """The same name each time."""
        if account not in self.given:
            plain = ":".join(_part(part) for part in account.split(":"))
            name, number = plain, 1
            while name in self._taken:
                number += 1
                name = f"{plain}-{number}"
            self._taken.add(name)
            self.given[account] = name
        return self.given[account]


def _part(text: str) -> str:
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in text)
    first = plain[0].upper()
    return first + plain[1:] if first != "-" else f"X{plain}"
