"""Importers of markets: what each source's rows become, and how a bad source is refused."""

import json
from pathlib import Path

import pytest

from tests.support.traces import load
from treasury.domain.errors import BadValue, TraceError
from treasury.domain.time import HOUR, MINUTE, SECOND, parse_instant
from treasury_simulations.traces import MarketRow
from treasury_simulations.traces.importers.cant_be_late import tick_instant
from treasury_simulations.traces.importers.gcp_gpu_price_history import shape_of

AVAILABILITY = "aws_2023_availability.csv.gz"
PRICES = "aws_2023_p3.2xlarge_spot_price.csv.gz"
GCP_HEAD = "observed_at,instance,region,usd_hour,usd_hour_spot\n"


def gcp(rows: str) -> dict[str, str]:
    """A price history."""
    return {"changes.csv.gz": GCP_HEAD + rows}


def cant_be_late(availability: str, prices: str) -> dict[str, str]:
    """A 2023 campaign of two zones."""
    return {
        AVAILABILITY: "tick,us-east-1a_v100_1,us-east-1c_v100_1\n" + availability,
        PRICES: "tick,zone,usd_per_hour\n" + prices,
    }


# --- cant_be_late -------------------------------------------------------------------------------


def test_cant_be_late_2023(tmp_path: Path) -> None:
    """Changes of price and availability become rows at their ticks, on-demand beside them."""
    prices = "5,us-east-1a_v100_1,1.5\n6,us-east-1c_v100_1,2.25\n"
    trace = load(tmp_path, "cant_be_late", cant_be_late("5,1,0\n6,1,0\n7,0,0\n", prices), year=2023)
    five, six, seven, eight = (tick_instant(2023, tick) for tick in (5, 6, 7, 8))
    assert five == parse_instant("2023-02-15") + 5 * 195 * SECOND
    assert [pool.id for pool in trace.pools] == [
        "aws/us-east-1/us-east-1a/p3.2xlarge/spot",
        "aws/us-east-1/us-east-1c/p3.2xlarge/spot",
        "aws/us-east-1/p3.2xlarge/on_demand",
    ]
    assert list(trace.market()) == [
        MarketRow(five, 2, 3_060_000_000, 1),
        MarketRow(five, 0, 1_500_000_000, 1),
        MarketRow(five, 1, -1, 0),
        MarketRow(six, 1, 2_250_000_000, 0),
        MarketRow(seven, 0, 1_500_000_000, 0),
    ]
    assert (trace.header.start, trace.header.end) == (five, eight)
    assert trace.header.resolution_ns == 195 * SECOND
    assert trace.header.depth_kind == "binary"


def test_cant_be_late_2022(tmp_path: Path) -> None:
    """2022 is priced as the benchmark does: 0.9731 spot, 3.06 on demand, for every device."""
    text = "tick,us-west-2a_k80_8,us-west-2b_v100_1\n3,1,1\n5,0,1\n"
    file = "aws_2022_availability.csv.gz"
    trace = load(tmp_path, "cant_be_late", {file: text}, file)
    assert [(pool.instance, pool.gpu, pool.gpus) for pool in trace.pools] == [
        ("p2.8xlarge", "K80", 8),
        ("p3.2xlarge", "V100", 1),
        ("p2.8xlarge", "K80", 8),
        ("p3.2xlarge", "V100", 1),
    ]
    assert [row.rate for row in trace.market()] == [3_060_000_000] * 2 + [973_100_000] * 3
    # Tick 4 is missing: nobody looked in it.
    assert trace.header.gaps == ((tick_instant(2022, 4), tick_instant(2022, 5)),)


def test_cant_be_late_drops_prices_that_are_none(tmp_path: Path) -> None:
    """A price of zero or less is left out and counted; the one before holds."""
    prices = "".join(f"5,us-east-1a_v100_1,{price}\n" for price in ("1.5", "0", "-1"))
    trace = load(tmp_path, "cant_be_late", cant_be_late("5,1,0\n", prices), year="2023")
    assert MarketRow(tick_instant(2023, 5), 0, 1_500_000_000, 1) in list(trace.market())
    assert trace.header.dropped == {"price not above zero": 2}


@pytest.mark.parametrize(
    ("availability", "prices", "message"),
    [
        ("5,1,0\n5,1,0\n", "", rf"{AVAILABILITY}, line 3: tick 5 after tick 5"),
        ("5,1,2\n", "", rf"{AVAILABILITY}, line 2: us-east-1c_v100_1 '2' is neither 0 nor 1"),
        ("5,1\n", "", rf"{AVAILABILITY}, line 2: 2 fields where 3 are due"),
        ("x,1,0\n", "", rf"{AVAILABILITY}, line 2: tick 'x' is not a whole number"),
        ("", "", rf"{AVAILABILITY}, line 2: no ticks"),
        ("5,1,0\n", "5,eu-1_v100_1,1\n", rf"{PRICES}, line 2: zone 'eu-1_v100_1'"),
        ("5,1,0\n", "99,eu-1_v100_1,1\n", rf"{PRICES}, line 2: zone 'eu-1_v100_1'"),
        (
            "5,1,0\n",
            "6,us-east-1a_v100_1,1\n5,us-east-1a_v100_1,1\n",
            rf"{PRICES}, line 3: .*order",
        ),
        ("5,1,0\n", "5,us-east-1a_v100_1,dear\n", rf"{PRICES}, line 2: usd_per_hour 'dear'"),
        ("5,1,0\n", "5,us-east-1a_v100_1,nan\n", rf"{PRICES}, line 2: usd_per_hour 'nan'"),
        ("5,1,0\n", "5,us-east-1a_v100_1,2e6\n", rf"{PRICES}, line 2: usd_per_hour 2e6 is absurd"),
    ],
)
def test_cant_be_late_refuses(tmp_path: Path, availability: str, prices: str, message: str) -> None:
    """A bad campaign is refused with file and line."""
    with pytest.raises(TraceError, match=message):
        load(tmp_path, "cant_be_late", cant_be_late(availability, prices), year=2023)


def test_cant_be_late_wants_to_know_the_year(tmp_path: Path) -> None:
    """A folder may hold both campaigns: the year is asked for, and one there is not is refused."""
    with pytest.raises(BadValue, match="2022 or 2023"):
        load(tmp_path, "cant_be_late", {})
    with pytest.raises(BadValue, match="year 2021"):
        load(tmp_path, "cant_be_late", {}, year=2021)
    with pytest.raises(TraceError, match=f"{AVAILABILITY}: no such file"):
        load(tmp_path, "cant_be_late", {}, year=2023)


def test_cant_be_late_refuses_other_columns(tmp_path: Path) -> None:
    """A column that names no zone and device is refused by name."""
    file = "aws_2022_availability.csv.gz"
    with pytest.raises(TraceError, match="line 1: column 'us-west-2a' is not of the form"):
        load(tmp_path, "cant_be_late", {file: "tick,us-west-2a\n3,1\n"}, file)
    with pytest.raises(TraceError, match="line 1: no zone columns"):
        load(tmp_path, "cant_be_late", {file: "tick\n3\n"}, file)


# --- gcp_gpu_price_history ----------------------------------------------------------------------


def test_gcp(tmp_path: Path) -> None:
    """On-demand and spot are pools of their own; a price that goes away is withdrawn."""
    rows = (
        "2024-01-01T00:00:00+00:00,a2-highgpu-2g,us-east1,7.34,\n"
        "2024-01-08T00:00:00+00:00,a2-highgpu-2g,us-east1,7.34,2.5\n"
        "2024-02-20T00:00:00+00:00,a2-highgpu-2g,us-east1,,\n"
    )
    looked = [f"2024-01-{day:02d}T00:00:00+00:00" for day in (1, 8, 15)]
    files = gcp(rows) | {"snapshots.json": json.dumps(looked)}
    trace = load(tmp_path, "gcp_gpu_price_history", files)
    first, second, last = (parse_instant(f"2024-{day}") for day in ("01-01", "01-08", "02-20"))
    assert [pool.id for pool in trace.pools] == [
        "gcp/us-east1/a2-highgpu-2g/on_demand",
        "gcp/us-east1/a2-highgpu-2g/spot",
    ]
    assert list(trace.market()) == [
        MarketRow(first, 0, 7_340_000_000, -1),
        MarketRow(second, 1, 2_500_000_000, -1),
        MarketRow(last, 0, -1, 0),
        MarketRow(last, 1, -1, 0),
    ]
    assert trace.header.depth_kind == "unknown"
    assert trace.header.gaps == ((parse_instant("2024-01-15"), last),)


@pytest.mark.parametrize(
    ("instance", "shape"),
    [
        ("a2-highgpu-1g", ("A100-40GB", 1)),
        ("a2-megagpu-16g", ("A100-40GB", 16)),
        ("a2-ultragpu-8g", ("A100-80GB", 8)),
        ("a3-megagpu-8g", ("H100", 8)),
        ("g2-standard-24", ("L4", 2)),
        ("g2-standard-96", ("L4", 8)),
        ("n1-standard-4", None),
        ("g2-standard-5", None),
    ],
)
def test_gcp_shapes(instance: str, shape: tuple[str, int] | None) -> None:
    """GPUs are read off the names of machine types."""
    assert shape_of(instance) == shape


def test_gcp_leaves_out_and_counts(tmp_path: Path) -> None:
    """Prices of zero or less and machine types of unknown shape are left out and counted."""
    at = "2024-01-01T00:00:00Z"
    rows = f"{at},g2-standard-4,r,0,-1\n{at},x9-huge,r,1,1\n{at},g2-standard-8,r,1,\n"
    trace = load(tmp_path, "gcp_gpu_price_history", gcp(rows))
    assert trace.rows == {"market": 1}
    assert trace.header.dropped == {
        "machine type of unknown shape": 1,
        "price not above zero": 2,
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "2024-01-02T00:00:00Z,g2-standard-4,r,1,\n2024-01-01T00:00:00Z,g2-standard-4,r,1,\n",
            r"changes\.csv\.gz, line 3: rows must be in order of time",
        ),
        ("soon,g2-standard-4,r,1,\n", r"line 2: observed_at 'soon' is not an ISO 8601 instant"),
        ("2024-01-02T00:00:00Z,g2-standard-4,r,much,\n", r"line 2: usd_hour 'much'"),
        ("", "line 2: no rows"),
    ],
)
def test_gcp_refuses(tmp_path: Path, rows: str, message: str) -> None:
    """A bad history is refused with file and line."""
    with pytest.raises(TraceError, match=message):
        load(tmp_path, "gcp_gpu_price_history", gcp(rows))


def test_gcp_refuses_bad_snapshots(tmp_path: Path) -> None:
    """The list of revisions is checked like the table."""
    rows = "2024-01-02T00:00:00Z,g2-standard-4,r,1,\n"
    with pytest.raises(TraceError, match=r"snapshots\.json: not a JSON list of instants"):
        load(tmp_path, "gcp_gpu_price_history", gcp(rows) | {"snapshots.json": '["never"]'})


# --- primeintellect_gpu_market ------------------------------------------------------------------


def snapshot(at: str, gpu: str = "H100_80GB", **providers: tuple[int, float]) -> str:
    """One line of a market summary."""
    offers = {name: {"count": count, "min": low} for name, (count, low) in providers.items()}
    line = {"timestamp": f"2025-10-{at}+00:00", "gpu_type": gpu, "socket_type": "SXM5"}
    return json.dumps(line | {"by_provider": offers}) + "\n"


def test_primeintellect(tmp_path: Path) -> None:
    """A pool for each provider and type; absent is sold out, also before it first appears."""
    h100 = snapshot("20T00:00:00", nebius=(3, 2.12)) + snapshot("20T00:30:00", runpod=(1, 2.7))
    b200 = snapshot("20T00:00:00", "B200_180GB", nebius=(2, 5.5))
    trace = load(tmp_path, "primeintellect_gpu_market", {"a.jsonl": h100, "b.jsonl.gz": b200})
    first = parse_instant("2025-10-20")
    later = first + 30 * MINUTE
    assert [(pool.id, pool.gpu) for pool in trace.pools] == [
        ("nebius/B200_180GB_SXM5/on_demand", "B200"),
        ("nebius/H100_80GB_SXM5/on_demand", "H100"),
        ("runpod/H100_80GB_SXM5/on_demand", "H100"),
    ]
    assert list(trace.market()) == [
        MarketRow(first, 0, 5_500_000_000, 2),
        MarketRow(first, 1, 2_120_000_000, 3),
        MarketRow(first, 2, -1, 0),
        MarketRow(later, 0, -1, 0),
        MarketRow(later, 1, -1, 0),
        MarketRow(later, 2, 2_700_000_000, 1),
    ]
    assert trace.header.depth_kind == "count"
    assert trace.header.end == later + 30 * MINUTE


def test_primeintellect_order_and_gaps(tmp_path: Path) -> None:
    """Lines up to an hour out of order are sorted; longer stretches without a line are gaps."""
    lines = [
        snapshot("20T01:00:00", nebius=(1, 2.0)),
        snapshot("20T00:10:00", nebius=(1, 1.0)),
        snapshot("20T05:00:00", nebius=(1, 0)),
    ]
    trace = load(tmp_path, "primeintellect_gpu_market", {"a.jsonl": "".join(lines)})
    assert [row.rate for row in trace.market()] == [1_000_000_000, 2_000_000_000]
    day = parse_instant("2025-10-20")
    assert trace.header.gaps == ((day + HOUR, day + 5 * HOUR),)
    assert trace.header.dropped == {"price not above zero": 1}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (snapshot("19T22:59:59", x=(1, 1)), r"a\.jsonl, line 2: more than an hour before"),
        (snapshot("20T00:30:00", x=(-1, 1)), r"a\.jsonl, line 2: x: count -1 is negative"),
        (snapshot("20T00:30:00", x=(1, 1e9)), r"a\.jsonl, line 2: x: price .* absurd"),
        ("{", r"a\.jsonl, line 2: not a market snapshot"),
        ('{"timestamp": "x", "gpu_type": "y"}', r"a\.jsonl, line 2: .*by_provider"),
    ],
)
def test_primeintellect_refuses(tmp_path: Path, second: str, message: str) -> None:
    """A bad line is refused with file and line."""
    first = snapshot("20T00:00:00", x=(1, 1))
    with pytest.raises(TraceError, match=message):
        load(tmp_path, "primeintellect_gpu_market", {"a.jsonl": first + second})


def test_primeintellect_wants_files(tmp_path: Path) -> None:
    """A folder without market summaries, and one with empty ones, is refused."""
    with pytest.raises(TraceError, match=r"no .*jsonl.* files in this folder"):
        load(tmp_path, "primeintellect_gpu_market", {})
    with pytest.raises(TraceError, match="no snapshots"):
        load(tmp_path, "primeintellect_gpu_market", {"a.jsonl": "\n"})
