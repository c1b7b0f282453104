"""Large fleets: prices first, then integers, and a certificate with every plan.

Lives here: the allocation of thousands of jobs over thousands of offers as arrays. Jobs that are
alike form classes; prices (shadow prices of capacity, quotas, budgets, spread and churn) come from
a decomposition over classes; a plan in integers comes from rounding at those prices, repair, and
OR-Tools on the columns the prices select. May not live here: clocks (a caller that has one may pass
it in), dice, the book, the guard. numpy is imported here at once, OR-Tools by the first solve.

Read in this order: `arrays` (what goes in), `classes` (the problem), `columns`, `prices`, `fill`,
`rounding`, `polish`, `certificate`, `engine` (the whole), `explain`, `whatif`, `horizon`.
docs/optimizer.md derives it.
"""

from treasury.optimizer.flow.arrays import Instance, Jobs, Kinds, Offers, Rules
from treasury.optimizer.flow.engine import FlowEngine, FlowPlan, Settings
from treasury.optimizer.flow.explain import bids, bindings, explain, would_place
from treasury.optimizer.flow.horizon import Demand, Forecast, Outlook, look_ahead
from treasury.optimizer.flow.whatif import Change, Difference, what_if

__all__ = [
    "Change", "Demand", "Difference", "FlowEngine", "FlowPlan", "Forecast", "Instance", "Jobs",
    "Kinds", "Offers", "Outlook", "Rules", "Settings", "bids", "bindings", "explain", "look_ahead",
    "what_if", "would_place",
]  # fmt: skip
