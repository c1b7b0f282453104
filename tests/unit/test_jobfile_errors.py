"""Job files that cannot be used: each error names file, line, key, value and what would do."""

from pathlib import Path

import pytest

from treasury.domain.errors import BadValue, ConfigError, NotFound
from treasury.jobfile import inspect_job, job_spec, load_job, read_file, read_text, with_settings

GOOD = "cost_centre: team\ngpu: H100:8\nduration: 6h\ncommand: python train.py\n"


def messages(text: str, kind: str = ".yaml") -> list[str]:
    """Every problem of a document."""
    return [str(e) for e in inspect_job(read_text(text.encode(), f"job{kind}", kind)).errors]


@pytest.mark.parametrize(
    ("line", "place", "told"),
    [
        ("gpu: H10:8", "job.yaml:1: gpu", 'did you mean "H100"?'),
        ("gpu: H100:0", "job.yaml:1: gpu", "count 0 cannot be used: expected whole accelerators"),
        ("gpu: [H100:8, T4:4]", "job.yaml:1: gpu", "the same number of accelerators"),
        ("gpu: {name: H100, size: 8}", "job.yaml:1: gpu", "name, count or memory"),
        ("gpu: {H100: 8.5}", "job.yaml:1: gpu", "8.5 cannot be used"),
        ("gpu: [H100:8, H100:8]", "job.yaml:1: gpu", "each model once"),
        ("duration: 6", "job.yaml:1: duration", 'such as "6s"'),
        ("duration: .nan", "job.yaml:1: duration", "'.nan' cannot be used"),
        ("max_duration: -3h", "job.yaml:1: max_duration", '"90s", "6h"'),
        ("deadline: tomorrow", "job.yaml:1: deadline", 'an offset such as "+6h"'),
        ("deadline: +0s", "job.yaml:1: deadline", "leaves no time"),
        ("priority: high", "job.yaml:1: priority", "expected a whole number"),
        ("value: 5", "job.yaml:1: value", '"5 USD"'),
        ("value: -5 USD", "job.yaml:1: value", "no less than 0.00 USD"),
        ("max_price: .inf", "job.yaml:1: max_price", '"2.10 USD/h"'),
        ("max_price: 3 EUR/h", "job.yaml:1: max_price", "the currency USD"),
        ("cost_centre: 'a/b'", "job.yaml:1: cost_centre", "letters, digits"),
        ("name: 'ab\\u202e'", "job.yaml:1: name", "letters, digits"),
        ("nodes: 0", "job.yaml:1: nodes", "a whole number from 1"),
        ("nodez: 2", "job.yaml:1: nodez", 'did you mean "nodes"?'),
        ("command: a && b", "job.yaml:1: command", "no shell reads it"),
        ("command: echo $HOME", "job.yaml:1: command", "no shell reads it"),
        ("command: echo 'a", "job.yaml:1: command", "quotes that close"),
        ("command: []", "job.yaml:1: command", 'such as ["python", "train.py"]'),
        ("command: [a, 1]", "job.yaml:1: command", 'such as ["python", "train.py"]'),
        ('command: ["a\\0"]', "job.yaml:1: command", "no NUL"),
        ("command: |\n  a\n  b", "job.yaml:1: command", "what `run` is for"),
        ("run: a b", "job.yaml:5: command", "expected one of command or run"),
        ("image: [a]", "job.yaml:1: image", "one line of text"),
        ("env: {1A: x}", "job.yaml:1: env", "such as EPOCHS"),
        ("env: {TREASURY_URL: x}", "job.yaml:1: env", "does not begin with TREASURY_"),
        ("env: {A: true}", "job.yaml:1: env", 'text in quotes for A, such as "1"'),
        ("env: [A=b]", "job.yaml:1: env", "a table of at most"),
        ("labels: {a: [b]}", "job.yaml:1: labels", "one line of text"),
        ("grace: 2h", "job.yaml:1: grace", "at most 1h"),
        ("retry: {on_events: [error]}", "job.yaml:1: retry", "how often a program that failed"),
        ("checkpoint: {dir: c}", "job.yaml:1: checkpoint", '"to" is missing'),
        ("checkpoint: {hook: x}", "job.yaml:1: checkpoint.hook", "dir and to as well"),
        ("checkpoint: {dir: c, to: /x}", "job.yaml:1: checkpoint.to", "file://, s3://"),
        ("resources: {memory: 80}", "job.yaml:1: resources.memory", '"80GB"'),
        ("resources: {spot: maybe}", "job.yaml:1: resources.spot", "true, false"),
        ("resources: {tenure: rented}", "job.yaml:1: resources.tenure", "one of spot, on_demand"),
        ("resources: {spot: true, tenure: spot}", "resources.spot", "expected one of them"),
        ("resources: {gpu: T4}", "job.yaml:", "gpu and resources.gpu ask for accelerators"),
        ("resources: {any_of: []}", "job.yaml:1: resources.any_of", "a list such as"),
        ("resources: {any_of: [{gpu: T4, speed: 0}]}", "resources.any_of", "a number above 0"),
        ("resources: {any_of: [{gpu: T4, region: x}]}", "resources.any_of", "gpu and speed only"),
        ("resources: {any_of: [{speed: 1}]}", "job.yaml:1: resources.any_of", "a list such as"),
    ],
)
def test_each_mistake_is_told_where_it_is(line: str, place: str, told: str) -> None:
    """The first problem of a file with one wrong key names its line, key and what would do."""
    key = line.partition(":")[0]
    rest = "".join(part + "\n" for part in GOOD.splitlines() if not part.startswith(f"{key}:"))
    found = messages(f"{line}\n{rest}")
    assert found, line
    assert place in found[0] and told in found[0], found


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("cost_centre", '"cost_centre" is missing'),
        ("gpu", "no gpu is asked for"),
        ("duration", 'such as duration = "6h"'),
        ("command", '"command" is missing'),
    ],
)
def test_what_is_missing_is_named(missing: str, told: str) -> None:
    """Each key a job cannot do without is asked for."""
    text = "".join(f"{x}\n" for x in GOOD.splitlines() if not x.startswith(missing))
    assert [told in line for line in messages(text)] == [True]


def test_every_problem_is_told_at_once() -> None:
    """A file with three mistakes has three errors, each with its own line, in TOML as in YAML."""
    text = 'cost_centre = "t"\ngpu = "H10"\nduration = 6\n\n[checkpoint]\ndri = "x"\n'
    lines = [line.split(": ")[0] for line in messages(text, ".toml")]
    assert lines == ["job.toml:2", "job.toml:3", "job.toml:6"]
    text = 'cost_centre: t\ngpu: H10\nduration: 6\n\ncheckpoint:\n  dri: "x"\n'
    lines = [line.split(": ")[0] for line in messages(text)]
    assert lines == ["job.yaml:2", "job.yaml:3", "job.yaml:6"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "job.yaml:2: has the key 'a' twice"),
        ("a: *b", "names no value"),
        ("a: &a [*a]", "names no value"),
        ("? [a]\n: 1", "a key that is no plain text"),
        ("<<: {a: 1}", "merge key"),
        ("a: !!python/object/apply:os.system [x]", "tags are not taken"),
        ("a: !x y", "tags are not taken"),
        ("- a", "holds no table"),
        ("a: 1\n---\nb: 1", "job.yaml:2: holds more than one document"),
        ("a: " + "[" * 60, "nested more than 24 deep"),
        ("a:\n\t- b", "job.yaml:2: is not YAML"),
        ("a: \x07", "is not YAML"),
        (
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(
                f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
                for old, new in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "holds more than 10000 values",
        ),
    ],
)
def test_what_yaml_can_do_and_a_job_need_not_is_refused(text: str, told: str) -> None:
    """Duplicates, bombs, tags, merges and depth are errors with a line, and none takes long."""
    with pytest.raises(ConfigError, match=r"job\.yaml") as caught:
        read_text(text.encode(), "job.yaml", ".yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "job.json:1: is not JSON"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ('{"a": 1, "a": 2}', "a key twice"),
        ('{"a": ' + "9" * 400 + "}", "too large"),
        ("[1]", "holds no table"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nested more than 24 deep"),
    ],
)
def test_json_is_only_what_json_is(text: str, told: str) -> None:
    """NaN, duplicates, endless numbers and depth are refused."""
    with pytest.raises(ConfigError) as caught:
        read_text(text.encode(), "job.json", ".json")
    assert told in str(caught.value)


def test_traps_of_toml_are_refused(tmp_path: Path) -> None:
    """Endless keys, not-a-number and files that are too large do not stall and do not pass."""
    with pytest.raises(ConfigError, match="more than 32 dots"):
        read_text(("a." * 20_000 + "a = 1").encode(), "job.toml", ".toml")
    text = 'cost_centre = "t"\ngpu = "H100"\nduration = nan\ncommand = "x"\n'
    assert "NaN" in messages(text, ".toml")[0]
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        read_text(b"#" * 300_000, "job.toml", ".toml")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """No file, a strange suffix, a folder and bytes that are no text are a user's errors."""
    with pytest.raises(NotFound, match="no such job file"):
        read_file(tmp_path / "job.toml")
    with pytest.raises(ConfigError, match=r"\.toml, \.yaml"):
        read_file(tmp_path / "job.ini")
    (tmp_path / "d.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path / "d.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_file(tmp_path / "b.yaml")


def test_a_secret_is_never_shown() -> None:
    """A value where a name belongs, or in env under a telling name, is not repeated."""
    for text in (
        "secrets: {HF_TOKEN: hunter2}",
        "secrets: [hunter2!]",
        "secrets: hunter2",
        "env: {API_KEY: [hunter2]}",
    ):
        found = messages(f"{text}\n{GOOD}")
        assert len(found) == 1 and "hunter2" not in found[0] and "(not shown)" in found[0]


def test_a_deadline_in_the_past_is_refused() -> None:
    """The instant is shown beside the one it has to come after."""
    job = load_job(read_text(f"deadline: 2020-01-01\n{GOOD}".encode(), "job.yaml", ".yaml"))
    with pytest.raises(ConfigError, match="2020-01-01T00:00:00Z cannot be used: expected"):
        job_spec(job, "j", 2 * 10**18, "job.yaml")
    late = load_job(read_text(f"deadline: 9999-01-01\n{GOOD}".encode(), "job.yaml", ".yaml"))
    with pytest.raises(ConfigError, match="the instant cannot be used"):
        job_spec(late, "j", 2 * 10**18, "job.yaml")


@pytest.mark.parametrize("setting", ["name", "=x", "a..b=1", "gpu.x=1", ".".join("a" * 40) + "=1"])
def test_a_setting_that_cannot_be_put_in_is_refused(setting: str) -> None:
    """`--set` needs a key and a value, and a place for it."""
    source = read_text(GOOD.encode(), "job.yaml", ".yaml")
    with pytest.raises(BadValue, match="--set"):
        with_settings(source, (setting,))
