"""Importers of fleets, jobs and speeds, and what holds for every importer."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.traces import load
from treasury.domain.errors import BadValue, TraceError, UserError
from treasury.domain.time import MINUTE, SECOND, parse_instant
from treasury_simulations.traces import InterruptionRow, JobRow, MarketRow, ThroughputRow
from treasury_simulations.traces.importers import IMPORTERS, import_dataset, read_dataset

PHILLY_HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
LINE = '{"timestamp": "2025-10-20", "gpu_type": "x", "by_provider": {}}\n'


# --- spot_fleet_counts --------------------------------------------------------------------------


def test_fleet_events(tmp_path: Path) -> None:
    """Adds and removes become sizes; removes are interruptions, summed at one instant."""
    text = "0,add,a\n0,add,b\n60000,remove,a\n60000,remove,b\n60000,add,c\n"
    trace = load(
        tmp_path, "spot_fleet_counts", {"bamboo_aws_p3_64.csv": text}, "bamboo_aws_p3_64.csv"
    )
    assert list(trace.market()) == [MarketRow(0, 0, -1, 2), MarketRow(MINUTE, 0, -1, 1)]
    assert list(trace.interruptions()) == [InterruptionRow(MINUTE, 0, 2)]
    assert trace.pools[0].id == "aws/p3.2xlarge/spot"


def test_fleet_sizes(tmp_path: Path) -> None:
    """A file of sizes says how many are held; price and day are what the user states."""
    name = "parcae_aws_p3_32.csv"
    trace = load(
        tmp_path,
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


def test_fleet_log(tmp_path: Path) -> None:
    """A line that steps back corrects what was logged for its time and after."""
    name = "bamboo_gcp_v100_us-east1-c.csv"
    lines = ["13:07:45, 80", "13:08:45, 80", "13:09:45, 80", "13:08:45, 70", "13:30:00, 75"]
    text = "".join(f"2021-12-10, {line}\n" for line in lines)
    trace = load(tmp_path, "spot_fleet_counts", {name: text}, name)
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
def test_fleet_refuses(tmp_path: Path, text: str, message: str) -> None:
    """A bad file is refused with file and line."""
    name = "bamboo_aws_g4dn.csv"
    with pytest.raises(TraceError, match=rf"{name}, {message}"):
        load(tmp_path, "spot_fleet_counts", {name: text}, name)


def test_fleets_of_other_names_need_to_be_told(tmp_path: Path) -> None:
    """A file outside the published set takes its machines from options, or is refused."""
    with pytest.raises(BadValue, match="or the options provider, instance and gpu"):
        load(tmp_path, "spot_fleet_counts", {"mine.csv": "0,1\n"}, "mine.csv")
    options = {"provider": "azure", "instance": "NC6s_v3", "gpu": "V100"}
    trace = load(tmp_path, "spot_fleet_counts", {"mine.csv": "0,1\n"}, "mine.csv", **options)
    assert trace.pools[0].id == "azure/NC6s_v3/spot"
    with pytest.raises(TraceError, match="is a folder; name one file"):
        load(tmp_path, "spot_fleet_counts", {})


# --- philly_jobs --------------------------------------------------------------------------------


def test_philly(tmp_path: Path) -> None:
    """Jobs are sorted and numbered; more than eight GPUs become gangs of equal machines."""
    rows = (
        "2017-09-05 00:00:10,60.5,16,0,b\n"
        "2017-09-05 00:00:00,10,1,0,a\n"
        "2017-09-05 00:00:20,1,12,0,a\n"
    )
    trace = load(tmp_path, "philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows})
    start = parse_instant("2017-09-05")
    assert list(trace.jobs()) == [
        JobRow(start, "philly-00001", 1, 1, 10 * SECOND, "a", 0, None),
        JobRow(start + 10 * SECOND, "philly-00002", 8, 2, 60_500_000_000, "b", 0, None),
        JobRow(start + 20 * SECOND, "philly-00003", 6, 2, SECOND, "a", 0, None),
    ]


def test_philly_options(tmp_path: Path) -> None:
    """`limit` takes the first jobs by submission, `start` moves the first one there."""
    rows = "".join(f"2017-09-05 00:00:{second:02d},1,1,1,a\n" for second in (30, 10, 20))
    trace = load(
        tmp_path, "philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows}, limit="2", start="2026-01-01"
    )
    start = parse_instant("2026-01-01")
    assert [job.at for job in trace.jobs()] == [start, start + 10 * SECOND]


def test_philly_leaves_out_and_counts(tmp_path: Path) -> None:
    """Jobs of no duration or no GPUs are left out and counted."""
    at = "2017-09-05 00:00:00"
    rows = f"{at},0,1,0,a\n{at},-5,1,0,a\n{at},5,0,0,a\n{at},5,1,5,a\n"
    trace = load(tmp_path, "philly_jobs", {"jobs.csv.gz": PHILLY_HEAD + rows})
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
def test_philly_refuses(tmp_path: Path, text: str, message: str) -> None:
    """A bad table is refused with file and line."""
    with pytest.raises(TraceError, match=rf"jobs\.csv\.gz, {message}"):
        load(tmp_path, "philly_jobs", {"jobs.csv.gz": text})


# --- gavel_throughputs --------------------------------------------------------------------------


def test_gavel(tmp_path: Path) -> None:
    """Speeds alone become rows; those of jobs that do not run are left out and counted."""
    jobs = {"('A (batch size 16)', 2)": {"null": 4.7953, "('B', 1)": [1.0, 2.0]}}
    table = {"k80": jobs, "v100_unconsolidated": jobs, "p100": {"('A', 1)": {"null": 0.0}}}
    trace = load(tmp_path, "gavel_throughputs", {"t.json": json.dumps(table)}, "t.json")
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
def test_gavel_refuses(tmp_path: Path, text: str, message: str) -> None:
    """A bad table is refused with file and place."""
    with pytest.raises(TraceError, match=rf"t\.json: .*{message}"):
        load(tmp_path, "gavel_throughputs", {"t.json": text}, "t.json")


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
        text = LINE * 5
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
