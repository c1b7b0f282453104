"""What a row may say. The writer asks before a row gets in, the reader after a block came out."""

from typing import Any, Final

from treasury.domain.market import Tenure
from treasury.domain.money import NANO, RATE_LIMIT
from treasury.domain.time import NEVER
from treasury_simulations.traces.model import (
    NOT_KNOWN,
    InterruptionRow,
    JobRow,
    Kind,
    MarketRow,
    PoolInfo,
    Row,
    ThroughputRow,
)

KIND_OF_ROW: Final[dict[type[Any], Kind]] = {
    MarketRow: "market",
    InterruptionRow: "interruptions",
    JobRow: "jobs",
    ThroughputRow: "throughputs",
}


# Numbers beyond this do not fit the format's 64 bits, and mean nothing in any unit of ours.
_LIMIT: Final = NEVER


def row_problem(row: Row, pools: list[PoolInfo]) -> str:
    """What is wrong with a row, in words; empty when nothing is."""
    for name, value in zip(row._fields, row, strict=True):
        if isinstance(value, int) and not -_LIMIT < value < _LIMIT:
            return f"{name} {value} is out of all bounds"
    if isinstance(row, MarketRow):
        return _market_problem(row, pools)
    if isinstance(row, InterruptionRow):
        if not 0 <= row.pool < len(pools):
            return _no_pool(row.pool, pools)
        return "" if row.machines > 0 else f"machines {row.machines} is not above zero"
    if isinstance(row, JobRow):
        return _job_problem(row)
    if row.gpus < 1:
        return f"gpus {row.gpus} is not above zero"
    return "" if row.milli_steps_s > 0 else f"throughput {row.milli_steps_s} is not above zero"


def _market_problem(row: MarketRow, pools: list[PoolInfo]) -> str:
    if not 0 <= row.pool < len(pools):
        return _no_pool(row.pool, pools)
    if row.rate < NOT_KNOWN:
        return f"rate {row.rate} is negative (only -1 may be, for not sold or not known)"
    if row.rate > RATE_LIMIT:
        return f"rate {row.rate} is absurd: more than {RATE_LIMIT // NANO} USD/h for one machine"
    if row.rate == 0 and pools[row.pool].tenure is not Tenure.OWNED:
        return "rate 0: only machines one owns cost nothing"
    return "" if row.depth >= NOT_KNOWN else f"depth {row.depth} is negative"


def _job_problem(row: JobRow) -> str:
    for name, value in (("gpus", row.gpus), ("nodes", row.nodes), ("duration", row.duration_ns)):
        if value < 1:
            return f"{name} {value} is not above zero"
    return "" if row.id else "a job needs an id"


def _no_pool(pool: int, pools: list[PoolInfo]) -> str:
    return f"pool {pool} is not in the catalogue of {len(pools)}"


def columns_problem(kind: Kind, columns: tuple[list[Any], ...], pools: int) -> str:
    """The same for whole columns, at C speed: what another program's writer may have got wrong."""
    if kind == "market":
        _, pool, rate, depth = columns
        if min(rate) < NOT_KNOWN or max(rate) > RATE_LIMIT:
            return "a rate is negative or absurd"
        if min(depth) < NOT_KNOWN:
            return "a depth is negative"
    elif kind == "interruptions":
        pool = columns[1]
        if min(columns[2]) < 1:
            return "a number of machines is not above zero"
    elif kind == "jobs":
        problem = any(min(column) < 1 for column in (columns[2], columns[3], columns[4]))
        return "gpus, nodes or duration of a job is not above zero" if problem else ""
    else:
        return ""
    return "a row names a pool that is not in the catalogue" if _outside(pool, pools) else ""


def _outside(pool: list[int], pools: int) -> bool:
    return min(pool) < 0 or max(pool) >= pools


def header_problem(start: int, end: int, kinds: tuple[Kind, ...], pools: list[PoolInfo]) -> str:
    """What is wrong with a header about to be written; empty when nothing is."""
    if not kinds:
        return "a trace needs at least one kind of row"
    if not 0 <= start < NEVER or (end >= 0 and end < start) or end >= NEVER:
        return f"the span {start} to {end} is none"
    if len({pool.id for pool in pools}) != len(pools):
        return "two pools have one id"
    return ""
