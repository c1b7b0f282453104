"""Log lines and metrics: what they tell, what they never tell, and how large they may become."""

import io
import json
import logging

import pytest
import structlog

from tests.support.daemon import Rig, play
from tests.support.table import A, Table
from treasury.domain import events as e
from treasury.domain.errors import NoCapacity
from treasury.domain.money import NANO
from treasury.domain.plan import Place
from treasury.domain.task import Task
from treasury.domain.time import HOUR, SECOND
from treasury.runtime.observer import Observer
from treasury.telemetry import Chorus
from treasury.telemetry.logs import Logs, set_up
from treasury.telemetry.metrics import LABELS_MAX, Metrics
from treasury.telemetry.traces import Traces


@pytest.fixture
def lines():
    """What is logged, as JSON objects."""
    out = io.StringIO()
    root = logging.getLogger()
    before = list(root.handlers)
    set_up("json", out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:] = before


def test_each_decision_is_one_line_with_its_inputs(lines):
    """A placement: who, where, at most how much; a refusal with the figures it was judged by."""
    table = Table()
    logs = Logs()
    table.submit(task=Task(command=("train",), env={"API_TOKEN": "canary-1"}))
    table.plan(Place("j", A.id, 3 * NANO))
    for entry in table.entries:
        logs.turned(entry, table.book, inputs=1, step_ns=1, commit_ns=1)
    told = {line["event"]: line for line in lines()}
    assert told["placement_opened"]["bid"] == "3.0000 USD/h"
    assert told["placement_opened"]["job"] == "j"
    assert told["command_acquire"]["offer"] == A.id
    assert told["job_queued"]["cost_centre"] == "team"
    assert "canary-1" not in json.dumps(lines())
    assert table.book.placements[1].token not in json.dumps(lines())


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-secret-value",
        "postgresql://user:canary-secret-value@db/x",
        "password=canary-secret-value",
        "AKIACANARYSECRETVALU",
    ],
)
def test_secrets_are_masked_wherever_they_stand(lines, text):
    """In a message, in a field of that name, in what a library logs."""
    Logs().broke("x", RuntimeError(text))
    structlog.get_logger().info("x", api_token="canary-secret-value", nested=[text])
    logging.getLogger("some.library").error("it said %s", text)
    assert len(lines()) == 3
    whole = json.dumps(lines())
    assert "canary" not in whole.lower()
    assert "***" in whole


def test_nobody_can_forge_a_line_or_drive_a_terminal(lines):
    """Line breaks, escape codes and direction marks in names come out as text."""
    structlog.get_logger().info("x", job="a\nb\x1b[31mc\u202ed")
    (line,) = lines()
    assert line["job"] == "a\\nb\\x1b[31mc\\u202ed"


def test_a_call_that_keeps_failing_is_told_ever_less_often(lines):
    """A thousand failures leave ten lines, and the recovery one."""
    logs = Logs()
    for _ in range(1_000):
        logs.failed("aws", "leases", NoCapacity("none"))
    assert [line["times"] for line in lines()] == [2**n for n in range(10)]
    logs.called("aws", "leases", 1)
    logs.called("aws", "leases", 1)
    assert [line["event"] for line in lines()[10:]] == ["call_recovered"]


def test_lines_for_people_are_plain_where_no_terminal_is(lines):
    """`text` writes no colour into a file."""
    out = io.StringIO()
    set_up("text", out)
    Logs().led(True, "")
    assert "leading" in out.getvalue() and "\x1b" not in out.getvalue()


def test_metrics_follow_a_job_through_its_life():
    """Machines by state, money by cost centre, counters of refusals and interruptions."""

    async def work(loop):
        rig = Rig(loop)
        metrics = rig.log = Metrics()
        await rig.start()
        await rig.agent.submit(rig.job(work=HOUR))
        await rig.until(lambda: rig.hands.running)
        page = metrics.page().decode()
        assert 'treasury_leases{provider="aws",state="ready"} 1.0' in page
        assert 'treasury_jobs{state="running"} 1.0' in page
        assert 'treasury_burn_usd_per_hour{cost_centre="team"} 1.0' in page
        rig.market.take(1)
        await rig.until(lambda: rig.facts(e.LeaseEnded))
        page = metrics.page().decode()
        assert 'treasury_interruptions_total{provider="aws"} 1.0' in page
        assert 'treasury_spend_usd_total{cost_centre="team"}' in page
        assert "treasury_turn_seconds_count" in page
        assert "_created" not in page
        assert "treasury_leader 1.0" in page

    play(work)


def test_labels_are_bounded():
    """A thousand cost centres: the largest keep their names, the rest is added up."""
    from treasury.telemetry.metrics import _family

    values = {(f"c{n}",): float(n) for n in range(1_000)}
    family = _family("x", "y", ("cost_centre",), values)
    assert len(family.samples) == LABELS_MAX + 1
    rest = next(s.value for s in family.samples if s.labels["cost_centre"] == "other")
    assert sum(sample.value for sample in family.samples) == sum(values.values())
    assert rest == sum(range(1_000 - LABELS_MAX))


def test_every_listener_hears_everything():
    """A chorus passes each call on to all, in order."""
    heard = []

    class Ear(Observer):
        def quiet(self, provider, feed, for_ns):
            heard.append((id(self), provider, feed, for_ns))

    one, other = Ear(), Ear()
    Chorus(one, other).quiet("aws", "quotes", 5)
    assert heard == [(id(one), "aws", "quotes", 5), (id(other), "aws", "quotes", 5)]
    names = [name for name in vars(Observer) if not name.startswith("_")]
    assert all(getattr(Chorus, name) is not getattr(Observer, name) for name in names)


def test_spans_have_the_duration_of_what_they_tell():
    """A turn, a plan and calls as spans that end when they were told, and began before."""
    spans = []

    class Span:
        def __init__(self, name, start, attributes):
            self.name, self.start, self.attributes = name, start, attributes
            self.end_at = None

        def add_event(self, name, timestamp):
            self.event = (name, timestamp)

        def end(self, at):
            self.end_at = at

    class Tracer:
        def start_span(self, name, start_time, attributes):
            spans.append(Span(name, start_time, attributes))
            return spans[-1]

    class Now:
        def now(self):
            return 100 * SECOND

    table = Table()
    traces = Traces(Tracer(), Now())
    traces.turned(table.entries[0], table.book, inputs=2, step_ns=3, commit_ns=4)
    traces.planned(1, 5, SECOND)
    traces.called("aws", "leases", SECOND)
    traces.failed("aws", "acquire", NoCapacity())
    assert [span.name for span in spans] == ["turn", "plan", "leases", "acquire"]
    assert [100 * SECOND - span.start for span in spans] == [7, SECOND, SECOND, 0]
    assert all(span.end_at == 100 * SECOND for span in spans)
    assert spans[3].attributes["error"] == "NoCapacity"
