"""The bundled samples, rebuilt bit for bit from the public data sets.

`aws-gcp-2023`: the real spot market of nine AWS zones over 22 days, with AWS on-demand machines
and Google's A100 list prices of those days beside it. `philly-sample`: 240 real jobs, moved into
those days.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from treasury.domain.market import Tenure, offer_id
from treasury.domain.time import DAY, HOUR
from treasury_simulations.traces.clip import clip_market
from treasury_simulations.traces.importers import read_dataset
from treasury_simulations.traces.importers.draft import Draft, used_pools
from treasury_simulations.traces.model import JobRow, MarketRow, Provenance, TraceHeader
from treasury_simulations.traces.reader import SUFFIX
from treasury_simulations.traces.writer import write_trace

MARKET: Final = "aws-gcp-2023"
JOBS: Final = "philly-sample"

# Google's machine types with A100s, in regions near to and far from those of AWS.
_GCP_POOLS: Final = tuple(
    offer_id("gcp", region, "", instance, Tenure.ON_DEMAND)
    for instance, regions in (
        ("a2-highgpu-1g", ("us-central1", "us-west1", "europe-west4", "asia-northeast1")),
        ("a2-ultragpu-1g", ("us-central1", "us-east4", "europe-west4", "asia-southeast1")),
    )
    for region in regions
)
# Jobs to take: virtual cluster -> GPUs -> how many. The three clusters that ran all sizes; mostly
# small jobs, as everywhere, and as many of the larger ones as the clusters had.
_STRATA: Final = {
    "0e4a51": {1: 52, 2: 18, 4: 10},
    "6c71a0": {1: 60, 2: 3, 4: 10, 8: 7},
    "ee9e8c": {1: 52, 2: 12, 4: 10, 8: 6},
}
_SHORTEST: Final = HOUR
_LONGEST: Final = 60 * HOUR
# Kept free of submissions at the end, so that the last jobs can finish within the market.
_TAIL: Final = 3 * DAY


def build_samples(shared_dir: Path | str, out_dir: Path | str) -> list[Path]:
    """Write both samples to `out_dir` from the folder that holds the data sets' folders."""
    shared, out = Path(shared_dir), Path(out_dir)
    market = market_sample(shared)
    drafts = [market, jobs_sample(shared, market.header.start, market.header.end)]
    paths = [out / f"{draft.header.name}{SUFFIX}" for draft in drafts]
    for path, draft in zip(paths, drafts, strict=True):
        write_trace(path, draft.header, draft.rows)
    return paths


def market_sample(shared: Path) -> Draft:
    """AWS spot and on-demand p3.2xlarge, and Google's A100 list prices over the same days."""
    aws = read_dataset("cant_be_late", shared / "cant_be_late", year=2023)
    gcp = read_dataset("gcp_gpu_price_history", shared / "gcp_gpu_price_history")
    start, end = aws.header.start, aws.header.end
    index = {pool.id: place for place, pool in enumerate(gcp.header.pools)}
    rows = clip_market(_market_rows(gcp), start, end)
    pools, gcp_rows = used_pools(gcp.header.pools, rows, [index[pool] for pool in _GCP_POOLS])
    shift = len(aws.header.pools)
    moved = [row._replace(pool=row.pool + shift) for row in gcp_rows]
    together = sorted([*_market_rows(aws), *moved], key=lambda row: row.at)
    header = TraceHeader(
        name=MARKET,
        kinds=("market",),
        provenance=_market_provenance(aws.header.provenance, gcp.header.provenance),
        start=start,
        end=end,
        resolution_ns=aws.header.resolution_ns,
        depth_kind="binary",
        pools=(*aws.header.pools, *pools),
        gaps=aws.header.gaps,
        dropped=aws.header.dropped,
    )
    return Draft(header, list(together))


def jobs_sample(shared: Path, start: int, end: int) -> Draft:
    """240 Philly jobs within [start, end) [ns]: a job of n GPUs is a gang of n one-GPU machines."""
    philly = read_dataset("philly_jobs", shared / "philly_jobs")
    jobs = [row for row in philly.rows if isinstance(row, JobRow)]
    picked = [
        job
        for cluster, sizes in _STRATA.items()
        for gpus, count in sizes.items()
        for job in _pick(jobs, cluster, gpus, count)
    ]
    picked.sort(key=lambda job: (job.at, job.id))
    first, last = picked[0].at, picked[-1].at
    rows = [
        job._replace(
            at=start + (job.at - first) * (end - _TAIL - start) // (last - first),
            gpus=1,
            nodes=job.gpus * job.nodes,
        )
        for job in picked
    ]
    source = philly.header.provenance
    header = TraceHeader(
        name=JOBS,
        kinds=("jobs",),
        provenance=msgspec.structs.replace(
            source,
            derivation=(
                *source.derivation,
                f"{len(rows)} jobs of 1 to 8 GPUs and 1 to 60 h from three virtual clusters",
                "picked at evenly spaced places in each cluster's and size's order of durations",
                "submission times compressed linearly from 47 days into 19 days of 2023",
                "a job of n GPUs made a gang of n machines with one GPU each",
            ),
        ),
        start=start,
        end=end,
    )
    return Draft(header, list(rows))


def _pick(jobs: Sequence[JobRow], cluster: str, gpus: int, count: int) -> list[JobRow]:
    """`count` jobs at the middles of equal slices of the stratum, ordered by duration."""
    stratum = sorted(
        (
            job
            for job in jobs
            if job.group == cluster
            and job.gpus * job.nodes == gpus
            and _SHORTEST <= job.duration_ns <= _LONGEST
        ),
        key=lambda job: (job.duration_ns, job.id),
    )
    return [stratum[(2 * place + 1) * len(stratum) // (2 * count)] for place in range(count)]


def _market_rows(draft: Draft) -> list[MarketRow]:
    return [row for row in draft.rows if isinstance(row, MarketRow)]


def _market_provenance(aws: Provenance, gcp: Provenance) -> Provenance:
    return Provenance(
        source=f"AWS: {aws.source} (commit {aws.commit}); GCP: {gcp.source}",
        commit=aws.commit,
        licence=f"AWS: {aws.licence}; GCP: {gcp.licence}",
        attribution=f"AWS: {aws.attribution}; GCP: {gcp.attribution}",
        derivation=(
            *(f"AWS: {note}" for note in aws.derivation),
            *(f"GCP: {note}" for note in gcp.derivation),
            "AWS: the first half of the series (ticks 137 to 10055 of 195 s)",
            "GCP: on-demand list prices in force in those days; no spot prices were recorded then",
        ),
    )
