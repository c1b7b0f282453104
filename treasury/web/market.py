"""Markets and machines: offers, leases, the snapshot, providers that are left."""

from typing import Any

import msgspec

from treasury.domain import events as e
from treasury.domain.budget import Mode
from treasury.domain.errors import did_you_mean
from treasury.domain.ids import ProviderName
from treasury.domain.plan import JobView, Snapshot
from treasury.engine import snapshot
from treasury.web.idempotency import Attempt
from treasury.web.problems import refused
from treasury.web.routes import Call
from treasury.web.views import Machine, OfferRow, machine_row, offer_rows


class OffersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which offers; empty for all."""

    gpu: str = ""
    provider: str = ""
    region: str = ""
    tenure: str = ""


class Offers(msgspec.Struct, frozen=True):
    """Offers, those of one accelerator together, the best value first."""

    offers: tuple[OfferRow, ...]


class Leases(msgspec.Struct, frozen=True):
    """Machines that are held or asked for."""

    leases: tuple[Machine, ...]


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """drained: whether the provider is to be left, or to be had again."""

    drained: bool = True
    by: str = ""


class Drained(msgspec.Struct, frozen=True):
    """A provider after the order. machines: how many are still held there."""

    provider: str
    drained: bool
    machines: int


class SetConduct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """conduct: whether plans are carried out, only written down, or not made."""

    conduct: Mode
    by: str = ""


class Conduct(msgspec.Struct, frozen=True):
    """How plans are treated now. machines: how many are held; rate: what they cost in all
    [nano-USD/h]: they go on, and are paid for, in each conduct."""

    conduct: Mode
    machines: int
    rate: int


async def list_offers(call: Call) -> Offers:
    """Offers with their prices."""
    query = call.query
    wanted = {
        "gpu": query.gpu,
        "provider": query.provider,
        "region": query.region,
    }
    return Offers(
        tuple(
            row
            for row in offer_rows(call.book, call.now)
            if all(not value or getattr(row, name) == value for name, value in wanted.items())
            and query.tenure in {"", row.tenure.value}
        )
    )


async def list_leases(call: Call) -> Leases:
    """Machines."""
    return Leases(tuple(machine_row(call.book, lease) for lease in call.book.leases.values()))


async def show_snapshot(call: Call) -> Snapshot:
    """What a strategy would see now. What jobs run is left out: no strategy looks at it."""
    found = snapshot(call.book, call.now)
    return msgspec.structs.replace(found, jobs=tuple(map(_without_task, found.jobs)))


def _without_task(view: JobView) -> JobView:
    return msgspec.structs.replace(view, spec=msgspec.structs.replace(view.spec, task=None))


async def drain(call: Call) -> Any:
    """Leave a provider, or have it back."""
    order, name = call.body(), ProviderName(call.name("provider"))
    by = call.by(order.by)

    async def act(_attempt: Attempt) -> Drained:
        book = call.book
        known = {record.offer.provider: None for record in book.offers.values()}
        if name not in known and name not in book.drained:
            hint = did_you_mean(name, known)
            raise refused(404, f"no provider is called {name!r}; {hint}", right=hint)
        await call.house.agent.submit(e.DrainProvider(name, order.drained, by))
        machines = sum(lease.provider == name for lease in book.leases.values())
        return Drained(name, name in book.drained, machines)

    return await call.once(act)


async def set_conduct(call: Call) -> Any:
    """Carry plans out, only write them down, or make none."""
    order = call.body()
    by = call.by(order.by)

    async def act(_attempt: Attempt) -> Conduct:
        await call.house.agent.submit(e.SetConduct(order.conduct, by))
        leases = call.book.leases.values()
        return Conduct(call.book.conduct, len(leases), sum(lease.rate for lease in leases))

    return await call.once(act)
