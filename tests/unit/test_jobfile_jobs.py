"""Job files to jobs: every key, other tools' words, settings from outside, secrets' values."""

import json
from pathlib import Path

import msgspec
import pytest

from treasury.domain.errors import NotFound, UserError
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.task import Task
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury.jobfile import JobSection, job_spec, load_job, read_file, read_text, with_settings
from treasury.jobfile.schema import JOB_SCHEMA
from treasury.jobfile.secrets import secret_values
from treasury.jobfile.sections import CheckpointSection, ResourcesSection
from treasury.jobfile.specs import value_at

NOW = 1_700_000_000 * SECOND
FULL = """
name: train-llama
cost_centre: research
resources:
  any_of:
    - gpu: H100:8
    - {gpu: "A100-80GB:8", speed: 0.45}
  memory: 80GB
  exact: true
  provider: [aws, gcp]
  region: us-east-1
  spot: auto
nodes: 2
duration: 6h
max_duration: 1d
start_overhead: 90s
deadline: +12h
priority: 5
value: 500 USD
max_price: 30 USD/h
interruptible: false
image: ghcr.io/acme/train:1
workdir: /data
env: {LR: 0.001, EPOCHS: 3, NAME: "no", FLAG: no}
secrets: [HF_TOKEN]
retry: 2
grace: 1m
command: python train.py --name 'my run'
checkpoint: {dir: ckpt, to: "s3://bucket/x", interval: 10m, hook: ./save}
labels: {team: llm}
"""


def spec(text: str, kind: str = ".yaml", *settings: str) -> JobSpec:
    """The job of a document."""
    source = read_text(text.encode(), f"job{kind}", kind)
    return job_spec(load_job(with_settings(source, settings)), "j", NOW)


def test_every_key_arrives_where_it_belongs() -> None:
    """One document with every key gives exactly this job."""
    assert spec(FULL) == JobSpec(
        id="j",
        cost_centre="research",
        requirement=Requirement(
            throughput={"A100-80GB": 450, "H100": 1_000},
            gpus=8,
            nodes=2,
            gpu_memory_gib=80,
            providers=("aws", "gcp"),
            regions=("us-east-1",),
            exact=True,
        ),
        work=6 * HOUR,
        submitted_at=NOW,
        start_overhead=90 * SECOND,
        checkpoint_interval=10 * MINUTE,
        deadline=NOW + 12 * HOUR,
        priority=5,
        value=500_000_000,
        max_rate=30_000_000_000,
        interruptible=False,
        labels={"team": "llm"},
        task=Task(
            command=("python", "train.py", "--name", "my run"),
            image="ghcr.io/acme/train:1",
            env={"LR": "0.001", "EPOCHS": "3", "NAME": "no", "FLAG": "no"},
            secrets=("HF_TOKEN",),
            workdir="/data",
            checkpoint_dir="ckpt",
            checkpoint_to="s3://bucket/x",
            checkpoint_hook=("./save",),
            grace=MINUTE,
            retries=2,
            max_duration=24 * HOUR,
        ),
    )


def test_toml_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    """The same job in three formats is the same job."""
    table = {
        "cost_centre": "team",
        "gpu": "H100:8",
        "duration": "6h",
        "run": "a\nb\n",
        "deadline": "2030-01-01T00:00:00Z",
    }
    (tmp_path / "job.json").write_text(json.dumps(table))
    (tmp_path / "job.yaml").write_text(
        "cost_centre: team\ngpu: H100:8\nduration: 6h\ndeadline: 2030-01-01T00:00:00Z\n"
        "run: |\n  a\n  b\n"
    )
    (tmp_path / "job.toml").write_text(
        'cost_centre = "team"\ngpu = "H100:8"\nduration = "6h"\ndeadline = 2030-01-01T00:00:00Z\n'
        'run = """\na\nb\n"""\n'
    )
    jobs = [load_job(read_file(tmp_path / f"job.{kind}")) for kind in ("json", "yaml", "toml")]
    assert jobs[0] == jobs[1] == jobs[2]


@pytest.mark.parametrize(
    "text",
    [
        "resources: {accelerators: H100:8, use_spot: true, cloud: aws}\nnum_nodes: 2\nenvs: {A: b}",
        "resources: {accelerators: {H100: 8}, spot: true, provider: [aws]}\nnodes: 2\nenv: {A: b}",
        "gpu: {name: H100, count: 8}\nspot_policy: spot\nbackends: [aws]\nnodes: 2\nenv: {A: b}",
        "gpu: [H100:8]\nresources: {tenure: spot, cloud: aws}\nnodes: 2\nenv: {A: b}",
    ],
)
def test_the_words_of_other_tools_are_understood(text: str) -> None:
    """Forms that users of SkyPilot and dstack write mean what they mean there."""
    job = spec(f"cost_center: team\nduration: 1h\ncommand: x\n{text}\n")
    need = job.requirement
    assert (need.throughput, need.gpus, need.nodes) == ({"H100": 1_000}, 8, 2)
    assert (need.tenures, need.providers) == (("spot",), ("aws",))
    assert job.task is not None and job.task.env == {"A": "b"}
    assert job.cost_centre == "team"


BASE = "cost_centre: t\ngpu: T4\nduration: 1h\n"


def test_only_run_with_lines_is_a_script() -> None:
    """One line is split into arguments, a list is taken as it is, lines are given to bash."""
    commands = {
        "command: a 'b c'": ("a", "b c"),
        "command: [a, '$x; | y']": ("a", "$x; | y"),
        "run: a 'b;c'": ("a", "b;c"),
        "run: |\n  a | b\n": ("bash", "-c", "a | b\n"),
    }
    for text, command in commands.items():
        task = spec(f"{BASE}{text}\n").task
        assert task is not None and task.command == command


def test_setup_is_data_to_a_fixed_script() -> None:
    """What a setup and a command say is passed as arguments, never pasted into a script."""
    found = []
    for text in ("setup: pip install 'a b'\ncommand: [x, '$(y)']", "setup: |\n  a\n  b\nrun: c d"):
        task = spec(f"{BASE}{text}\n").task
        assert task is not None
        assert task.command[:2] == ("bash", "-c") and task.command[3] == "setup"
        found.append(task.command)
    assert found[0][2] == found[1][2]
    assert found[0][4:] == ("pip install 'a b'", "x", "$(y)")
    assert found[1][4:] == ("a\nb\n", "c", "d")


def test_work_without_duration_is_the_longest_allowed() -> None:
    """max_duration stands in for duration."""
    assert spec("cost_centre: t\ngpu: T4\nmax_duration: 2h\ncommand: x\n").work == 2 * HOUR


def test_settings_are_put_in_from_outside() -> None:
    """A file is a template: keys are replaced or added, and what an alias shares stays."""
    settings = ("env.LR=0.1", "nodes=4", "resources.region=eu", "name=x1", "command=a b")
    job = spec(f"{BASE}command: x\nenv: {{LR: 1}}\n", ".yaml", *settings)
    assert job.task is not None and job.task.env == {"LR": "0.1"}
    assert job.task.command == ("a", "b")
    assert (job.requirement.nodes, job.requirement.regions) == (4, ("eu",))
    shared = f"{BASE}command: x\nenv: &e {{LR: 1}}\nlabels: *e\n"
    source = read_text(shared.encode(), "job.yaml", ".yaml")
    assert with_settings(source, ("env.LR=2",)).table["labels"] == {"LR": 1}


def test_a_value_can_be_found_again_by_its_path() -> None:
    """What an answer shows beside an error is what the document holds there, by our names."""
    table = {"num_nodes": 0, "resources": {"any_of": [{"gpu": "H10"}]}}
    assert value_at(table, "nodes") == 0
    assert value_at(table, "resources.any_of[0].gpu") == "H10"
    assert value_at(table, "resources.any_of[7].gpu") is None


def test_the_schema_has_every_key() -> None:
    """The published schema and the sections name the same keys."""
    for kind, schema in (
        (JobSection, JOB_SCHEMA),
        (ResourcesSection, JOB_SCHEMA["properties"]["resources"]),
        (CheckpointSection, JOB_SCHEMA["properties"]["checkpoint"]),
    ):
        names = [field.name for field in msgspec.structs.fields(kind)]
        assert sorted(schema["properties"]) == sorted(names)


def test_secrets_come_from_a_directory_a_file_or_the_environment(tmp_path: Path) -> None:
    """Three sources give the same values; only variables meant for jobs are looked at."""
    folder, file = tmp_path / "secrets", tmp_path / "secrets.env"
    folder.mkdir()
    (folder / "A").write_text("x=1\n")
    file.write_text("# comment\nA=x=1\nB=2\n")
    file.chmod(0o600)
    environment = {"TREASURY_SECRET_A": "x=1", "AWS_SECRET_ACCESS_KEY": "no"}
    assert secret_values(("A",), folder, {}) == {"A": "x=1"}
    assert secret_values(("A",), file, {}) == {"A": "x=1"}
    assert secret_values(("A",), None, environment) == {"A": "x=1"}
    assert secret_values((), None, environment) == {}
    for source in (folder, file, None):
        with pytest.raises(NotFound, match="secret AWS_SECRET_ACCESS_KEY has no value"):
            secret_values(("AWS_SECRET_ACCESS_KEY",), source, environment)


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    """A file with a loose mode or no file at all is a user's error."""
    file = tmp_path / "secrets.env"
    with pytest.raises(UserError, match="No such file"):
        secret_values(("A",), file, {})
    file.write_text("A=hunter2\n")
    file.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600") as caught:
        secret_values(("A",), file, {})
    assert "hunter2" not in str(caught.value)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "A").write_bytes(b"\xffhunter2")
    with pytest.raises(UserError, match="cannot be read as text"):
        secret_values(("A",), tmp_path / "d", {})
