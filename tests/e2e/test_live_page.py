"""The live page of a real daemon's API in a real browser: asked once for a token, it follows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import JOB, START, VIEWER, served
from tests.support.browser import Browser, browsing, complaints
from tests.support.table import Table
from treasury.cli.client import find

pytestmark = pytest.mark.browser

# The loopback, and nothing else.
FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)
HOSTILE = "<img src=x onerror=document.title='hit'>"
# A promise that comes true with the text of a part of the page once it holds a word.
SHOWS = """new Promise((resolve, reject) => {
  const until = Date.now() + 20000;
  const look = () => {
    const text = document.getElementById(%r)?.textContent ?? "";
    if (text.includes(%r)) resolve(text);
    else if (Date.now() > until) reject(new Error(text));
    else setTimeout(look, 20);
  };
  look();
})"""


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Browser]:
    """One browser that reaches the loopback."""
    with browsing(require, FLAGS) as started:
        yield started


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A daemon with a running job and a budget."""
    table = Table(now=START)
    table.run()
    table.submit("waiting", labels={"note": HOSTILE})
    with served(tmp_path, table) as served_at:
        yield served_at


def test_the_page_follows_the_daemon(
    browser: Browser, daemon: tuple[Any, str], tmp_path: Path
) -> None:
    """A viewer's token shows jobs, machines, budgets, prices and decisions; what is submitted
    meanwhile appears by itself; nothing is asked of anybody else, and nothing complains."""
    _, url = daemon
    browser.view(url)
    browser.value(SHOWS % ("ask", "A token"))
    assert browser.value("document.getElementById('ask').open") is True
    browser.value(f"document.getElementById('token').value = '{VIEWER}'")
    browser.value("document.querySelector('#ask button').click()")
    assert "aws/us/a/p3/spot" in browser.value(SHOWS % ("jobs", "waiting"))
    assert "i-1" in browser.value(SHOWS % ("leases", "i-1"))
    assert "team" in browser.value(SHOWS % ("budgets", "org"))
    assert browser.value("document.querySelectorAll('#budgets svg .holds').length") == 2
    assert "1 x V100" in browser.value(SHOWS % ("offers", "V100"))
    assert "work running" in browser.value(SHOWS % ("facts", "job queued"))
    client = find(url, None, tmp_path)
    client.post("/v1/jobs", {**JOB, "name": "late"})
    client.post("/v1/jobs/late/approve", {"by": HOSTILE})
    browser.value(SHOWS % ("jobs", "late"))
    assert HOSTILE in browser.value(SHOWS % ("facts", "onerror"))
    assert browser.value("document.title") == "treasury"
    assert browser.value("document.querySelectorAll('main img').length") == 0
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert asked and all(address.startswith(url) for address in asked)
    assert complaints(browser) == []
    # The same tab is not asked again.
    browser.view(url, width=500, scheme="dark")
    browser.value(SHOWS % ("jobs", "late"))
    assert browser.value("document.getElementById('ask').open") is False
    assert browser.value("document.documentElement.scrollWidth") <= 500
    ground = browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
    assert int(ground) < 60
    assert complaints(browser) == []


def test_a_wrong_token_is_asked_for_again(browser: Browser, daemon: tuple[Any, str]) -> None:
    """The page says what was wrong and asks once more."""
    _, url = daemon
    browser.view(url)
    browser.value(SHOWS % ("ask", "A token"))
    browser.value("sessionStorage.clear()")
    browser.view(url)
    browser.value(SHOWS % ("ask", "A token"))
    browser.value("document.getElementById('token').value = 'wrong'")
    browser.value("document.querySelector('#ask button').click()")
    browser.value(SHOWS % ("state", "a valid token is needed"))
