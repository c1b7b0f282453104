"""The parts of `treasury demo live` that need no daemon: screen, news, story, and the proof."""

import io

import msgspec

from tests.support.table import Table
from treasury.cli.live.news import News, Turn, short
from treasury.cli.live.screen import Screen
from treasury.cli.live.story import Cast, acts, configuration
from treasury.config import inspect_text
from treasury.domain import events as e
from treasury.domain.money import NANO
from treasury.domain.time import HOUR
from treasury.jobfile import inspect_job, read_text
from treasury_simulations.live_proof import Trained, prove


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_board_is_drawn_over_the_last_one(monkeypatch):
    """The second board goes up as far as the first one was tall, and clears what it leaves."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "30")
    stream = Terminal()
    screen = Screen(stream)
    screen.draw(["one", "two", "three"])
    screen.tell("not shown")
    screen.draw(["x" * 200])
    first, second = stream.getvalue().split("\x1b[J")[:2]
    assert first.splitlines() == ["\x1b[2Kone", "\x1b[2Ktwo", "\x1b[2Kthree"]
    assert second == "\x1b[3A\x1b[2K" + "x" * 79 + "\n"


def test_without_a_terminal_only_the_news_are_printed():
    """A file gets plain lines and no control characters."""
    stream = io.StringIO()
    screen = Screen(stream)
    screen.draw(["a board"])
    screen.tell(screen.paint("news", fg="red"))
    assert stream.getvalue() == "news\n"
    assert screen.bar(0.5, 4) == "##.."
    assert screen.spark([5, 1, 9], 2) == ".#"


def turn(*facts: e.Fact) -> Turn:
    """A turn as it comes over the API."""
    return msgspec.json.decode(msgspec.json.encode(Turn(1, 5, facts)), type=Turn)


def test_news_name_the_job_a_machine_is_for():
    """A notice that market and machine both give is one; a machine that is lost says whose."""
    news = News()
    offer = "here/host/a/slot/spot"
    opened = e.PlacementOpened(1, "j", offer, (7,), NANO, "t", 0, False, ((1,),))
    lines = news.read(
        [
            turn(opened, e.LeaseNoticed(7, 1, 2)),
            turn(e.LeaseNoticed(7, 1, 2), e.LeaseEnded(7, 2, lost=True, cause="outbid")),
        ]
    )
    assert [line for _, line in lines] == [
        "j: takes a machine at a/spot, bid 1.0000 USD/h",
        "j: notice, a/spot takes it back",
        "j: lost its machine at a/spot (outbid)",
    ]
    assert news.counts == {"interruptions": 1, "machines lost": 1}
    assert short("here/host/slot/on_demand") == "on_demand"


def test_the_story_is_one_that_the_product_takes(tmp_path):
    """Its configuration and each of its job files pass the product's own checks."""
    findings = inspect_text(configuration(tmp_path, 1, 2, 3, 4), "demo.toml")
    assert not findings.errors and findings.config is not None
    cast = Cast(tmp_path)
    assert len(acts(cast)) > 3 and len(cast.trained) == 12
    document = msgspec.json.encode(cast.job("one-more", 5))
    assert not inspect_job(read_text(document, "job", ".json")).errors


def test_the_proof_is_not_easily_satisfied(tmp_path):
    """A journal of a finished job, without a trainer's witness and a market's meter, breaks the
    laws about both; the others hold."""
    table = Table()
    table.run()
    table.turn(e.WorkEnded("j", 1, HOUR), at=HOUR)
    table.turn(e.MachineReleased(1, HOUR))
    job = Trained(job="j", seed="j", steps=1, witness=tmp_path / "w", result=tmp_path / "r")
    results, processes, held, meter, overspend = prove(table.entries, tmp_path, [job])
    assert results.faults == ("j is finished by the journal, its trainer says otherwise",)
    assert meter.faults == ("1000000 booked in all, 0 metered",)
    assert not (processes.faults or held.faults or overspend.faults)


def test_the_proof_sees_what_is_still_held(tmp_path):
    """A job that runs on holds a machine and money."""
    table = Table()
    table.run()
    assert len(prove(table.entries, tmp_path, [])[2].faults) > 1
