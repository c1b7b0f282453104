"""Events: inputs from the world, and facts, which are the only things that change the book.

Inputs say what somebody claims; `engine.step` checks them and emits facts. Facts hold everything
`engine.reduce` needs, so that the journal alone rebuilds the book.
"""

from treasury.domain.facts_money import (
    ActionRefused,
    BidChanged,
    BillBooked,
    BudgetChanged,
    BudgetChangeRefused,
    BudgetFrozen,
    BudgetLent,
    BudgetResized,
    Configured,
    DayOpened,
    Discrepancy,
    LeaseMetered,
    OfferQuarantined,
    OffersListed,
    PeriodOpened,
    PlanRequested,
    PlanTaken,
    Quoted,
    QuoteRejected,
    RefusalTolerated,
    SoftCapReached,
)
from treasury.domain.facts_work import (
    DeadlineMissed,
    JobApproved,
    JobEnded,
    JobQueued,
    JobRejected,
    JobRequeued,
    JobWaits,
    LeaseEnded,
    LeaseNoticed,
    LeaseReady,
    LeaseReleasing,
    LeasesDeclined,
    LeasesGranted,
    LeasesUnresolved,
    MigrationFinished,
    PlacementClosed,
    PlacementOpened,
    SwitchPlanned,
    WorkCheckpointed,
    WorkRunning,
    WorkStarting,
    WorkStopping,
)
from treasury.domain.inputs import (
    AcquireDeclined,
    AcquireGranted,
    AcquireUnknown,
    ApproveJob,
    BookBill,
    CancelJob,
    ChangeBudget,
    Configure,
    FreezeBudget,
    LeaseSeen,
    ListOffers,
    MachineLost,
    MachineNoticed,
    MachineReady,
    MachineReleased,
    Propose,
    SeeLeases,
    SeeQuotes,
    SubmitJob,
    Wake,
    WorkBegan,
    WorkEnded,
    WorkSaved,
    WorkStopped,
)

Input = (
    Configure
    | ListOffers
    | SeeQuotes
    | SubmitJob
    | CancelJob
    | AcquireGranted
    | AcquireDeclined
    | AcquireUnknown
    | MachineReady
    | MachineNoticed
    | MachineLost
    | MachineReleased
    | WorkBegan
    | WorkSaved
    | WorkStopped
    | WorkEnded
    | LeaseSeen
    | SeeLeases
    | ChangeBudget
    | FreezeBudget
    | ApproveJob
    | BookBill
    | Propose
    | Wake
)

Fact = (
    Configured
    | PeriodOpened
    | DayOpened
    | BudgetChanged
    | BudgetChangeRefused
    | BudgetFrozen
    | BudgetLent
    | BudgetResized
    | SoftCapReached
    | JobApproved
    | RefusalTolerated
    | BillBooked
    | OffersListed
    | Quoted
    | QuoteRejected
    | OfferQuarantined
    | JobQueued
    | JobRejected
    | JobWaits
    | PlanRequested
    | PlanTaken
    | PlacementOpened
    | LeasesGranted
    | LeasesDeclined
    | LeasesUnresolved
    | LeaseReady
    | LeaseNoticed
    | LeaseReleasing
    | LeaseEnded
    | LeaseMetered
    | BidChanged
    | WorkStarting
    | WorkRunning
    | WorkCheckpointed
    | WorkStopping
    | SwitchPlanned
    | PlacementClosed
    | MigrationFinished
    | JobRequeued
    | JobEnded
    | DeadlineMissed
    | ActionRefused
    | Discrepancy
)

__all__ = [
    "AcquireDeclined",
    "AcquireGranted",
    "AcquireUnknown",
    "ActionRefused",
    "ApproveJob",
    "BidChanged",
    "BillBooked",
    "BookBill",
    "BudgetChangeRefused",
    "BudgetChanged",
    "BudgetFrozen",
    "BudgetLent",
    "BudgetResized",
    "CancelJob",
    "ChangeBudget",
    "Configure",
    "Configured",
    "DayOpened",
    "DeadlineMissed",
    "Discrepancy",
    "Fact",
    "FreezeBudget",
    "Input",
    "JobApproved",
    "JobEnded",
    "JobQueued",
    "JobRejected",
    "JobRequeued",
    "JobWaits",
    "LeaseEnded",
    "LeaseMetered",
    "LeaseNoticed",
    "LeaseReady",
    "LeaseReleasing",
    "LeaseSeen",
    "LeasesDeclined",
    "LeasesGranted",
    "LeasesUnresolved",
    "ListOffers",
    "MachineLost",
    "MachineNoticed",
    "MachineReady",
    "MachineReleased",
    "MigrationFinished",
    "OfferQuarantined",
    "OffersListed",
    "PeriodOpened",
    "PlacementClosed",
    "PlacementOpened",
    "PlanRequested",
    "PlanTaken",
    "Propose",
    "QuoteRejected",
    "Quoted",
    "RefusalTolerated",
    "SeeLeases",
    "SeeQuotes",
    "SoftCapReached",
    "SubmitJob",
    "SwitchPlanned",
    "Wake",
    "WorkBegan",
    "WorkCheckpointed",
    "WorkEnded",
    "WorkRunning",
    "WorkSaved",
    "WorkStarting",
    "WorkStopped",
    "WorkStopping",
]
