"""The figures of a run, computed once and shared by the terminal's table and the page."""

from collections.abc import Iterable, Sequence

import msgspec

from treasury.domain.errors import InvariantBroken
from treasury.domain.job import JobState
from treasury.domain.time import HOUR
from treasury_simulations.record import Comparison, JobOutcome, LeaseOutcome, RunRecord, Waste

# The run that the others are measured against, by the name its strategy is registered under.
BASELINE = "on_demand"
# Name and key of each part of what was paid, in the order in which the parts are stacked.
CAUSES: tuple[tuple[str, str], ...] = (
    ("useful", "Useful work"),
    ("premium", "Paid above the best open price"),
    ("restart", "Starting up"),
    ("lost_work", "Lost work"),
    ("idle", "Idle"),
    ("unallocated", "Unallocated"),
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run in figures. Money in micro-USD, time in ns, GPU time in GPU-ns (machine's GPUs x ns).

    label: the strategy's name, numbered where two runs share it. met: deadlines kept by jobs that
    finished; open: deadlines still ahead of a job when the replay ended. versus_baseline: paid
    relative to the on_demand run, None without one or where that run paid nothing.
    """

    label: str
    paid: int
    versus_baseline: float | None
    jobs: int
    finished: int
    deadlines: int
    met: int
    late: int
    open: int
    waited: int
    interruptions: int
    preemptions: int
    migrations: int
    gpu_time: int
    useful_gpu_time: int
    lost_gpu_time: int
    waste: Waste
    turns: int

    @property
    def mean_wait(self) -> int | None:
        """Mean time [ns] a job spent without machines; None without jobs."""
        return self.waited // self.jobs if self.jobs else None

    @property
    def waste_share(self) -> float | None:
        """Part of what was paid that is not useful work; None where nothing was paid."""
        return (self.paid - self.waste.useful) / self.paid if self.paid else None

    @property
    def unit_cost(self) -> int | None:
        """Everything paid per useful GPU-hour [micro-USD]; None without useful work."""
        return self.paid * HOUR // self.useful_gpu_time if self.useful_gpu_time else None


def run_labels(comparison: Comparison) -> list[str]:
    """A distinct name for each run: the strategy's, numbered from its second appearance on."""
    seen: dict[str, int] = {}
    labels = []
    for run in comparison.runs:
        seen[run.strategy] = seen.get(run.strategy, 0) + 1
        count = seen[run.strategy]
        labels.append(run.strategy if count == 1 else f"{run.strategy} #{count}")
    return labels


def figures(comparison: Comparison) -> list[Figures]:
    """The figures of each run, in the comparison's order. Raises InvariantBroken where the parts
    of a run's waste do not sum to what it paid."""
    baseline = next((run.waste.paid for run in comparison.runs if run.strategy == BASELINE), 0)
    labels = run_labels(comparison)
    return [
        _figures(run, label, baseline) for run, label in zip(comparison.runs, labels, strict=True)
    ]


def _figures(run: RunRecord, label: str, baseline: int) -> Figures:
    check_waste(run)
    promised = [job for job in run.jobs if job.deadline is not None]
    return Figures(
        label=label,
        paid=run.waste.paid,
        versus_baseline=run.waste.paid / baseline if baseline else None,
        jobs=len(run.jobs),
        finished=sum(is_finished(job) for job in run.jobs),
        deadlines=len(promised),
        met=sum(is_finished(job) and not job.late for job in promised),
        late=sum(job.late for job in run.jobs),
        open=sum(not is_finished(job) and not job.late for job in promised),
        waited=sum(job.waited for job in run.jobs),
        interruptions=sum(job.interruptions for job in run.jobs),
        preemptions=sum(job.preemptions for job in run.jobs),
        migrations=sum(job.migrations for job in run.jobs),
        gpu_time=sum((lease.ended_at - lease.granted_at) * lease.gpus for lease in run.leases),
        useful_gpu_time=sum(lease.useful * lease.gpus for lease in run.leases),
        lost_gpu_time=sum(lease.lost * lease.gpus for lease in run.leases),
        waste=run.waste,
        turns=run.turns,
    )


def is_finished(job: JobOutcome) -> bool:
    """Whether the job came to its own successful end."""
    return job.state == JobState.FINISHED.value


def part(waste: Waste, cause: str) -> int:
    """One part of what was paid [micro-USD], by its key in `CAUSES`."""
    amount: int = getattr(waste, cause)
    return amount


def check_waste(run: RunRecord) -> int:
    """The sum of the parts [micro-USD], which is what was paid, or else InvariantBroken."""
    total = sum(part(run.waste, key) for key, _ in CAUSES)
    if total != run.waste.paid:
        raise InvariantBroken(
            f"run {run.strategy}: the parts of its waste sum to {total} micro-USD, "
            f"but {run.waste.paid} were paid"
        )
    return total


def paid_by(run: RunRecord, key: str) -> dict[str, list[LeaseOutcome]]:
    """A run's leases grouped by an attribute (`cost_centre`, `provider`), in the groups' order."""
    groups: dict[str, list[LeaseOutcome]] = {}
    for lease in run.leases:
        groups.setdefault(getattr(lease, key), []).append(lease)
    return dict(sorted(groups.items()))


def billed(leases: Iterable[LeaseOutcome]) -> int:
    """What the world's meter says about some leases [micro-USD]."""
    return sum(lease.billed for lease in leases)


def span(comparison: Comparison) -> tuple[int, int]:
    """First and last instant [ns] of all runs; an hour from the epoch where there are none."""
    if not comparison.runs:
        return 0, HOUR
    start = min(run.started_at for run in comparison.runs)
    return start, max(start + HOUR, *(run.ended_at for run in comparison.runs))


def headline(values: Sequence[Figures]) -> int | None:
    """Place of the run that is shown first: fewest late jobs, then most finished, then cheapest.
    The baseline only where it is alone: it is what the others are measured against."""
    places = [i for i, run in enumerate(values) if run.label != BASELINE] or list(
        range(len(values))
    )
    return min(
        places, key=lambda i: (values[i].late, -values[i].finished, values[i].paid), default=None
    )
