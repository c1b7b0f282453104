"""Training speeds of job types on K80, P100 and V100, as measured for Gavel (OSDI'20).

Assumed: `<gpu>_unconsolidated` is the same model with the job spread over machines. Speeds of two
jobs that share a GPU are not taken over: treasury gives a GPU to one job.
"""

import ast
import json
from pathlib import Path
from typing import Any, Final

from treasury.domain.errors import TraceError
from treasury.domain.hardware import normalise_gpu
from treasury_simulations.traces.importers.draft import DOES_NOT_RUN, Draft, Tally
from treasury_simulations.traces.importers.source import Feed
from treasury_simulations.traces.model import Provenance, ThroughputRow, TraceHeader

_FILE: Final = "throughputs.json.gz"
_SPREAD: Final = "_unconsolidated"
_ALONE: Final = "null"
_PROVENANCE: Final = Provenance(
    source="github.com/stanford-futuredata/gavel, scheduler/simulation_throughputs.json",
    commit="c4fa400",
    licence="MIT",
    attribution='Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep '
    'Learning Workloads", OSDI 2020',
    derivation=(
        "speeds of jobs alone on their GPUs; those of jobs that share a GPU left out",
        "rounded to thousandths of a step per second",
    ),
)


def read(feed: Feed, path: Path) -> Draft:
    """The speeds from the folder or the JSON file."""
    file = path / _FILE if path.is_dir() else path
    feed.expect(file)
    try:
        table = json.loads(feed.text(file))
    except json.JSONDecodeError as error:
        raise TraceError(f"{file}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(table, dict):
        raise TraceError(f"{file}, line 1: a JSON object by GPU is due")
    tally = Tally()
    rows: list[ThroughputRow] = []
    for key, jobs in table.items():
        if not isinstance(jobs, dict):
            raise TraceError(f"{file}: {key!r}: an object by job type is due")
        for job, speeds in jobs.items():
            row = _row(file, key, job, speeds)
            if row.milli_steps_s > 0:
                rows.append(row)
            else:
                tally.drop(DOES_NOT_RUN)
    header = TraceHeader(
        name="gavel-throughputs",
        kinds=("throughputs",),
        provenance=_PROVENANCE,
        start=0,
        end=0,
        dropped=tally.counts(),
    )
    return Draft(header, list(rows))


def _row(file: Path, key: str, job: str, speeds: Any) -> ThroughputRow:
    place = f"{file}: {key!r}, {job!r}"
    try:
        job_type, gpus = ast.literal_eval(job)
        steps = speeds[_ALONE]
        milli = round(steps * 1_000)
        well_formed = isinstance(job_type, str) and isinstance(gpus, int) and gpus > 0
    except (ValueError, SyntaxError, TypeError, LookupError, OverflowError) as error:
        raise TraceError(f"{place}: no speed of a job alone ({error})") from error
    if not well_formed:
        raise TraceError(f"{place}: the key is not of the form ('job type', number of GPUs)")
    gpu = normalise_gpu(key.removesuffix(_SPREAD))
    return ThroughputRow(job_type, gpus, gpu, not key.endswith(_SPREAD), milli)
