"""A provider's bill, cut into the parts that go together in the books."""

import msgspec

from treasury.domain.ids import CostCentre, JobId, LeaseId, OfferId, ProviderName


class BilledLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill. key: what it is, in a hash that does not depend on its amount, so that a
    restated line is known again. amount: exact decimal text in USD: bills are finer than a micro.
    """

    key: str
    amount: str


class BillPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill says about one lease, or about a cost centre where `lease` is None.

    lines: those that are new, or whose amount is not what it was. covered: the stretches of time
    [start, end) in ns that all lines known so far speak of. total: their exact sum, billed: the
    same in micro-USD; booked: what the journal charged for those stretches. difference: what this
    part adds, so that all parts of a lease come to billed - booked. causes: what explains it; the
    amounts add up to it.
    """

    provider: ProviderName
    cost_centre: CostCentre
    lines: tuple[BilledLine, ...]
    covered: tuple[tuple[int, int], ...]
    total: str
    billed: int
    booked: int
    difference: int
    causes: tuple[tuple[str, int], ...] = ()
    lease: LeaseId | None = None
    job: JobId = JobId("")
    offer: OfferId = OfferId("")
    machine: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    invoice: str = ""
