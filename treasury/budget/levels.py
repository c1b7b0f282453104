"""One level of a cost centre's tree as it stands now: what policies judge."""

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.ids import CostCentre
from treasury.domain.job import JobSpec
from treasury.domain.market import Offer


class Level(msgspec.Struct, frozen=True, gc=False):
    """A budget and its account's state. Money in micro-USD, burn in nano-USD/h, instants in ns.

    available: neither spent nor held. spent, held: of the present period. burn: the sum of
    the bids of all machines held below this level.
    """

    budget: Budget
    start: int
    end: int
    available: int
    held: int
    spent: int
    burn: int


class SpendRequest(msgspec.Struct, frozen=True, gc=False):
    """A wish to take machines. amount: what is to be held for all of them [micro-USD].

    rate: the offer's present rate, bid: the most we pay, both per machine [nano-USD/h].
    job_spent: what the job has cost and holds so far [micro-USD].
    """

    spec: JobSpec
    offer: Offer
    machines: int
    rate: int
    bid: int
    amount: int
    job_spent: int
    now: int

    @property
    def cost_centre(self) -> CostCentre:
        """Who pays."""
        return self.spec.cost_centre
