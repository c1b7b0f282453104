"""The jobs worth a name: the dearest, and those that did not finish, with their last reason."""

from collections.abc import Sequence

from treasury_simulations.record import Comparison, JobOutcome, RunRecord
from treasury_simulations.report import markup
from treasury_simulations.report.figures import is_finished
from treasury_simulations.report.markup import Cell

_DEAREST = 10
_UNFINISHED = 40


def job_tables(comparison: Comparison) -> str:
    """For each strategy two tables; the strategy's switch shows one strategy's."""
    if not any(run.jobs for run in comparison.runs):
        return markup.nothing("No job was submitted.")
    return "".join(
        markup.chosen("strategy", str(number), _dearest(run) + _unfinished(run))
        for number, run in enumerate(comparison.runs)
    )


def _dearest(run: RunRecord) -> str:
    jobs = sorted(run.jobs, key=lambda job: (-job.cost, job.id))[:_DEAREST]
    jobs = [job for job in jobs if job.cost]
    if not jobs:
        return "<h3>Dearest jobs</h3>" + markup.nothing("No job cost anything.")
    head = ("job", "cost centre", "state", "cost", "waited", "starts", "interrupted", "slack")
    rows = [
        [
            Cell(job.id, "name"),
            Cell(job.cost_centre),
            Cell(job.state),
            markup.money(job.cost),
            markup.duration(job.waited),
            markup.count(job.starts),
            markup.count(job.interruptions),
            _slack(job),
        ]
        for job in jobs
    ]
    return f"<h3>The {len(jobs)} dearest jobs</h3>" + markup.table(_head(head, 3), rows)


def _slack(job: JobOutcome) -> Cell:
    """Time left at the finish; late jobs stand out."""
    if job.deadline is None or job.ended_at is None or not is_finished(job):
        return Cell("late" if job.late else markup.UNKNOWN, "num bad" if job.late else "num")
    cell = markup.duration(job.deadline - job.ended_at)
    return Cell(cell.text, "num bad" if job.late else "num")


def _unfinished(run: RunRecord) -> str:
    jobs = [job for job in run.jobs if not is_finished(job)]
    title = "<h3>Jobs not finished</h3>"
    if not jobs:
        return title + markup.nothing("Every job finished.")
    shown = sorted(jobs, key=lambda job: (job.submitted_at, job.id))[:_UNFINISHED]
    head = ("job", "cost centre", "state", "last reason", "submitted", "deadline", "cost")
    rows = [
        [
            Cell(job.id, "name"),
            Cell(job.cost_centre),
            Cell(job.state),
            Cell(job.last_reason or markup.UNKNOWN, "reason"),
            markup.instant(job.submitted_at),
            markup.instant(job.deadline),
            markup.money(job.cost),
        ]
        for job in shown
    ]
    more = len(jobs) - len(shown)
    rest = markup.note(f"And {more:,} more, submitted later.") if more else ""
    return title + markup.table(_head(head, 4), rows) + rest


def _head(titles: Sequence[str], numbers_from: int) -> list[Cell]:
    return [Cell(t, "num" if i >= numbers_from else "") for i, t in enumerate(titles)]
