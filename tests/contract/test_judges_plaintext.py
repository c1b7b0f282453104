"""hledger, ledger and beancount judge the journals we write: accepted as they are, and refused
when one micro-dollar or one declaration is wrong."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from tests.support.books import turns
from tests.support.spending import month
from tests.support.table import Table
from treasury.domain.budget import Budget
from treasury.domain.money import MICRO
from treasury.finops.plaintext import beancount, journal
from treasury.finops.postings import transactions

# Each judge: the text we write for it, and the command that judges a file.
JUDGES = {
    "hledger": (journal, ["hledger", "-f", "FILE", "check", "-s", "ordereddates", "payees"]),
    "ledger": (journal, ["ledger", "-f", "FILE", "--strict", "--pedantic", "balance"]),
    "beancount": (beancount, [sys.executable, "-m", "beancount.scripts.check", "-C", "FILE"]),
}
LARGE = 100_000

Judge = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(params=sorted(JUDGES))
def name(request: pytest.FixtureRequest, require: Callable[[object, str], None]) -> str:
    """The judge, which must be installed."""
    judge = request.param
    if judge == "beancount":
        require(find_spec("beancount"), "beancount is not installed: pip install beancount")
    else:
        require(shutil.which(judge), f"no {judge} on the PATH: apt-get install {judge}")
    return judge


@pytest.fixture
def judged(name: str, tmp_path: Path) -> Judge:
    """What the judge says about a text."""

    def judge(text: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "books"
        path.write_text(text, encoding="utf-8")
        command = [str(path) if word == "FILE" else word for word in JUDGES[name][1]]
        environment = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return judge


def written(name: str, entries: Iterable, **how: bool) -> str:
    """The text for a judge."""
    return "".join(JUDGES[name][0](entries, **how))


def good(done: subprocess.CompletedProcess[str]) -> bool:
    """Accepted, without a word of warning."""
    return done.returncode == 0 and not done.stderr.strip()


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("ends", [True, False])
def test_the_books_are_accepted(name: str, judged: Judge, holds: bool, ends: bool) -> None:
    """Spending that is over or goes on, with holds shown or not."""
    done = judged(written(name, month(ends=ends).entries, holds=holds))
    assert good(done), done.stdout + done.stderr


def test_every_kind_of_transfer_and_name_is_accepted(name: str, judged: Judge) -> None:
    """Voids, expiries, reversals; names with every sign the configuration allows."""
    assert good(judged(written(name, turns(200))))
    names = ("a_b", "a.b", "a-b", "A-b", "ärger", "1a", "a@b+c")
    budgets = (Budget(cost_centre=centre, amount=MICRO) for centre in names)
    done = judged(written(name, Table(0, *budgets).entries))
    assert good(done), done.stdout + done.stderr


def one_micro_off(text: str) -> str:
    """The last expense is a micro-dollar more."""
    head, amount, tail = re.split(r"(?i)(?s)(.*expenses:\S+  )(\d+\.\d{6})", text)[1:]
    return f"{head}{amount[:-1]}{(int(amount[-1]) + 1) % 10}{tail}"


def balanced_and_wrong(text: str) -> str:
    """The first funding brings a micro-dollar more on both sides: only a balance can tell."""
    return text.replace("200.000000 USD", "200.000001 USD", 1).replace(
        "-200.000000 USD", "-200.000001 USD", 1
    )


def undeclared(text: str) -> str:
    """The declaration of an expense account is gone."""
    return re.sub(r"(?im)^(account|\S+ open) expenses:\S+\n(  path: .*\n)?", "", text, count=1)


def out_of_order(text: str) -> str:
    """A name that nobody declared takes the place of an account."""
    return re.sub(r"(?i)(    |  )(assets:held:)\S+", r"\1\2stranger", text, count=1)


@pytest.mark.parametrize("harm", [one_micro_off, balanced_and_wrong, undeclared, out_of_order])
def test_harm_is_noticed(name: str, judged: Judge, harm: Callable[[str], str]) -> None:
    """One wrong digit, a wrong but balanced amount, or a missing account: each judge refuses."""
    text = written(name, month().entries)
    harmed = harm(text)
    assert harmed != text
    assert judged(harmed).returncode != 0


def test_a_large_export_is_accepted(
    name: str, judged: Judge, require: Callable[[object, str], None]
) -> None:
    """100,000 transfers; minutes on a slow machine, hence only where everything is asked for."""
    everything = os.environ.get("TREASURY_REQUIRE_ALL") == "1" or os.environ.get("CI")
    if not everything:
        pytest.skip("100,000 transfers are judged with CI or TREASURY_REQUIRE_ALL=1 set")
    entries = list(islice(turns(LARGE), 26_500))
    assert sum(1 for _ in transactions(entries)) >= LARGE
    done = judged(written(name, entries))
    assert good(done), done.stdout[-2_000:] + done.stderr[-2_000:]


def test_the_harm_is_small() -> None:
    """The negative controls change one digit, two amounts or one line and nothing else."""
    text = written("hledger", month().entries)

    def differing(harmed: str) -> Iterator[tuple[str, str]]:
        return (
            (a, b) for a, b in zip(text.splitlines(), harmed.splitlines(), strict=False) if a != b
        )

    assert len(list(differing(one_micro_off(text)))) == 1
    assert len(list(differing(balanced_and_wrong(text)))) in {1, 2}
    assert len(text.splitlines()) - len(undeclared(text).splitlines()) == 1
