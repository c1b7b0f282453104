"""Running the cases: each on its own, cleaned up after, the adapter closed at the end."""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable, Collection
from typing import Final, NamedTuple

from treasury.domain.errors import BadValue, TreasuryError
from treasury.domain.ids import OfferId
from treasury.ports import Clock, Provider
from treasury_simulations.conformance import (
    cases_acquire,
    cases_faults,
    cases_market,
    cases_release,
)
from treasury_simulations.conformance.bench import Bench, CaseFailedError, CaseSkippedError
from treasury_simulations.conformance.counterpart import Counterpart
from treasury_simulations.conformance.report import Outcome, Report, Result


class Case(NamedTuple):
    """A case: its number, what it shows, and what tries it."""

    number: str
    title: str
    run: Callable[[Bench], Awaitable[None]]


CASES: Final = (
    Case("C01", "offers are complete, sound and stable", cases_market.offers),
    Case(
        "C02", "quotes are of the catalogue, plausible and not of the future", cases_market.quotes
    ),
    Case("C03", "a machine is listed with our lease, placement and token", cases_acquire.listed),
    Case("C04", "the same token twice is one machine", cases_acquire.same_token),
    Case("C05", "release twice, and of what is unknown, is success", cases_release.twice),
    Case("C06", "a gang is all or nothing", cases_acquire.gang),
    Case("C07", "no capacity is NoCapacity, and nothing was bought", cases_faults.no_capacity),
    Case("C08", "a lost answer is OutcomeUnknown, and then listed", cases_faults.lost_answer),
    Case("C09", "a throttle is Throttled, and nothing was bought", cases_faults.throttled),
    Case("C10", "a server's error is never taken for success", cases_faults.unavailable),
    Case("C11", "half a listing raises", cases_faults.half_page),
    Case("C12", "listings lag no more than the capabilities say", cases_release.lag),
    Case("C13", "an interruption is noticed once, and ends the lease", cases_release.interruption),
    Case("C14", "a bid below the price is BidTooLow", cases_acquire.low_bid),
    Case("C15", "a change of bid is taken or declined", cases_acquire.rebid),
    Case("C16", "other people's machines are neither listed nor released", cases_release.foreign),
    Case("C17", "no secret in errors or logs", cases_faults.secrets),
    Case("C18", "our own limit is QuotaReached", cases_faults.quota),
    Case("C19", "a cancelled acquire leaves nothing that is not listed", cases_acquire.cancelled),
    Case("C20", "rubbish for an answer is an error of the market's", cases_faults.garbage),
    Case("C21", "forbidden is NotPermitted", cases_faults.forbidden),
    Case("C22", "a gang's machines go one by one", cases_release.one_of_a_gang),
    Case("C23", "closing twice is fine", cases_release.close),
)


async def run(
    provider: Provider,
    counterpart: Counterpart | None,
    *,
    clock: Clock | None = None,
    buy: OfferId | None = None,
    only: Collection[str] = (),
    run_name: str = "conformance",
) -> Report:
    """Try every case, or `only` those with these numbers; afterwards the adapter is closed.

    clock: the site's, where there is no counterpart. buy: an offer to buy machines of, on a real
    market: it costs money. run_name: what tokens are made of; a second run needs another.
    """
    clock = clock or (None if counterpart is None else counterpart.clock)
    if clock is None:
        raise BadValue("clock", None, "the site's clock where there is no counterpart")
    bench = Bench(provider, counterpart, clock, buy, run_name)
    ears = _Ears()
    root = logging.getLogger()
    level = root.level
    root.addHandler(ears)
    # What people log in production, whatever this process was set to.
    root.setLevel(min(level, logging.INFO))
    bench.heard = ears.lines
    try:
        results = [await _try(case, bench) for case in CASES if not only or case.number in only]
    finally:
        root.setLevel(level)
        root.removeHandler(ears)
        # Whether it may be closed again is a case of its own.
        with contextlib.suppress(Exception):
            await provider.close()
    return Report(provider.name, tuple(results))


async def _try(case: Case, bench: Bench) -> Result:
    outcome, detail = Outcome.PASSED, ""
    try:
        await case.run(bench)
    except CaseSkippedError as error:
        outcome, detail = Outcome.SKIPPED, str(error)
    except CaseFailedError as error:
        outcome, detail = Outcome.FAILED, str(error)
    except (TreasuryError, Exception) as error:  # noqa: BLE001 - a stranger's code may do anything
        outcome, detail = Outcome.FAILED, _place(error)
    try:
        if case.run is not cases_release.close:
            await asyncio.wait_for(bench.clean(), 120)
    except (CaseFailedError, Exception) as error:  # noqa: BLE001 - as above
        if outcome is not Outcome.FAILED:
            outcome, detail = Outcome.FAILED, f"cannot be cleaned up after: {_place(error)}"
    return Result(case.number, case.title, outcome, detail)


def _place(error: BaseException) -> str:
    """An unexpected exception in one line, with where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


class _Ears(logging.Handler):
    """Keeps what is logged while the cases run, to be searched for secrets."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
