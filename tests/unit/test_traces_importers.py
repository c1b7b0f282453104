"""Importers: what each source's rows become, and how a bad source is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from treasury.domain.errors import BadValue, TraceError, UserError
from treasury.domain.time import HOUR, MINUTE, SECOND, parse_instant
from treasury_simulations.traces import InterruptionRow, JobRow, MarketRow, ThroughputRow, Trace
from treasury_simulations.traces.importers import IMPORTERS, import_dataset, read_dataset
from treasury_simulations.traces.importers.cant_be_late import tick_instant
from treasury_simulations.traces.importers.gcp_gpu_price_history import shape_of

Import = Callable[..., Trace]

AVAILABILITY = "aws_2023_availability.csv.gz"
PRICES = "aws_2023_p3.2xlarge_spot_price.csv.gz"
GCP_HEAD = "observed_at,instance,region,usd_hour,usd_hour_spot\n"
PHILLY_HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"


@pytest.fixture
def load(tmp_path: Path) -> Import:
    """Import files given as name -> text; the path is the folder unless `file` names one."""

    def run(kind: str, files: dict[str, str], file: str = "", **options: object) -> Trace:
        for name, text in files.items():
            data = text.encode()
            (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        trace = import_dataset(kind, tmp_path / file, tmp_path / "out.trace", **options)
        trace.verify()
        return trace

    return run


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


def test_cant_be_late_2023(load: Import) -> None:
    """Changes of price and availability become rows at their ticks, on-demand beside them."""
    prices = "5,us-east-1a_v100_1,1.5\n6,us-east-1c_v100_1,2.25\n"
    trace = load("cant_be_late", cant_be_late("5,1,0\n6,1,0\n7,0,0\n", prices), year=2023)
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


def test_cant_be_late_2022(load: Import) -> None:
    """2022 is priced as the benchmark does: 0.9731 spot, 3.06 on demand, for every device."""
    text = "tick,us-west-2a_k80_8,us-west-2b_v100_1\n3,1,1\n5,0,1\n"
    file = "aws_2022_availability.csv.gz"
    trace = load("cant_be_late", {file: text}, file)
    assert [(pool.instance, pool.gpu, pool.gpus) for pool in trace.pools] == [
        ("p2.8xlarge", "K80", 8),
        ("p3.2xlarge", "V100", 1),
        ("p2.8xlarge", "K80", 8),
        ("p3.2xlarge", "V100", 1),
    ]
    assert [row.rate for row in trace.market()] == [3_060_000_000] * 2 + [973_100_000] * 3
    # Tick 4 is missing: nobody looked in it.
    assert trace.header.gaps == ((tick_instant(2022, 4), tick_instant(2022, 5)),)


def test_cant_be_late_drops_prices_that_are_none(load: Import) -> None:
    """A price of zero or less is left out and counted; the one before holds."""
    prices = "".join(f"5,us-east-1a_v100_1,{price}\n" for price in ("1.5", "0", "-1"))
    trace = load("cant_be_late", cant_be_late("5,1,0\n", prices), year="2023")
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
def test_cant_be_late_refuses(load: Import, availability: str, prices: str, message: str) -> None:
    """A bad campaign is refused with file and line."""
    with pytest.raises(TraceError, match=message):
        load("cant_be_late", cant_be_late(availability, prices), year=2023)


def test_cant_be_late_wants_to_know_the_year(load: Import) -> None:
    """A folder may hold both campaigns: the year is asked for, and one there is not is refused."""
    with pytest.raises(BadValue, match="2022 or 2023"):
        load("cant_be_late", {})
    with pytest.raises(BadValue, match="year 2021"):
        load("cant_be_late", {}, year=2021)
    with pytest.raises(TraceError, match=f"{AVAILABILITY}: no such file"):
        load("cant_be_late", {}, year=2023)


def test_cant_be_late_refuses_other_columns(load: Import) -> None:
    """A column that names no zone and device is refused by name."""
    file = "aws_2022_availability.csv.gz"
    with pytest.raises(TraceError, match="line 1: column 'us-west-2a' is not of the form"):
        load("cant_be_late", {file: "tick,us-west-2a\n3,1\n"}, file)
    with pytest.raises(TraceError, match="line 1: no zone columns"):
        load("cant_be_late", {file: "tick\n3\n"}, file)


# --- gcp_gpu_price_history ----------------------------------------------------------------------


def test_gcp(load: Import) -> None:
    """On-demand and spot are pools of their own; a price that goes away is withdrawn."""
    rows = (
        "2024-01-01T00:00:00+00:00,a2-highgpu-2g,us-east1,7.34,\n"
        "2024-01-08T00:00:00+00:00,a2-highgpu-2g,us-east1,7.34,2.5\n"
        "2024-02-20T00:00:00+00:00,a2-highgpu-2g,us-east1,,\n"
    )
    looked = [f"2024-01-{day:02d}T00:00:00+00:00" for day in (1, 8, 15)]
    files = gcp(rows) | {"snapshots.json": json.dumps(looked)}
    trace = load("gcp_gpu_price_history", files)
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


def test_gcp_leaves_out_and_counts(load: Import) -> None:
    """Prices of zero or less and machine types of unknown shape are left out and counted."""
    at = "2024-01-01T00:00:00Z"
    rows = f"{at},g2-standard-4,r,0,-1\n{at},x9-huge,r,1,1\n{at},g2-standard-8,r,1,\n"
    trace = load("gcp_gpu_price_history", gcp(rows))
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
def test_gcp_refuses(load: Import, rows: str, message: str) -> None:
    """A bad history is refused with file and line."""
    with pytest.raises(TraceError, match=message):
        load("gcp_gpu_price_history", gcp(rows))


def test_gcp_refuses_bad_snapshots(load: Import) -> None:
    """The list of revisions is checked like the table."""
    rows = "2024-01-02T00:00:00Z,g2-standard-4,r,1,\n"
    with pytest.raises(TraceError, match=r"snapshots\.json: not a JSON list of instants"):
        load("gcp_gpu_price_history", gcp(rows) | {"snapshots.json": '["never"]'})


# --- primeintellect_gpu_market ------------------------------------------------------------------


def snapshot(at: str, gpu: str = "H100_80GB", **providers: tuple[int, float]) -> str:
    """One line of a market summary."""
    offers = {name: {"count": count, "min": low} for name, (count, low) in providers.items()}
    line = {"timestamp": f"2025-10-{at}+00:00", "gpu_type": gpu, "socket_type": "SXM5"}
    return json.dumps(line | {"by_provider": offers}) + "\n"


def test_primeintellect(load: Import) -> None:
    """A pool for each provider and type; absent is sold out, also before it first appears."""
    h100 = snapshot("20T00:00:00", nebius=(3, 2.12)) + snapshot("20T00:30:00", runpod=(1, 2.7))
    b200 = snapshot("20T00:00:00", "B200_180GB", nebius=(2, 5.5))
    trace = load("primeintellect_gpu_market", {"a.jsonl": h100, "b.jsonl.gz": b200})
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


def test_primeintellect_order_and_gaps(load: Import) -> None:
    """Lines up to an hour out of order are sorted; longer stretches without a line are gaps."""
    lines = [
        snapshot("20T01:00:00", nebius=(1, 2.0)),
        snapshot("20T00:10:00", nebius=(1, 1.0)),
        snapshot("20T05:00:00", nebius=(1, 0)),
    ]
    trace = load("primeintellect_gpu_market", {"a.jsonl": "".join(lines)})
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
def test_primeintellect_refuses(load: Import, second: str, message: str) -> None:
    """A bad line is refused with file and line."""
    first = snapshot("20T00:00:00", x=(1, 1))
    with pytest.raises(TraceError, match=message):
        load("primeintellect_gpu_market", {"a.jsonl": first + second})


def test_primeintellect_wants_files(load: Import) -> None:
    """A folder without market summaries, and one with empty ones, is refused."""
    with pytest.raises(TraceError, match=r"no .*jsonl.* files in this folder"):
        load("primeintellect_gpu_market", {})
    with pytest.raises(TraceError, match="no snapshots"):
        load("primeintellect_gpu_market", {"a.jsonl": "\n"})


# --- spot_fleet_counts --------------------------------------------------------------------------


def test_fleet_events(load: Import) -> None:
    """Adds and removes become sizes; removes are interruptions, summed at one instant."""
    text = "0,add,a\n0,add,b\n60000,remove,a\n60000,remove,b\n60000,add,c\n"
    trace = load("spot_fleet_counts", {"bamboo_aws_p3_64.csv": text}, "bamboo_aws_p3_64.csv")
    assert list(trace.market()) == [MarketRow(0, 0, -1, 2), MarketRow(MINUTE, 0, -1, 1)]
    assert list(trace.interruptions()) == [InterruptionRow(MINUTE, 0, 2)]
    assert trace.pools[0].id == "aws/p3.2xlarge/spot"


def test_fleet_sizes(load: Import) -> None:
    """A file of sizes says how many are held; price and day are what the user states."""
    name = "parcae_aws_p3_32.csv"
    trace = load(
        "spot_fleet_counts",
        {name: "0,1\n0,2\n1000,1\n"},
        name,
        start="2021-09-01",
        rate="0.9 USD/h",
    )
    start = parse_instant("2021-09-01")
    assert list(trace.market()) == [
        MarketRow(start, 0, 900_000_000, 2),
        MarketRow(start + SECOND, 0, 900_000_000, 1),
    ]
    assert list(trace.interruptions()) == [InterruptionRow(start + SECOND, 0, 1)]
    assert any("0.9000 USD/h" in note for note in trace.header.provenance.derivation)


def test_fleet_log(load: Import) -> None:
    """A line that steps back corrects what was logged for its time and after."""
    name = "bamboo_gcp_v100_us-east1-c.csv"
    lines = ["13:07:45, 80", "13:08:45, 80", "13:09:45, 80", "13:08:45, 70", "13:30:00, 75"]
    text = "".join(f"2021-12-10, {line}\n" for line in lines)
    trace = load("spot_fleet_counts", {name: text}, name)
    minutes = [parse_instant(f"2021-12-10T13:{at}") for at in ("07:45", "08:45", "30:00")]
    assert [(row.at, row.depth) for row in trace.market()] == list(
        zip(minutes, (80, 70, 75), strict=True)
    )
    assert list(trace.interruptions()) == [InterruptionRow(minutes[1], 0, 10)]
    assert trace.header.dropped == {"superseded by a later line for the same time": 2}
    assert trace.header.gaps == ((minutes[1], minutes[2]),)
    assert trace.pools[0].zone == "us-east1-c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5,add,a\n4,add,b\n", "line 2: rows must be in order"),
        ("0,add,a\n1,add,a\n", "line 2: add of a, which is held"),
        ("0,remove,a\n", "line 1: remove of a, which is not held"),
        ("0,lose,a\n", "line 1: 'lose' is neither add nor remove"),
        ("0,add,a\n1,add\n", "line 2: 2 fields where 3 are due"),
        ("0\n", "line 1: none of the layouts"),
        ("0,-1\n", "line 1: a fleet of -1 machines"),
        ("0,few\n", "line 1: field 2 'few'"),
        ("", "line 1: no rows"),
        ("2021-12-10, 13:07, 8\n2021-12-10, 13:04, 8\n", "line 2: more than two minutes before"),
        ("2021-12-10, 25:07, 8\n", "line 1: .* is not a time"),
    ],
)
def test_fleet_refuses(load: Import, text: str, message: str) -> None:
    """A bad file is refused with file and line."""
    name = "bamboo_aws_g4dn.csv"
    with pytest.raises(TraceError, match=rf"{name}, {message}"):
        load("spot_fleet_counts", {name: text}, name)


def test_fleets_of_other_names_need_to_be_told(load: Import) -> None:
    """A file outside the published set takes its machines from options, or is refused."""
    with pytest.raises(BadValue, match="or the options provider, instance and gpu"):
        load("spot_fleet_counts", {"mine.csv": "0,1\n"}, "mine.csv")
    options = {"provider": "azure", "instance": "NC6s_v3", "gpu": "V100"}
    trace = load("spot_fleet_counts", {"mine.csv": "0,1\n"}, "mine.csv", **options)
    assert trace.pools[0].id == "azure/NC6s_v3/spot"
    with pytest.raises(TraceError, match="is a folder; name one file"):
        load("spot_fleet_counts", {})


# --- philly_jobs --------------------------------------------------------------------------------


def test_philly(load: Import) -> None:
    """Jobs are sorted and numbered; more than eight GPUs become gangs of equal machines."""
    rows = (
        "2017-09-05 00:00:10,60.5,16,0,b\n"
        "2017-09-05 00:00:00,10,1,0,a\n"
        "2017-09-05 00:00:20,1,12,0,a\n"
    )
    trace = load("philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows})
    start = parse_instant("2017-09-05")
    assert list(trace.jobs()) == [
        JobRow(start, "philly-00001", 1, 1, 10 * SECOND, "a", 0, None),
        JobRow(start + 10 * SECOND, "philly-00002", 8, 2, 60_500_000_000, "b", 0, None),
        JobRow(start + 20 * SECOND, "philly-00003", 6, 2, SECOND, "a", 0, None),
    ]


def test_philly_options(load: Import) -> None:
    """`limit` takes the first jobs by submission, `start` moves the first one there."""
    rows = "".join(f"2017-09-05 00:00:{second:02d},1,1,1,a\n" for second in (30, 10, 20))
    trace = load("philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows}, limit="2", start="2026-01-01")
    start = parse_instant("2026-01-01")
    assert [job.at for job in trace.jobs()] == [start, start + 10 * SECOND]


def test_philly_leaves_out_and_counts(load: Import) -> None:
    """Jobs of no duration or no GPUs are left out and counted."""
    at = "2017-09-05 00:00:00"
    rows = f"{at},0,1,0,a\n{at},-5,1,0,a\n{at},5,0,0,a\n{at},5,1,5,a\n"
    trace = load("philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows})
    assert trace.rows == {"jobs": 1}
    assert trace.header.dropped == {"GPUs not above zero": 1, "duration not above zero": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,duration,cluster\n", "line 1: column 'num_gpus' is missing .found timestamp"),
        ("timestamp,timestamp,duration,num_gpus,cluster\n", "line 1: two columns have one name"),
        ("", "line 1: the file is empty"),
        (PHILLY_HEAD, "line 2: no jobs"),
        (PHILLY_HEAD + "2017-09-05,long,1,1,a\n", "line 2: duration 'long' is not a number"),
        (PHILLY_HEAD + "2017-09-05,1e30,1,1,a\n", "line 2: duration '1e30' is not a number"),
        (PHILLY_HEAD + "yesterday,1,1,1,a\n", "line 2: timestamp 'yesterday'"),
        (PHILLY_HEAD + '2017-09-05,1,1,1,"a\n', "line 2: not CSV"),
        (PHILLY_HEAD + "2017-09-05,1,1,1\n", "line 2: 4 fields where 5 are due"),
    ],
)
def test_philly_refuses(load: Import, text: str, message: str) -> None:
    """A bad table is refused with file and line."""
    with pytest.raises(TraceError, match=rf"jobs\.csv\.gz, {message}"):
        load("philly_jobs", {"jobs.csv.gz": text})


# --- gavel_throughputs --------------------------------------------------------------------------


def test_gavel(load: Import) -> None:
    """Speeds alone become rows; those of jobs that do not run are left out and counted."""
    jobs = {"('A (batch size 16)', 2)": {"null": 4.7953, "('B', 1)": [1.0, 2.0]}}
    table = {"k80": jobs, "v100_unconsolidated": jobs, "p100": {"('A', 1)": {"null": 0.0}}}
    trace = load("gavel_throughputs", {"t.json": json.dumps(table)}, "t.json")
    assert list(trace.throughputs()) == [
        ThroughputRow("A (batch size 16)", 2, "K80", True, 4_795),
        ThroughputRow("A (batch size 16)", 2, "V100", False, 4_795),
    ]
    assert trace.header.dropped == {"throughput not above zero": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "no table of speeds"),
        ('{"k80": {"A": {"null": 1.0}}}', "'k80', 'A': not of the form"),
        ('{"k80": {"(\'A\', 1)": {}}}', "no speed of the job alone"),
        ('{"k80": {"(\'A\', 1)": {"null": [1.0]}}}', "no speed of the job alone"),
    ],
)
def test_gavel_refuses(load: Import, text: str, message: str) -> None:
    """A bad table is refused with file and place."""
    with pytest.raises(TraceError, match=rf"t\.json: .*{message}"):
        load("gavel_throughputs", {"t.json": text}, "t.json")


# --- every importer -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IMPORTERS)
def test_missing_files_are_named(kind: str, tmp_path: Path) -> None:
    """A path that is not there is a user error that names it, and leaves no file behind."""
    with pytest.raises(UserError, match=r"aws_2023_gone\.csv"):
        import_dataset(kind, tmp_path / "aws_2023_gone.csv", tmp_path / "out.trace")
    assert list(tmp_path.iterdir()) == []


def test_truncated_gzip_is_named_with_its_line(tmp_path: Path) -> None:
    """A download that broke off is told apart from a bad row."""
    rows = "".join(f"2017-09-05 00:00:00,{number},1,1,a\n" for number in range(1, 3_000))
    whole = gzip.compress((PHILLY_HEAD + rows).encode())
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=r"jobs\.csv\.gz, line \d+: the compressed file is cut"):
        read_dataset("philly_jobs", tmp_path)
    path.write_bytes(whole[:200] + b"\xff" * 50 + whole[250:])
    with pytest.raises(TraceError, match=r"jobs\.csv\.gz, line \d+: not a whole gzip file"):
        read_dataset("philly_jobs", tmp_path)
    path.write_bytes(PHILLY_HEAD.encode() + b"\xff\xfe\n")
    with pytest.raises(TraceError, match=r"jobs\.csv\.gz, line \d+: not UTF-8"):
        read_dataset("philly_jobs", tmp_path)


def test_kinds_and_options_are_checked(tmp_path: Path) -> None:
    """An unknown kind lists the kinds, an unknown option the options, a bad value what is right."""
    with pytest.raises(BadValue, match="one of cant_be_late, gcp_gpu_price_history"):
        read_dataset("philly", tmp_path)
    with pytest.raises(BadValue, match=r"option of philly_jobs 'seed'.*limit, start"):
        read_dataset("philly_jobs", tmp_path, seed=1)
    with pytest.raises(BadValue, match="'-1'"):
        read_dataset("philly_jobs", tmp_path, limit="-1")


def test_progress_covers_all_files(tmp_path: Path) -> None:
    """Progress rises to the size of all source files together."""
    sizes = 0
    for name in ("a.jsonl", "b.jsonl"):
        text = snapshot("20T00:00:00", name[0], x=(1, 1.0)) * 5
        (tmp_path / name).write_text(text)
        sizes += len(text)
    seen: list[tuple[int, int]] = []
    read_dataset(
        "primeintellect_gpu_market",
        tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (sizes, sizes)
    assert seen == sorted(seen)
