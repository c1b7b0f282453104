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
    ActionRecommended,
    ConductChanged,
    CountersRaised,
    DeadlineMissed,
    JobApproved,
    JobEnded,
    JobQueued,
    JobRejected,
    JobRequeued,
    JobWaits,
    LeaseEnded,
    LeaseMissing,
    LeaseNoticed,
    LeaseReady,
    LeaseReleasing,
    LeasesDeclined,
    LeasesGranted,
    LeasesUnresolved,
    MigrationFinished,
    PlacementClosed,
    PlacementOpened,
    ProviderDrained,
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
    DrainProvider,
    FreezeBudget,
    LeaseSeen,
    ListOffers,
    MachineLost,
    MachineNoticed,
    MachineReady,
    MachineReleased,
    MachineSilent,
    MoveJob,
    PreemptJob,
    Propose,
    RaiseCounters,
    SeeLeases,
    SeeQuotes,
    SetConduct,
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
    | MachineSilent
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
    | PreemptJob
    | MoveJob
    | DrainProvider
    | RaiseCounters
    | SetConduct
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
    | LeaseMissing
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
    | ProviderDrained
    | ConductChanged
    | CountersRaised
    | ActionRecommended
    | ActionRefused
    | Discrepancy
)

__all__ = [
    "AcquireDeclined",
    "AcquireGranted",
    "AcquireUnknown",
    "ActionRecommended",
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
    "ConductChanged",
    "Configure",
    "Configured",
    "CountersRaised",
    "DayOpened",
    "DeadlineMissed",
    "Discrepancy",
    "DrainProvider",
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
    "LeaseMissing",
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
    "MachineSilent",
    "MigrationFinished",
    "MoveJob",
    "OfferQuarantined",
    "OffersListed",
    "PeriodOpened",
    "PlacementClosed",
    "PlacementOpened",
    "PlanRequested",
    "PlanTaken",
    "PreemptJob",
    "Propose",
    "ProviderDrained",
    "QuoteRejected",
    "Quoted",
    "RaiseCounters",
    "RefusalTolerated",
    "SeeLeases",
    "SeeQuotes",
    "SetConduct",
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
