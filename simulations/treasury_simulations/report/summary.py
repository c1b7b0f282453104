"""Tables of a comparison for a terminal, JSON or CSV: plain cells, units in the headings."""

from treasury.domain.money import MICRO
from treasury.domain.time import HOUR
from treasury_simulations.record import Comparison
from treasury_simulations.report.figures import Figures, billed, figures, paid_by, run_labels

SUMMARY_COLUMNS = [
    "strategy",
    "paid USD",
    "vs on_demand",
    "finished / jobs",
    "met / deadlines",
    "late",
    "mean wait h",
    "interruptions",
    "preemptions",
    "migrations",
    "lost GPU-h",
    "waste share",
    "USD / useful GPU-h",
    "turns",
]
COST_COLUMNS = ["strategy", "by", "name", "paid USD", "share", "GPU-h", "leases"]


def summary_rows(comparison: Comparison) -> tuple[list[str], list[list[object]]]:
    """Headings and one row a run. Money is exact text (no floats), shares lie between 0 and 1,
    None means "not known": no on_demand run, no jobs, nothing paid, no useful work."""
    return list(SUMMARY_COLUMNS), [_summary_row(run) for run in figures(comparison)]


def _summary_row(run: Figures) -> list[object]:
    return [
        run.label,
        usd(run.paid),
        _rounded(run.versus_baseline, 4),
        f"{run.finished} / {run.jobs}",
        f"{run.met} / {run.deadlines}",
        run.late,
        None if run.mean_wait is None else round(run.mean_wait / HOUR, 2),
        run.interruptions,
        run.preemptions,
        run.migrations,
        round(run.lost_gpu_time / HOUR, 2),
        _rounded(run.waste_share, 4),
        None if run.unit_cost is None else usd(run.unit_cost, 4),
        run.turns,
    ]


def cost_rows(comparison: Comparison) -> tuple[list[str], list[list[object]]]:
    """Headings and, for each run, one row a cost centre and one a provider. GPU-h counts every
    accelerator of a machine from grant to release; the shares of each grouping sum to 1."""
    rows: list[list[object]] = []
    for run, label in zip(comparison.runs, run_labels(comparison), strict=True):
        total = billed(run.leases)
        for title, key in (("cost centre", "cost_centre"), ("provider", "provider")):
            for name, leases in paid_by(run, key).items():
                paid = billed(leases)
                gpu_time = sum((item.ended_at - item.granted_at) * item.gpus for item in leases)
                share = round(paid / total, 4) if total else None
                hours = round(gpu_time / HOUR, 2)
                rows.append([label, title, name, usd(paid), share, hours, len(leases)])
    return list(COST_COLUMNS), rows


def usd(micros: int, places: int = 2) -> str:
    """Plain decimal text of an amount [micro-USD], without currency or separators."""
    quantum = MICRO // 10**places
    rounded = (abs(micros) + quantum // 2) // quantum
    whole, rest = divmod(rounded, 10**places)
    sign = "-" if micros < 0 and rounded else ""
    return f"{sign}{whole}.{rest:0{places}d}"


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
