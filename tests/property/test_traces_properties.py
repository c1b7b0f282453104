"""Invariants of traces over arbitrary rows, damage and sources."""

import tempfile
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasury.domain.errors import TraceError, UserError
from treasury.domain.market import Tenure
from treasury.domain.money import RATE_LIMIT
from treasury_simulations.traces import (
    InterruptionRow,
    JobRow,
    MarketRow,
    Provenance,
    TraceHeader,
    TraceWriter,
    clip_market,
    make_pool,
    open_trace,
)
from treasury_simulations.traces.importers import IMPORTERS, import_dataset

POOLS = tuple(make_pool("p", "", "", f"i{n}", "V100", 1, Tenure.SPOT) for n in range(3))
HEADER = TraceHeader(
    name="any",
    kinds=("market", "interruptions", "jobs"),
    provenance=Provenance(source="", licence="", attribution=""),
    start=0,
    pools=POOLS,
)

steps = st.lists(st.integers(0, 10**15), max_size=60)
rates = st.one_of(st.just(-1), st.integers(1, RATE_LIMIT))
names = st.text(max_size=8)


@st.composite
def timed(draw: st.DrawFn, make: Callable[[st.DrawFn, int], object]) -> list[object]:
    """Rows in order of time."""
    return [make(draw, at) for at in accumulate(draw(steps))]


markets = timed(
    lambda draw, at: MarketRow(
        at, draw(st.integers(0, 2)), draw(rates), draw(st.integers(-1, 2**40))
    )
)
interruptions = timed(
    lambda draw, at: InterruptionRow(at, draw(st.integers(0, 2)), draw(st.integers(1, 10**6)))
)
jobs = timed(
    lambda draw, at: JobRow(
        at,
        draw(names.filter(bool)),
        draw(st.integers(1, 64)),
        draw(st.integers(1, 10**4)),
        draw(st.integers(1, 2**60)),
        draw(names),
        draw(st.integers(-(10**6), 10**6)),
        draw(st.one_of(st.none(), st.integers(0, 2**61))),
    )
)


@settings(max_examples=40)
@given(markets, interruptions, jobs, st.integers(1, 25), st.integers(0, 3))
def test_what_goes_in_comes_out(
    market: list[MarketRow],
    taken: list[InterruptionRow],
    submitted: list[JobRow],
    block_rows: int,
    resumes: int,
) -> None:
    """Any rows, in blocks of any size, written in any number of sittings, come back the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.trace"
        TraceWriter(path, HEADER, block_rows=block_rows).close()
        cuts = [len(market) * part // (resumes + 1) for part in range(resumes + 2)]
        for first, last in pairwise(cuts):
            with TraceWriter.append(path, block_rows=block_rows) as writer:
                writer.add_all(market[first:last])
        with TraceWriter.append(path, block_rows=block_rows) as writer:
            writer.add_all([*taken, *submitted])
        trace = open_trace(path)
        trace.verify()
        assert list(trace.market()) == market
        assert list(trace.interruptions()) == taken
        assert list(trace.jobs()) == submitted
        assert trace.header.end == max((row.at for row in [*market, *taken, *submitted]), default=0)


@settings(max_examples=100)
@given(st.data())
def test_damage_is_never_believed(data: st.DataObject) -> None:
    """A file with a changed stretch is refused; nothing but TraceError comes of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.trace"
        with TraceWriter(path, HEADER, block_rows=4) as writer:
            writer.add_all(MarketRow(at, at % 3, 1 + at, at) for at in range(30))
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=12))
        broken = whole[:place] + junk + whole[place + len(junk) :]
        path.write_bytes(broken)
        if broken == whole:
            return
        with pytest.raises(TraceError):
            open_trace(path).verify()


@settings(max_examples=100)
@given(markets, st.integers(0, 10**16), st.integers(0, 10**16))
def test_a_clipped_market_is_the_same_market(market: list[MarketRow], one: int, other: int) -> None:
    """At every instant of the stretch each pool is in the state it was in, and none outside it."""
    start, end = min(one, other), max(one, other)
    clipped = list(clip_market(market, start, end))
    assert clipped == sorted(clipped, key=lambda row: row.at)
    assert all(start <= row.at < end for row in clipped)
    for at in sorted({start, *(row.at for row in market), end - 1}):
        if start <= at < end:
            assert state(clipped, at) == state(market, at)


def state(market: list[MarketRow], at: int) -> dict[int, tuple[int, int]]:
    """Pool -> (rate, depth) at an instant."""
    return {row.pool: (row.rate, row.depth) for row in market if row.at <= at}


# Lines that are nearly right reach deeper than noise does.
HEADS = (
    "tick,us-east-1a_v100_1",
    "observed_at,instance,region,usd_hour,usd_hour_spot",
    "timestamp,duration,num_gpus,gpu_time,cluster",
)
SNAPSHOT = '{"timestamp": "2025-01-01", "gpu_type": "x", "by_provider": {"a": %s}}'
fields = st.one_of(
    st.sampled_from(
        (
            "",
            "0",
            "1",
            "-1",
            "5",
            "1e400",
            "9" * 40,
            "9" * 5_000,
            "nan",
            "add",
            "remove",
            "a2-highgpu-1g",
            "2024-01-01",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59",
            "12:00:00",
            '"',
            "\x00",
            "\uff12",
        )
    ),
    st.text(max_size=6),
)
sources = st.one_of(
    st.lists(
        st.one_of(st.sampled_from(HEADS), st.lists(fields, max_size=5).map(",".join)), max_size=6
    ).map("\n".join),
    st.sampled_from(
        (
            "[" * 5_000,
            '{"k80": {"(\'A\', 1)": {"null": 1e300}}}',
            '{"k80": {"(\'A\', 99999)": {"null": 1e308}}}',
            SNAPSHOT % '{"count": 1, "min": 1e999}',
            SNAPSHOT % '{"count": 99999999999999999999, "min": 1}',
        )
    ),
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(IMPORTERS)), sources)
def test_no_source_makes_an_importer_fall_over(kind: str, text: str) -> None:
    """Whatever a file holds, an importer writes a trace that checks or raises a user error."""
    with tempfile.TemporaryDirectory() as folder:
        name = "bamboo_aws_g4dn.csv" if kind == "spot_fleet_counts" else "aws_2022_x.csv"
        source, out = Path(folder) / name, Path(folder) / "out.trace"
        source.write_text(text, encoding="utf-8", errors="surrogatepass")
        message = ""
        try:
            import_dataset(kind, source, out).verify()
        except UserError as error:
            message = str(error)
        assert out.exists() == (not message)
        assert not message or name in message or "out.trace" in message
