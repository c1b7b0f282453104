"""Training speeds of job types on K80, P100 and V100, as measured for Gavel (OSDI'20).

Assumed: `<gpu>_unconsolidated` is the same model with the job spread over machines. Speeds of two
jobs that share a GPU are not taken over: treasury gives a GPU to one job.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.errors import TraceError
from treasury.domain.hardware import normalise_gpu
from treasury_simulations.traces.importers.draft import DOES_NOT_RUN, Draft, Tally
from treasury_simulations.traces.importers.source import Feed
from treasury_simulations.traces.model import Provenance, ThroughputRow, TraceHeader

_FILE: Final = "throughputs.json.gz"
_SPREAD: Final = "_unconsolidated"
_ALONE: Final = "null"
# No training step takes less than a microsecond.
_STEPS_LIMIT: Final = 1e6
_JOB: Final = re.compile(r"\('(.+)', ([1-9][0-9]{0,5})\)")
# GPU -> job -> steps per second alone, and [own, other] beside each job it may share the GPU with.
_Table = dict[str, dict[str, dict[str, float | list[float]]]]
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
        table = msgspec.json.decode(feed.text(file), type=_Table)
    except msgspec.MsgspecError as error:
        raise TraceError(f"{file}: no table of speeds by GPU and job type: {error}") from error
    tally = Tally()
    rows: list[ThroughputRow] = []
    for key, jobs in table.items():
        for job, speeds in jobs.items():
            row = _row(file, key, job, speeds.get(_ALONE))
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


def _row(file: Path, key: str, job: str, alone: object) -> ThroughputRow:
    match = _JOB.fullmatch(job)
    if match is None:
        raise TraceError(f"{file}: {key!r}, {job!r}: not of the form ('job type', number of GPUs)")
    if not isinstance(alone, float):
        raise TraceError(f"{file}: {key!r}, {job!r}: no speed of the job alone")
    if abs(alone) > _STEPS_LIMIT:
        raise TraceError(f"{file}: {key!r}, {job!r}: {alone} steps per second are absurd")
    gpu = normalise_gpu(key.removesuffix(_SPREAD))
    milli = round(alone * 1_000)
    return ThroughputRow(match[1], int(match[2]), gpu, not key.endswith(_SPREAD), milli)
