"""Does an adapter keep the promises of the `Provider` port? Numbered cases that anybody can run.

Lives here: the cases, what a counterpart must be able to do for them, the report. May not live
here: anything that knows one market; counterparts of our own markets are tests.

`run(provider, counterpart)` tries every case; capabilities, and what the counterpart can do, decide
which are left out and why. Without a counterpart the market is real: nothing is bought unless an
offer to buy is named.
"""

from treasury_simulations.conformance.counterpart import Counterpart, Fault, Made, Operation
from treasury_simulations.conformance.report import Outcome, Report, Result
from treasury_simulations.conformance.suite import CASES, run

__all__ = [
    "CASES",
    "Counterpart",
    "Fault",
    "Made",
    "Operation",
    "Outcome",
    "Report",
    "Result",
    "run",
]
