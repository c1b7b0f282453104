"""Prometheus' page. Counters are told by the shell; gauges are read from the book when asked for.

Labels are names from the configuration or words from our own lists, and bounded besides: what is
beyond the bound is added up under "other".
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from treasury.domain import events as e
from treasury.domain.ids import LeaseId
from treasury.domain.lease import LeaseState
from treasury.domain.money import MICRO
from treasury.domain.time import SECOND
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.ledger.chart import expense
from treasury.runtime.observer import Observer

# A second series for each counter that says when it began is of no use to anyone here.
disable_created_metrics()  # type: ignore[no-untyped-call] # theirs has no annotations
# Values of one label at most.
LABELS_MAX: Final = 200
OTHER: Final = "other"

_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SLOW: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics(Observer):
    """One daemon's metrics. book: the agent's, None before it leads."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self._provider_of: dict[LeaseId, str] = {}
        self.registry = registry = CollectorRegistry()
        self._turn = Histogram(
            "treasury_turn_seconds",
            "Deciding one turn",
            registry=registry,
            buckets=_FAST,
        )
        self._commit = Histogram(
            "treasury_commit_seconds", "Committing one turn", registry=registry, buckets=_FAST
        )
        self._inputs = Counter("treasury_inputs", "Inputs decided on", registry=registry)
        self._depth = Gauge("treasury_inbox_depth", "Inputs that wait", registry=registry)
        self._plan = Histogram(
            "treasury_plan_seconds", "A strategy's answer", registry=registry, buckets=_SLOW
        )
        self._plans = Counter(
            "treasury_plans", "Questions to the strategy", ["outcome"], registry=registry
        )
        self._calls = Histogram(
            "treasury_provider_call_seconds",
            "Requests to providers and runners that succeeded",
            ["provider", "call"],
            registry=registry,
            buckets=_SLOW,
        )
        self._errors = Counter(
            "treasury_provider_errors",
            "Requests that failed",
            ["provider", "kind"],
            registry=registry,
        )
        self._quiet = Counter(
            "treasury_feed_quiet", "Feeds that fell silent", ["provider", "feed"], registry=registry
        )
        self._halted = Gauge(
            "treasury_halted", "The circuit breaker is open", ["provider"], registry=registry
        )
        self._leader = Gauge("treasury_leader", "This process leads", registry=registry)
        self._skew = Gauge(
            "treasury_clock_skew_seconds",
            "How far the wall clock is ahead of the one that is followed",
            registry=registry,
        )
        self._store = Counter(
            "treasury_store_errors", "Commits that failed and are repeated", registry=registry
        )
        self._reloads = Counter(
            "treasury_reloads", "Changed configurations", ["outcome"], registry=registry
        )
        self._refusals = Counter(
            "treasury_refusals", "Actions the guard refused", ["why"], registry=registry
        )
        self._interruptions = Counter(
            "treasury_interruptions", "Machines that markets took", ["provider"], registry=registry
        )
        self._ended = Counter(
            "treasury_jobs_ended", "Jobs that ended", ["state"], registry=registry
        )
        self._discrepancies = Counter(
            "treasury_discrepancies", "The world and the book disagreed", registry=registry
        )
        registry.register(_BookCollector(lambda: self.book))

    def page(self) -> bytes:
        """The page. Call it on the agent's loop."""
        return generate_latest(self.registry)

    # --- what the shell tells --------------------------------------------------------------------

    def turned(
        self, entry: Entry, book: Book, *, inputs: int, step_ns: int, commit_ns: int
    ) -> None:
        """Durations, and facts that are counted."""
        self.book = book
        self._turn.observe(step_ns / SECOND)
        self._commit.observe(commit_ns / SECOND)
        self._inputs.inc(inputs)
        for fact in entry.facts:
            if isinstance(fact, e.PlacementOpened):
                bought = book.offers[fact.offer].offer.provider
                self._provider_of |= dict.fromkeys(fact.leases, str(bought))
            elif isinstance(fact, e.ActionRefused):
                self._refusals.labels(fact.why.value).inc()
            elif isinstance(fact, e.JobEnded):
                self._ended.labels(fact.state).inc()
            elif isinstance(fact, e.Discrepancy):
                self._discrepancies.inc()
            elif isinstance(fact, e.LeaseEnded):
                # A machine that is over has left the book by the time its turn is told.
                provider = self._provider_of.pop(fact.lease, OTHER)
                if fact.lost:
                    self._interruptions.labels(provider).inc()

    def queued(self, depth: int) -> None:
        """The inbox."""
        self._depth.set(depth)

    def store_failed(self, error: Exception, retry_ns: int) -> None:
        """A commit is repeated."""
        del error, retry_ns
        self._store.inc()

    def planned(self, version: int, actions: int, took_ns: int) -> None:
        """A plan came."""
        del version, actions
        self._plan.observe(took_ns / SECOND)
        self._plans.labels("plan").inc()

    def plan_failed(self, version: int, why: str) -> None:
        """No plan came."""
        del version, why
        self._plans.labels("failed").inc()

    def called(self, provider: str, what: str, took_ns: int) -> None:
        """A request succeeded."""
        self._calls.labels(provider, what).observe(took_ns / SECOND)

    def failed(self, provider: str, what: str, error: BaseException) -> None:
        """A request failed."""
        del what
        self._errors.labels(provider, type(error).__name__).inc()

    def quiet(self, provider: str, feed: str, for_ns: int) -> None:
        """A feed fell silent."""
        del for_ns
        self._quiet.labels(provider, feed).inc()

    def halted(self, provider: str, why: str) -> None:
        """The circuit breaker."""
        self._halted.labels(provider).set(1 if why else 0)

    def led(self, leads: bool, leader: str) -> None:
        """Leadership."""
        del leader
        self._leader.set(1 if leads else 0)

    def skewed(self, ahead_ns: int, *, degraded: bool) -> None:
        """The clock."""
        del degraded
        self._skew.set(ahead_ns / SECOND)

    def reloaded(self, changes: tuple[str, ...]) -> None:
        """A configuration was taken."""
        del changes
        self._reloads.labels("taken").inc()

    def reload_failed(self, error: Exception) -> None:
        """A configuration was not taken."""
        del error
        self._reloads.labels("refused").inc()


class _BookCollector(Collector):
    """Gauges of the moment."""

    def __init__(self, book: Callable[[], Book | None]) -> None:
        self._book = book

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first turn."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read the book."""
        book = self._book()
        if book is None:
            return
        jobs: dict[str, int] = {}
        for job in book.jobs.values():
            jobs[job.state.value] = jobs.get(job.state.value, 0) + 1
        yield _family(
            "treasury_jobs", "Active jobs", ("state",), {(k,): v for k, v in jobs.items()}
        )
        leases: dict[tuple[str, ...], float] = {}
        burn: dict[tuple[str, ...], float] = {}
        for lease in book.leases.values():
            key = (lease.provider, lease.state.value)
            leases[key] = leases.get(key, 0) + 1
            if lease.state in (LeaseState.GRANTED, LeaseState.READY):
                who = (book.placements[lease.placement].cost_centre,)
                burn[who] = burn.get(who, 0) + lease.rate / (1_000 * MICRO)
        yield _family("treasury_leases", "Machines", ("provider", "state"), leases)
        yield _family(
            "treasury_burn_usd_per_hour", "What running machines cost", ("cost_centre",), burn
        )
        offers: dict[tuple[str, ...], float] = {}
        for record in book.offers.values():
            offers[(record.offer.provider,)] = offers.get((record.offer.provider,), 0) + 1
        yield _family("treasury_offers", "Offers known", ("provider",), offers)
        yield from _money(book)


def _money(book: Book) -> Iterator[Metric]:
    spent: dict[tuple[str, ...], float] = {}
    prefix = expense("c", "p").rpartition("c:")[0]
    for path, account in book.ledger.accounts.items():
        if path.startswith(prefix):
            centre = path[len(prefix) :].partition(":")[0]
            # Refunds are subtracted where money is reckoned; a counter may only rise.
            spent[(centre,)] = spent.get((centre,), 0) + account.debit_posted / MICRO
    yield _family(
        "treasury_spend_usd", "What machines cost", ("cost_centre",), spent, CounterMetricFamily
    )
    available: dict[tuple[str, ...], float] = {}
    held: dict[tuple[str, ...], float] = {}
    limit: dict[tuple[str, ...], float] = {}
    for centre in book.budgets:
        level = book.level(centre)
        available[(str(centre),)] = level.available / MICRO
        held[(str(centre),)] = level.held / MICRO
        limit[(str(centre),)] = level.limit / MICRO
    label = ("cost_centre",)
    yield _family("treasury_budget_available_usd", "Neither spent nor held", label, available)
    yield _family("treasury_budget_held_usd", "Held for running machines", label, held)
    yield _family("treasury_budget_limit_usd", "The period's amount", label, limit)


def _family(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: dict[tuple[str, ...], float],
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily,
) -> Metric:
    """A metric of bounded size: the largest values keep their names."""
    family = kind(name, text, labels=labels)
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    for key, value in sorted(ranked[:LABELS_MAX]):
        family.add_metric(key, value)
    rest = sum(value for _, value in ranked[LABELS_MAX:])
    if ranked[LABELS_MAX:]:
        family.add_metric((OTHER,) * len(labels), rest)
    return family
