"""The bundled samples, and the real data sets they and the importers stand for."""

import zlib
from pathlib import Path

import pytest

from treasury.domain.market import Tenure
from treasury.domain.time import DAY, HOUR, MINUTE
from treasury_simulations.traces import bundled, open_trace
from treasury_simulations.traces.describe import describe
from treasury_simulations.traces.importers import import_dataset, read_dataset
from treasury_simulations.traces.sample import JOBS, MARKET, build_samples


def test_samples_are_small_whole_and_licensed() -> None:
    """Together they are far below 400 kB, every byte checks, and source and licence are stated."""
    assert sorted(bundled()) == [MARKET, JOBS]
    assert bundled()[MARKET].stat().st_size < 250_000
    assert bundled()[JOBS].stat().st_size < 60_000
    for name in bundled():
        trace = open_trace(name)
        trace.verify()
        provenance = trace.header.provenance
        assert provenance.source
        assert provenance.licence
        assert provenance.attribution
        assert len(provenance.derivation) > 2


def test_the_market_sample_is_a_market() -> None:
    """Three weeks of twenty pools: nine real spot zones, on-demand beside them, two clouds."""
    trace = open_trace(MARKET)
    header = trace.header
    assert header.end - header.start >= 21 * DAY
    assert header.depth_kind == "binary"
    assert len(trace.pools) == 20
    assert sum(pool.tenure is Tenure.SPOT for pool in trace.pools) == 9
    assert {pool.provider for pool in trace.pools} == {"aws", "gcp"}
    assert {pool.gpu for pool in trace.pools} == {"V100", "A100-40GB", "A100-80GB"}
    found = {pool.pool.id: pool for pool in describe(trace).pools}
    # The share of ticks in which spot could be had, as counted in the source.
    assert found["aws/us-east-1/us-east-1a/p3.2xlarge/spot"].available == pytest.approx(
        0.111402, abs=1e-6
    )
    assert found["aws/us-west-2/us-west-2b/p3.2xlarge/spot"].available == pytest.approx(
        0.851094, abs=1e-6
    )
    assert found["aws/us-east-2/p3.2xlarge/on_demand"].rate_median == 3_060_000_000
    assert found["gcp/us-central1/a2-highgpu-1g/on_demand"].rate_median == 3_673_385_000
    assert found["gcp/us-central1/a2-highgpu-1g/on_demand"].available is None
    first = {row.pool for row in trace.market() if row.at == header.start}
    assert first == set(range(20))


def test_the_job_sample_fits_the_market_sample() -> None:
    """Gangs of one-GPU machines, submitted within the market with three days to spare."""
    market, trace = open_trace(MARKET), open_trace(JOBS)
    jobs = list(trace.jobs())
    assert len(jobs) == len({job.id for job in jobs}) == 240
    assert jobs[0].at == market.header.start
    assert jobs[-1].at <= market.header.end - 3 * DAY
    assert {job.gpus for job in jobs} == {1}
    assert {job.nodes for job in jobs} == {1, 2, 4, 8}
    assert all(HOUR <= job.duration_ns <= 60 * HOUR for job in jobs)
    assert {job.group for job in jobs} == {"0e4a51", "6c71a0", "ee9e8c"}


def test_samples_are_rebuilt_bit_for_bit(shared: Path, tmp_path: Path) -> None:
    """The samples come from the public data sets by the function that claims to make them."""
    for path in build_samples(shared / "traces", tmp_path):
        built, stored = open_trace(path), open_trace(bundled()[path.stem])
        assert built.header == stored.header
        assert list(built.market()) == list(stored.market())
        assert list(built.jobs()) == list(stored.jobs())
        # Other implementations of deflate (zlib-ng) pack the same rows into other bytes.
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:
            assert path.read_bytes() == bundled()[path.stem].read_bytes()


@pytest.mark.parametrize(
    ("kind", "path", "options", "rows", "pools"),
    [
        ("cant_be_late", "cant_be_late", {"year": 2022}, {"market": 863}, 12),
        ("cant_be_late", "cant_be_late", {"year": 2023}, {"market": 2_281}, 12),
        ("gcp_gpu_price_history", "gcp_gpu_price_history", {}, {"market": 5_749}, 1_760),
        ("primeintellect_gpu_market", "primeintellect_gpu_market", {}, {"market": 4_364}, 35),
        ("philly_jobs", "philly_jobs", {}, {"jobs": 41_123}, 0),
        ("gavel_throughputs", "gavel_throughputs", {}, {"throughputs": 489}, 0),
        (
            "spot_fleet_counts",
            "spot_fleet_counts/bamboo_aws_p3_64.csv",
            {},
            {"market": 163, "interruptions": 79},
            1,
        ),
        (
            "spot_fleet_counts",
            "spot_fleet_counts/bamboo_gcp_v100_us-east1-c.csv",
            {},
            {"market": 121, "interruptions": 55},
            1,
        ),
    ],
)
def test_real_data_sets_are_imported(
    shared: Path,
    tmp_path: Path,
    kind: str,
    path: str,
    options: dict[str, int],
    rows: dict[str, int],
    pools: int,
) -> None:
    """Each public data set becomes a trace whose every block checks."""
    trace = import_dataset(kind, shared / "traces" / path, tmp_path / "out.trace", **options)
    trace.verify()
    assert trace.rows == rows
    assert len(trace.pools) == pools
    assert describe(trace).header.provenance.licence


def test_two_records_of_one_fleet_agree(shared: Path) -> None:
    """The 32-machine fleet's file holds sizes: it loses machines when the full record does."""
    folder = shared / "traces" / "spot_fleet_counts"
    full = read_dataset("spot_fleet_counts", folder / "bamboo_aws_p3_64.csv")
    small = read_dataset("spot_fleet_counts", folder / "parcae_aws_p3_32.csv")
    lost = [
        {row.at: row.machines for row in draft.rows if len(row) == 3} for draft in (full, small)
    ]
    assert lost[0] == lost[1]
    assert sum(lost[1].values()) == 167
    assert max(lost[1]) == 682 * MINUTE
