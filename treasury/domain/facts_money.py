"""Facts about budgets, markets and money: see `events`.

Instants and durations are ns, money micro-USD, rates nano-USD/h.
"""

import msgspec

from treasury.domain.bill import BillPart
from treasury.domain.budget import Budget
from treasury.domain.ids import (
    CostCentre,
    JobId,
    LeaseId,
    OfferId,
    PlacementId,
    ProviderName,
)
from treasury.domain.market import Offer, Quote
from treasury.domain.plan import Why
from treasury.domain.settings import EngineSettings


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """The engine's settings and budgets from here on."""

    settings: EngineSettings
    budgets: tuple[Budget, ...]


class PeriodOpened(msgspec.Struct, frozen=True, tag="period_opened"):
    """A budget's period [start, end) began; the turn's transfers fund it.

    base: credits its account had posted by then; what comes on top is this period's spending.
    carried: what the last period left to this one. steps: what each step of a rolling window
    spent, oldest first.
    """

    cost_centre: CostCentre
    start: int
    end: int
    base: int
    carried: int = 0
    steps: tuple[int, ...] = ()


class DayOpened(msgspec.Struct, frozen=True, tag="day_opened"):
    """A budget with a cap a day began a day [start, end); base as in PeriodOpened."""

    cost_centre: CostCentre
    start: int
    end: int
    base: int


class BudgetChanged(msgspec.Struct, frozen=True, tag="budget_changed"):
    """A cost centre got `amount` [micro-USD] more this period, from `source` or from nothing."""

    cost_centre: CostCentre
    amount: int
    by: str
    source: CostCentre | None


class BudgetResized(msgspec.Struct, frozen=True, tag="budget_resized"):
    """The configured amount changed within a period; `returned` [micro-USD] of it was free and
    went back."""

    cost_centre: CostCentre
    returned: int


class BudgetChangeRefused(msgspec.Struct, frozen=True, tag="budget_change_refused"):
    """A change of budget was not made, and why."""

    cost_centre: CostCentre
    amount: int
    by: str
    why: str


class BudgetFrozen(msgspec.Struct, frozen=True, tag="budget_frozen"):
    """A cost centre may take no new machines, or may again."""

    cost_centre: CostCentre
    frozen: bool
    by: str


class BudgetLent(msgspec.Struct, frozen=True, tag="budget_lent"):
    """A cost centre borrowed `amount` [micro-USD] from a sibling; negative when it gave back."""

    lender: CostCentre
    borrower: CostCentre
    amount: int


class SoftCapReached(msgspec.Struct, frozen=True, tag="soft_cap_reached"):
    """Spent and held [micro-USD] passed the soft cap of the period; written once a period."""

    cost_centre: CostCentre
    limit: int
    held: int
    spent: int


class RefusalTolerated(msgspec.Struct, frozen=True, tag="refusal_tolerated"):
    """What enforcement would have refused, by a budget that only observes or recommends."""

    job: JobId
    why: Why
    message: str
    cost_centre: CostCentre | None
    asked: int


class BillBooked(msgspec.Struct, frozen=True, tag="bill_booked"):
    """A part of a bill was taken into the books; the turn's transfer books its difference."""

    number: int
    part: BillPart
    by: str


class OffersListed(msgspec.Struct, frozen=True, tag="offers_listed"):
    """A provider's catalogue was taken into the book."""

    provider: ProviderName
    offers: tuple[Offer, ...]


class Quoted(msgspec.Struct, frozen=True, tag="quoted"):
    """Quotes were believed."""

    quotes: tuple[Quote, ...]


class QuoteRejected(msgspec.Struct, frozen=True, tag="quote_rejected"):
    """A quote was not believed, and why."""

    offer: OfferId
    rate: int
    why: str


class OfferQuarantined(msgspec.Struct, frozen=True, tag="offer_quarantined"):
    """An offer is left alone until an instant."""

    offer: OfferId
    until: int
    error: str


class PlanRequested(msgspec.Struct, frozen=True, tag="plan_requested"):
    """A strategy is to be asked about snapshot `version`."""

    version: int


class PlanTaken(msgspec.Struct, frozen=True, tag="plan_taken"):
    """A plan came back: how many of its actions were let through and how many refused."""

    version: int
    approved: int
    refused: int
    review_at: int | None


class LeaseMetered(msgspec.Struct, frozen=True, tag="lease_metered"):
    """The charge so far [micro-USD] recomputed from the grant up to `until`; the turn's transfers
    post the difference. accrued: the exact sum of rate x time [nano-USD/h x ns] behind it."""

    lease: LeaseId
    until: int
    accrued: int
    charge: int
    rate: int
    holds: tuple[int, ...]


class BidChanged(msgspec.Struct, frozen=True, tag="bid_changed"):
    """The most we pay per machine of a placement changed."""

    placement: PlacementId
    bid: int


class ActionRefused(msgspec.Struct, frozen=True, tag="action_refused"):
    """The guard refused an action: budget, level and amounts in micro-USD."""

    job: JobId
    why: Why
    message: str
    cost_centre: CostCentre | None
    limit: int
    held: int
    spent: int
    asked: int
    fits_at: int | None


class Discrepancy(msgspec.Struct, frozen=True, tag="discrepancy"):
    """The world and the book disagree about something; the text says what was done about it."""

    what: str
