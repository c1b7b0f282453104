"""The verbs that speak with a running daemon, against a real one behind its own socket."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.api import ADMIN, CANARY, START, VIEWER, Rig, served
from tests.support.spending import keep, month
from tests.support.table import A, B, Table
from treasury.cli import bill
from treasury.cli.client import Client, NoDaemon, Refused, find
from treasury.cli.main import cli
from treasury.domain import events as e
from treasury.domain.errors import BadValue, StoreError, UserError
from treasury.domain.money import MICRO, NANO
from treasury.store import SqlStore

SAMPLE = Path(__file__).parent.parent / "data" / "focus_sample.csv"
JOB = "cost_centre: team\ngpu: V100\nduration: 6h\ncommand: python train.py\n"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A daemon with one running job, found by its state directory."""
    table = Table(now=START)
    table.run()
    monkeypatch.chdir(tmp_path)
    with served(tmp_path / "treasury-state", table) as (house, _):
        yield house


def run(*words: object, code: int = 0, **more: Any) -> Result:
    """A command line's result; a user's mistake is raised."""
    result = CliRunner().invoke(cli, [str(word) for word in words], **more)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_jobs_are_submitted_from_files(rig: Rig, tmp_path: Path) -> None:
    """A file's name is the job's where it has none; settings are put in; notes go to stderr."""
    file, other = tmp_path / "train.yaml", tmp_path / "b.toml"
    file.write_text(JOB)
    other.write_text(
        'name = "b"\ncost_centre = "team"\ngpu = "H100:8"\nduration = "1h"\nrun = """\na\nb\n"""\n'
        "deadline = 2030-01-01T00:00:00Z\n[env]\nLR = 0.1\n"
    )
    told = run("submit", file, other, "--set", "env.EPOCHS=3", "--set", "priority=7")
    assert "train" in told.stdout and "b: no market at hand sells H100" in told.stderr
    spec = rig.book.jobs["b"].spec
    assert spec.task.env == {"LR": "0.1", "EPOCHS": "3"} and spec.priority == 7
    assert spec.task.command == ("bash", "-c", "a\nb\n")
    again = run("submit", file, "-o", "json")
    assert json.loads(again.stdout)[0]["job"] == "train-2"
    assert run("submit", "-", input=JOB).stdout.splitlines()[1].split()[0] == "job"


def test_nothing_is_submitted_unless_all_is_well(rig: Rig, tmp_path: Path) -> None:
    """A mistake in the second file, a centre the daemon lacks, a dry run: no job is queued."""
    good, bad, poor = (tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml"))
    good.write_text(JOB)
    bad.write_text(JOB + "nodes: 0\npriority: x\n")
    poor.write_text(JOB.replace("team", "teem"))
    with pytest.raises(UserError) as caught:
        run("submit", good, bad)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{bad}:5",
        f"{bad}:6",
    ]
    with pytest.raises(Refused, match='did you mean "team"'):
        run("submit", good, poor)
    run("submit", good, "--dry-run")
    assert list(rig.book.jobs) == ["j"]


def test_the_queue_and_a_job(rig: Rig) -> None:
    """The queue shows where each job is; a job's page has its machines and its story."""
    lines = run("queue").stdout.splitlines()
    assert lines[1].startswith("j ") and A.id in lines[1] and "1.0000 USD/h" in lines[1]
    row = json.loads(run("queue", "-o", "json", "--cost-centre", "team").stdout)[0]
    assert (row["id"], row["state"], row["rate"]) == ("j", "running", NANO)
    assert json.loads(run("queue", "-o", "json", "--state", "queued").stdout) == []
    page = run("status", "j").stdout
    assert "i-1" in page and "placement_opened" in page and "work_running" in page
    story = list(csv.DictReader(io.StringIO(run("status", "j", "-o", "csv").stdout)))
    assert [step["what"] for step in story][:2] == ["job_queued", "placement_opened"]
    with pytest.raises(Refused, match="no job is called 'jj'"):
        run("status", "jj")


def test_the_daemon_tells_how_it_is(rig: Rig) -> None:
    """The exit code says whether it is ready."""
    told = {row["what"]: row["value"] for row in json.loads(run("status", "-o", "json").stdout)}
    assert told["ready"] is True and told["conduct"] == "enforce" and told["you.name"] == "admin"
    rig.ready = False
    run("status", code=1)


def test_offers_by_value(rig: Rig) -> None:
    """The cheapest of an accelerator has the score 100; prices are by machine and by GPU."""
    lines = run("offers", "--gpu", "tesla v100").stdout.splitlines()
    names = ["provider", "region", "zone", "instance", "GPU", "tenure", "$/h", "$/GPU-h", "age"]
    assert all(name in lines[0] for name in [*names, "score"])
    assert lines[1].split()[-4:] == ["1.0000", "1.0000", "0s", "100"]
    rows = json.loads(run("offers", "-o", "json").stdout)
    assert [row["id"] for row in rows] == [A.id, B.id]
    limited = run("offers", "--limit", 1)
    assert "1 of 2 offers" in limited.stderr
    assert run("offers", "--tenure", "owned", "-o", "csv").stdout.count("\n") == 1


def test_orders(rig: Rig) -> None:
    """Each order does what it says and is signed with the user's name, or with another."""
    assert run("migrate", "j", B.id, "--bid", "9USD/h").stdout.startswith("j: running")
    with pytest.raises(BadValue, match="--bid"):
        run("migrate", "j", B.id, "--bid", "9")
    with pytest.raises(Refused, match="moving already"):
        run("migrate", "j", B.id)
    assert run("drain", "aws", "--by", "ann").stdout.startswith("aws: is left; 2 machines")
    assert run("drain", "aws", "--undo").stdout == "aws: is used again\n"
    assert run("cancel", "j").stdout == "j: cancelled\n"
    assert run("status", "j").stdout.startswith("Job j is cancelled; it cost 0.00 USD")
    with pytest.raises(Refused, match="cancelled already"):
        run("preempt", "j")
    assert run("conduct").stdout == "enforce\n"
    told = run("panic", "--by", "ann")
    assert (
        told.stdout.startswith("no more machines are taken; ") and "conduct enforce" in told.stderr
    )
    assert run("conduct").stdout == "observe\n"
    assert run("conduct", "enforce").stdout == "enforce\n"
    assert run("reload").stdout == "engine.tick: 1m -> 2m\n"
    facts = [fact for entry in rig.store.entries() for fact in entry.facts]
    assert next(f.by for f in facts if isinstance(f, e.ProviderDrained)) == "ann"


def test_a_running_job_is_preempted(rig: Rig) -> None:
    """It is stopping, and signed orders pass the API."""
    assert run("preempt", "j").stdout == "j: stopping\n"


def test_events_and_logs(rig: Rig) -> None:
    """A line a fact, or an object a turn; from a turn on; a job's output as it is."""
    lines = run("events", "--job", "j").stdout.splitlines()
    assert "job queued" in lines[0] and lines[0].startswith("1970-02-11T16:00:00Z  ")
    turns = [json.loads(line) for line in run("events", "-o", "json").stdout.splitlines()]
    assert [turn["seq"] for turn in turns] == sorted(turn["seq"] for turn in turns)
    last = turns[-1]["seq"]
    assert run("events", "--after", last).stdout == ""
    only = run("events", "--after", 0, "--kind", "work_running").stdout
    assert only.count("\n") == 1 and "job=j placement=1" in only
    assert run("logs", "j").stdout == "first\nsecond\n"
    assert run("logs", "j", "-f").stdout == "first\nsecond\n"


def test_ways_to_a_daemon(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By state directory, by variables, by options; what is missing is said."""
    state = tmp_path / "treasury-state"
    url = json.loads((state / "api.json").read_text())["url"]
    assert find().url == url
    word = tmp_path / "token"
    word.write_text(VIEWER + "\n")
    with pytest.raises(Refused, match="may look, not order") as caught:
        run("cancel", "j", "--token-file", word)
    assert caught.value.status == 403
    monkeypatch.chdir("/")
    with pytest.raises(NoDaemon, match="treasury run"):
        run("queue")
    assert "j" in run("queue", "--state-dir", state).stdout
    monkeypatch.setenv("TREASURY_URL", url)
    monkeypatch.setenv("TREASURY_TOKEN", ADMIN)
    assert "j" in run("queue").stdout
    monkeypatch.setenv("TREASURY_TOKEN", CANARY)
    with pytest.raises(Refused, match="a valid token is needed") as caught:
        run("queue")
    assert CANARY not in str(caught.value)
    monkeypatch.delenv("TREASURY_TOKEN")
    with pytest.raises(NoDaemon, match="wants a token"):
        find("http://example.org:1", None, state)
    for wrong in ("ftp://x", "nonsense", "http://", "http://x:y"):
        with pytest.raises(UserError, match="expected http://HOST:PORT"):
            Client(wrong, ADMIN)
    with pytest.raises(NoDaemon, match="does not answer"):
        Client("http://127.0.0.1:9", ADMIN).post("/v1/conduct", {"conduct": "observe"})


def test_a_bill_is_booked_by_the_daemon_that_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the desk would book the leader books, in orders of few bytes; again it adds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bill, "_BYTES_AN_ORDER", 1)
    db, kept = tmp_path / "treasury.db", keep(month(ends=False), tmp_path / "kept.db")
    words = ("bill", "import", "focus", SAMPLE, "--unmatched", "org", "-o", "json")
    dry = json.loads(run(*words, "--dry-run", "--db", kept).stdout)
    kept.rename(db)
    store = SqlStore.open(db)
    store.lead("daemon")
    with served(tmp_path / "treasury-state", store=store) as (rig, _):
        assert json.loads(run(*words).stdout) == dry
        booked = rig.book.bills
        assert booked == dry[-1]["parts"] > 1
        assert rig.book.ledger.account("equity:variance").balance == -dry[-1]["amount"] != 0
        run(*words)
        assert rig.book.bills == booked
    store.close()


def test_budgets_are_changed_by_the_daemon_that_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database is led, the same verbs ask the leader; without one to ask they say so."""
    monkeypatch.chdir(tmp_path)
    db = tmp_path / "treasury.db"
    table = Table(now=START)
    table.submit("k")
    store = SqlStore.open(db)
    store.lead("daemon")
    with pytest.raises(StoreError, match="no daemon is known here"):
        run("budget", "top-up", "team", "5USD")
    history = SqlStore.open(db, read_only=True)
    with served(tmp_path / "treasury-state", table, store, history=history) as (rig, _):
        assert "limit 105.00 USD" in run("budget", "top-up", "team", "5USD").stdout
        assert "refused" in run("budget", "top-up", "team", "-500USD", code=1).stderr
        assert "from org" not in run("budget", "freeze", "team").stdout
        assert run("budget", "freeze", "team").stdout == "team: is frozen already\n"
        assert run("budget", "thaw", "team").stdout == "team: not frozen\n"
        assert run("approve", "k", "--by", "ann").stdout == "k: approved\n"
        assert run("approve", "k").stdout == "k: was approved already\n"
        with pytest.raises(UserError, match="makes changes now"):
            run("budget", "freeze", "team", "--at", "2030-01-01")
        assert rig.book.level("team").limit == 105 * MICRO
    history.close()
    store.close()
