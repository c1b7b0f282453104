"""Every operation of the API, in one table: the router and the OpenAPI document are made of it."""

from typing import Any, Final

from treasury.domain.plan import Snapshot
from treasury.jobfile.schema import JOB_SCHEMA
from treasury.web import jobs, market, money, streams, system
from treasury.web.routes import Route
from treasury.web.views import BudgetRow, JobDetail

_FREE: Final[dict[str, Any]] = {"type": "object"}


def _order(path: str, handler: Any, summary: str, body: Any, reply: Any, **more: Any) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        role="admin",
        body=body,
        reply=reply,
        **more,
    )


def _look(path: str, handler: Any, summary: str, reply: Any, **more: Any) -> Route:
    return Route(method="GET", path=path, handler=handler, summary=summary, reply=reply, **more)


ROUTES: Final = (
    _look("/v1/status", system.status, "How the daemon is", _FREE),
    _look("/v1/jobs", jobs.list_jobs, "Jobs in queue order", jobs.Jobs, query=jobs.JobsQuery),
    _order(
        "/v1/jobs",
        jobs.submit,
        "Submit a job",
        JOB_SCHEMA,
        jobs.Submitted,
        query=jobs.SubmitQuery,
        status=201,
    ),
    _look("/v1/jobs/{job}", jobs.show_job, "One job", JobDetail, errors=(404, 409)),
    _order("/v1/jobs/{job}/cancel", jobs.cancel, "End a job", jobs.Order, jobs.Done),
    _order(
        "/v1/jobs/{job}/preempt",
        jobs.preempt,
        "Stop a job at a checkpoint and queue it again",
        jobs.Order,
        jobs.Done,
    ),
    _order(
        "/v1/jobs/{job}/move",
        jobs.move,
        "Place a queued job on an offer, or migrate a running one",
        jobs.Move,
        jobs.Done,
    ),
    _order(
        "/v1/jobs/{job}/approve",
        jobs.approve,
        "Say yes to a job that waits for a person",
        jobs.Order,
        jobs.Done,
    ),
    _look(
        "/v1/jobs/{job}/logs",
        streams.logs,
        "What a job wrote",
        "text/plain",
        query=streams.LogsQuery,
        errors=(404,),
        streams=True,
    ),
    _look(
        "/v1/events",
        streams.events,
        "What happened: a page of turns, or a stream of them",
        streams.Events,
        query=streams.EventsQuery,
        streams=True,
    ),
    _look(
        "/v1/offers",
        market.list_offers,
        "Offers with their prices",
        market.Offers,
        query=market.OffersQuery,
    ),
    _look("/v1/leases", market.list_leases, "Machines", market.Leases),
    _look("/v1/snapshot", market.show_snapshot, "What a strategy would see now", Snapshot),
    _look("/v1/budgets", money.list_budgets, "Budgets as a tree", money.Budgets),
    _order(
        "/v1/budgets/{centre}/change",
        money.change_budget,
        "Give a cost centre more, or take back, for this period",
        money.ChangeBudget,
        BudgetRow,
    ),
    _order(
        "/v1/budgets/{centre}/freeze",
        money.freeze_budget,
        "Let a cost centre take no new machines, or let it again",
        money.FreezeBudget,
        BudgetRow,
    ),
    _order(
        "/v1/bills",
        money.book_bills,
        "Take parts of a provider's bill into the books",
        money.BookBills,
        money.BillsBooked,
    ),
    _order(
        "/v1/providers/{provider}/drain",
        market.drain,
        "Leave a provider, or have it back",
        market.Drain,
        market.Drained,
    ),
    _order(
        "/v1/conduct",
        market.set_conduct,
        "Carry plans out, only write them down, or make none",
        market.SetConduct,
        market.Conduct,
    ),
    _order(
        "/v1/reload",
        system.reload,
        "Read the configuration again",
        system.Reload,
        system.Reloaded,
    ),
    _look(
        "/v1/node.pyz",
        system.bundle,
        "The node agent",
        "application/zip",
        role="open",
        errors=(404,),
    ),
    _look("/healthz", system.health, "Whether the loop answers", system.Health, role="open"),
    _look("/readyz", system.ready, "Whether it leads and is ready", system.Health, role="open"),
    _look("/metrics", system.metrics, "Prometheus' text format", "text/plain"),
    _look("/", system.show_page, "The live page", "text/html", role="open"),
)
