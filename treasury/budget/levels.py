"""One level of a cost centre's tree as it stands now: what policies judge."""

import msgspec

from treasury.domain.budget import Budget
from treasury.domain.ids import CostCentre
from treasury.domain.job import JobSpec
from treasury.domain.market import Offer


class Level(msgspec.Struct, frozen=True, gc=False):
    """A budget and its account's state. Money in micro-USD, burn in nano-USD/h, instants in ns.

    limit: the period's amount with all that was added to it. available: neither spent nor held.
    spent, held: of the present period. burn: the sum of the bids of all machines held below this
    level. spent_today: since local midnight. lendable: what siblings could lend.
    """

    budget: Budget
    start: int
    end: int
    limit: int
    available: int
    held: int
    spent: int
    burn: int
    spent_today: int = 0
    lendable: int = 0
    frozen: bool = False


class SpendRequest(msgspec.Struct, frozen=True, gc=False):
    """A wish to take machines. amount: what is to be held for all of them [micro-USD].

    rate: the offer's present rate, bid: the most we pay, both per machine [nano-USD/h].
    job_spent: what the job has cost and holds so far [micro-USD]. estimate: what it is expected
    to cost in all at the present rate [micro-USD]. approved: a person has said yes to it.
    replaces: the bid [nano-USD/h] per machine that this one takes the place of, 0 for new machines.
    """

    spec: JobSpec
    offer: Offer
    machines: int
    rate: int
    bid: int
    amount: int
    job_spent: int
    now: int
    estimate: int = 0
    approved: bool = False
    replaces: int = 0

    @property
    def cost_centre(self) -> CostCentre:
        """Who pays."""
        return self.spec.cost_centre
