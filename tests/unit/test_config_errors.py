"""What a person reads when a configuration cannot be used: file, line, path, value, remedy."""

from pathlib import Path

import pytest

from treasury.config import inspect_config, inspect_text, load_config
from treasury.config.reader import SIZE_LIMIT
from treasury.domain.errors import ConfigError, NotFound

TREE = """
[[budget]]
cost_centre = "lab"
amount = "100 USD"

[[budget]]
cost_centre = "team"
parent = "lab"
amount = "10 USD"
"""
JOB = '[[job]]\nid = "a"\ncost_centre = "team"\ngpu = "V100"\nwork = "1h"\n'


def complaints(text: str) -> list[str]:
    """Every message about a text called c.toml."""
    findings = inspect_text(text, "c.toml")
    assert (findings.config is None) == bool(findings.errors)
    return [str(error) for error in findings.errors]


CASES = {
    "unknown key": (
        '[engine]\n\nhorizn = "2h"',
        "c.toml:3: engine.horizn: unknown key (value '2h'); did you mean \"horizon\"?",
    ),
    "unknown section": ("[engin]", 'c.toml:1: engin: unknown key; did you mean "engine"?'),
    "duration without unit": (
        "[engine]\ntick = 195",
        (
            "c.toml:2: engine.tick: duration 195 cannot be used: "
            'expected text with its unit, such as "195s"'
        ),
    ),
    "fraction without unit": (
        "[engine]\ntick = 1.5",
        (
            "c.toml:2: engine.tick: duration 1.5 cannot be used: "
            'expected text with its unit, such as "1.5s"'
        ),
    ),
    "money without unit": (
        '[[budget]]\ncost_centre = "a"\namount = 250',
        (
            "c.toml:3: budget[0].amount: money 250 cannot be used: "
            'expected text with its unit, such as "250 USD"'
        ),
    ),
    "rate without unit": (
        TREE + "burn_cap = 3",
        (
            "c.toml:10: budget[1].burn_cap: rate 3 cannot be used: "
            'expected text with its unit, such as "3 USD/h"'
        ),
    ),
    "rate with the unit of money": (
        TREE + 'ceiling = "2 USD"',
        (
            "c.toml:10: budget[1].ceiling: rate '2 USD' cannot be used: "
            'expected money per hour, such as "2.10 USD/h"'
        ),
    ),
    "negative amount": (
        '[[budget]]\ncost_centre = "a"\namount = "-5 USD"',
        "c.toml:3: budget[0].amount: money '-5 USD' cannot be used: expected no less than 0.00 USD",
    ),
    "nothing as a duration": (
        '[engine]\ntick = "0s"',
        "c.toml:2: engine.tick: duration '0s' cannot be used: expected more than nothing",
    ),
    "not a number": (
        TREE + "front_load = nan",
        (
            "c.toml:10: budget[1].front_load: share 'NaN' cannot be used: "
            "expected a number from 0 to 1, such as 0.25"
        ),
    ),
    "infinite": (
        "[simulation.demand]\nthroughput = { V100 = inf }",
        (
            "c.toml:2: simulation.demand.throughput: factor 'Infinity' cannot be used: "
            "expected a number above 0, such as 1.5"
        ),
    ),
    "true as a number": (
        "[engine]\nquote_jump = true",
        "c.toml:2: engine.quote_jump: count True cannot be used: expected a whole number from 0",
    ),
    "dangling parent": (
        TREE.replace('parent = "lab"', 'parent = "lap"'),
        'c.toml:8: budget[1].parent: "lap" is no cost centre of this file; did you mean "lab"?',
    ),
    "dangling cost centre": (
        TREE + JOB.replace('"team"', '"teem"'),
        (
            'c.toml:12: job[0].cost_centre: "teem" is no cost centre of this file; '
            'did you mean "team"?'
        ),
    ),
    "dangling provider": (
        TREE + 'providers = ["asw"]\n[provider.aws]',
        (
            'c.toml:10: budget[1].providers: "asw" is no [provider.NAME] of this file; '
            'did you mean "aws"?'
        ),
    ),
    "group to nowhere": (
        TREE + '[simulation.demand.cost_centres]\nvc1 = "labs"',
        (
            'c.toml:11: simulation.demand.cost_centres.vc1: "labs" is no cost centre of this file; '
            'did you mean "lab"?'
        ),
    ),
    "two cost centres of one name": (
        TREE.replace('"team"', '"lab"').replace('parent = "lab"\n', ""),
        'c.toml:7: budget[1].cost_centre: "lab" is taken by budget[0] already',
    ),
    "two jobs of one name": (
        TREE + JOB + JOB,
        'c.toml:16: job[1].id: "a" is taken by job[0] already',
    ),
    "parents in a circle": (
        TREE.replace('cost_centre = "lab"', 'cost_centre = "lab"\nparent = "team"'),
        "c.toml:4: budget[0].parent: cost centres go round in a circle: lab -> team -> lab",
    ),
    "its own parent": (
        TREE.replace('parent = "lab"', 'parent = "team"'),
        "c.toml:8: budget[1].parent: cost centres go round in a circle: team -> team",
    ),
    "deadline before the submission": (
        TREE + JOB + "submit_at = 2026-03-02T00:00:00Z\ndeadline = 2026-03-01T00:00:00Z",
        (
            "c.toml:16: job[0].deadline: 2026-03-01T00:00:00Z is not after the submission at "
            "2026-03-02T00:00:00Z"
        ),
    ),
    "no time until the deadline": (
        TREE + JOB + 'deadline = "+0s"',
        'c.toml:15: job[0].deadline: "+0s" leaves no time: expected an offset above 0',
    ),
    "missing": ('[[budget]]\namount = "1 USD"', 'c.toml:1: budget[0]: "cost_centre" is missing'),
    "no accelerator": (
        TREE + JOB.replace('gpu = "V100"\n', ""),
        (
            'c.toml:10: job[0]: needs either "gpu" (one model) or "throughput" '
            "(several, with their speeds)"
        ),
    ),
    "unknown accelerator": (
        TREE + JOB.replace("V100", "V10O"),
        (
            "c.toml:13: job[0].gpu: accelerator 'V10O' cannot be used: "
            'expected a known model; did you mean "V100"?'
        ),
    ),
    "unknown tenure": (
        TREE + 'tenures = ["sport"]',
        (
            "c.toml:10: budget[1].tenures[0]: 'sport' cannot be used: "
            "expected one of spot, on_demand, reserved, owned"
        ),
    ),
    "hours past midnight": (
        TREE + 'windows = [{ hours = "22-06" }]',
        (
            "c.toml:10: budget[1].windows[0].hours: hours '22-06' cannot be used: "
            'expected hours of one day, such as "08-20" (two windows for hours past midnight)'
        ),
    ),
    "pacing without a period": (
        TREE + "front_load = 0.1",
        'c.toml:10: budget[1].front_load: needs a period of "day" or "week" or "month" or "fixed"',
    ),
    "a rolling period of no length": (
        TREE + 'period = "rolling"',
        'c.toml:6: budget[1].window: is missing: how long is the rolling period, "30d"?',
    ),
    "a length for a calendar period": (
        TREE + 'period = "week"\nwindow = "7d"',
        'c.toml:11: budget[1].window: needs a period of "rolling"',
    ),
    "a fixed period without its end": (
        TREE + 'period = "fixed"\nstarts_at = 2026-01-01',
        'c.toml:6: budget[1]: a fixed period needs "starts_at" and "ends_at"',
    ),
    "a fixed period that floats": (
        TREE + 'period = "fixed"\nstarts_at = "+1d"\nends_at = 2026-01-01',
        "c.toml:6: budget[1]: a fixed period needs instants, not offsets",
    ),
    "a fixed period that ends before it starts": (
        TREE + 'period = "fixed"\nstarts_at = 2026-02-01\nends_at = 2026-01-01',
        (
            "c.toml:12: budget[1].ends_at: 2026-01-01T00:00:00Z is not after its start at "
            "2026-02-01T00:00:00Z"
        ),
    ),
    "nobody to borrow from": (
        TREE.replace('parent = "lab"\n', 'borrow = "1 USD"\n'),
        ("c.toml:8: budget[1].borrow: there are no siblings to borrow from without a parent"),
    ),
    "an unknown time zone": (
        TREE + 'zone = "Europe/Berlln"',
        (
            "c.toml:10: budget[1].zone: zone 'Europe/Berlln' cannot be used: expected a time zone, "
            'such as "Europe/Berlin"; did you mean "Europe/Berlin"?'
        ),
    ),
    "reserve above the amount": (
        TREE + 'reserve = "11 USD"',
        "c.toml:10: budget[1].reserve: 11.00 USD is more than the whole amount (10.00 USD)",
    ),
    "horizon below accrual": (
        '[engine]\naccrual = "3h"\nhorizon = "2h"',
        (
            "c.toml:3: engine.horizon: 2h is shorter than engine.accrual (3h): "
            "money would run out between two meterings"
        ),
    ),
    "unknown kind of provider": (
        '[provider.aws]\nkind = "simulate"',
        'c.toml:2: provider.aws.kind: "simulate" is no kind; did you mean "simulated"?',
    ),
    "priorities that are no whole": (
        "[simulation.demand]\npriorities = { 0 = 0.5, 1 = 0.4 }",
        (
            "c.toml:2: simulation.demand.priorities: priorities {'0': 0.5, '1': 0.4} "
            "cannot be used: expected shares that sum to 1"
        ),
    ),
    "slack below the work": (
        "[simulation.demand.deadlines]\nshare = 0.5\nslack = [0.9, 2]",
        (
            "c.toml:3: simulation.demand.deadlines.slack: slack [0.9, 2] cannot be used: "
            "expected two factors from 1, the smaller first, such as [1.3, 3.0]"
        ),
    ),
    "a name with a colon": (
        TREE.replace('"team"', '"team:a"'),
        (
            "c.toml:7: budget[1].cost_centre: name 'team:a' cannot be used: "
            "expected 1 to 64 letters, digits or any of _ . @ + -"
        ),
    ),
    "a table where text belongs": (
        "[simulation]\ntrace = { name = 1 }",
        "c.toml:2: simulation.trace: {'name': 1} cannot be used: expected text in quotes",
    ),
    "parameters that are not finite": (
        "[strategy.greedy]\nshare = inf",
        "c.toml:2: strategy.greedy.share: Infinity cannot be used: expected a finite number",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named_with_line_path_value_and_remedy(case: str) -> None:
    """Each kind of mistake gives exactly one message, which says all that is needed to mend it."""
    text, expected = CASES[case]
    assert complaints(text) == [expected]


def test_every_mistake_is_reported_at_once() -> None:
    """A person mends a file in one go: independent mistakes are all in the answer."""
    text = '[engine]\ntick = 1\nhorizn = "2h"\n[[budget]]\ncost_centre = "a"\namount = "1"\n'
    assert [message.split(": ")[1] for message in complaints(text)] == [
        "engine.tick",
        "engine.horizn",
        "budget[0].amount",
    ]


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    """A credential that somebody put under a key we do not know is not printed."""
    (message,) = complaints('[provider.aws]\napi_token = "s3cr3t"')
    assert "s3cr3t" not in message
    assert "provider.aws.api_token: unknown key (value not shown)" in message


def test_load_config_raises_the_first_and_counts_the_rest(tmp_path: Path) -> None:
    """Who only loads gets one error that says how many more there are and what lists them."""
    path = tmp_path / "two.toml"
    path.write_text('[engine]\ntick = 1\nhorizn = "2h"\n')
    with pytest.raises(ConfigError, match=r"engine\.tick.*1 more: treasury validate .*two\.toml"):
        load_config(path)


def test_no_file_is_said_so(tmp_path: Path) -> None:
    """A missing file is NotFound, a folder an error that names it."""
    with pytest.raises(NotFound, match="no such configuration file"):
        load_config(tmp_path / "none.toml")
    (error,) = inspect_config(tmp_path).errors
    assert str(error) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("[engine]\ntick = '1s'".encode("utf-16"), "is not UTF-8 text (byte 0xff at 0)"),
        ('title = "caf\xe9"'.encode("latin-1"), "is not UTF-8 text (byte 0xe9 at 12)"),
        (b"#" * (SIZE_LIMIT + 1), "is larger than 256 kB"),
        (b"[engine\n", "is not TOML"),
        (b"\x00", "is not TOML"),
        (b"x = " + b"[" * 5_000, "nested too deeply"),
        (b"x = " + b"9" * 5_000, "too large to be read"),
        (b"x = 1e" + b"9" * 40, "too large to be read"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, raw: bytes, problem: str) -> None:
    """Other encodings, other files and hostile ones end in one message, not in a traceback."""
    path = tmp_path / "c.toml"
    path.write_bytes(raw)
    (error,) = inspect_config(path).errors
    assert problem in str(error)
    assert str(path) in str(error)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors begin UTF-8 files with a mark; the file is read all the same."""
    path = tmp_path / "c.toml"
    path.write_bytes('[engine]\ntick = "5s"'.encode("utf-8-sig"))
    assert load_config(path).engine.tick == 5_000_000_000


def test_a_key_without_end_is_refused_before_it_is_parsed() -> None:
    """A key of 100,000 parts would take the parser hours and the machine's memory."""
    (message,) = complaints("\n" + ".".join("a" * 100_000) + " = 1")
    assert message == "c.toml:2: a key has more than 32 dots"


@pytest.mark.parametrize(
    "line",
    [
        f"x = [{', '.join(['1.5'] * 50)}]",
        f'x = "{"." * 50}"',
        f"x = '{'a.' * 50}'",
        f"x = 1 # {'a.' * 50}",
    ],
)
def test_dots_outside_keys_do_not_count(line: str) -> None:
    """Lists of fractions, texts and comments may hold as many dots as they like."""
    (message,) = complaints(line)
    assert message.startswith("c.toml:1: x: unknown key")
