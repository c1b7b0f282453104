"""The FinOps Foundation's own validator judges the FOCUS export: it fails the one rule that always
fails, and no other."""

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.spending import month
from tests.support.table import Table
from treasury.domain import events as e
from treasury.domain.bill import BilledLine, BillPart
from treasury.domain.time import DAY, HOUR
from treasury.finops.focus import focus_table

# 2.1 and later need Python 3.12; 2.0.2 says so too and works on 3.11. It breaks on pyarrow 22.
PACKAGES = ("focus-validator==2.0.2", "pyarrow<22")
# All of the specification's criteria but capacity reservations and commitment discounts, whose
# rules fire on every row that has neither.
CRITERIA = ",".join(
    f"{name}_SUPPORTED"
    for name in (
        "ACCOUNT_NAMING",
        "AVAILABILITY_ZONE",
        "MULTIPLE_PRICING_CATEGORIES",
        "MULTIPLE_SUB_ACCOUNT_TYPES",
        "MULTIPLE_BILLING_ACCOUNT_TYPES",
        "NEGOTIATED_PRICING",
        "PUBLIC_PRICE_LIST",
        "USAGE_MEASUREMENT",
        "UNIT_PRICING",
        "SUB_ACCOUNT",
        "BILLING_BASED_ON_PROVISIONED_RESOURCES",
        "RESOURCE_TYPE_ASSIGNMENT",
        "PRICING_BILLING_CURRENCY_DIFFERENCES",
        "VIRTUAL_CURRENCY",
        "REGION",
        "TAGGING",
    )
)
# Half of "must be null" / "must not be null", of which one fails on any file.
EXPECTED = {"InvoiceId-C-004-C"}
RULES = 500

Judge = Callable[[str], set[str]]


@pytest.fixture(scope="session")
def validator(require: Callable[[object, str], None]) -> Path:
    """The validator in an environment of its own, made once a machine and Python."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    cache = Path(os.environ.get("TREASURY_TEST_CACHE", tempfile.gettempdir()))
    home = cache / f"treasury-focus-validator-2.0.2-py{version}-{os.getuid()}"
    command = home / "bin" / "focus-validator"
    if not command.exists():
        # Made elsewhere and linked at once: another test process may be making it, too.
        making = Path(tempfile.mkdtemp(prefix="focus-validator-", dir=cache))
        made = _install(making)
        if made.returncode:
            shutil.rmtree(making)
        require(made.returncode == 0, f"the FOCUS validator cannot be installed: {made.stderr}")
        link = making.with_suffix(".link")
        link.symlink_to(making)
        link.replace(home)
    return command


def _install(home: Path) -> subprocess.CompletedProcess[str]:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    return subprocess.run(
        [
            *_pip(home / "bin" / "python"),
            "install",
            "--quiet",
            "--ignore-requires-python",
            *PACKAGES,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def _pip(python: Path) -> list[str]:
    """A pip that installs for `python`: one at hand, or, where there is none, its own."""
    for outer in (sys.executable, sys._base_executable):
        pip = [outer, "-m", "pip"]
        if not subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
            return [*pip, "--python", str(python)]
    subprocess.run([python, "-m", "ensurepip"], capture_output=True, check=False)
    return [str(python), "-m", "pip"]


@pytest.fixture
def failed(validator: Path, tmp_path: Path) -> Judge:
    """The rules that the validator fails for a text."""
    library = subprocess.run(
        [validator.with_name("python"), "-c", _LIBRARY], capture_output=True, text=True, check=True
    ).stdout.strip()

    def judge(text: str) -> set[str]:
        data, report = tmp_path / "export.csv", tmp_path / "report.xml"
        data.write_text(text, encoding="utf-8")
        arguments = ["--data-file", data, "--validate-version", "1.2", "--block-download"]
        arguments += ["--applicability-criteria", CRITERIA]
        arguments += ["--output-type", "unittest", "--output-destination", report]
        # It looks for its rules relative to the working directory, and leaves with 0 either way.
        done = subprocess.run(
            [validator, *arguments], cwd=library, capture_output=True, text=True, check=False
        )
        assert report.exists(), done.stdout + done.stderr
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - our own file
        assert len(cases) > RULES
        return {
            str(case.get("name")).split(" ::")[0]
            for case in cases
            if case.find("failure") is not None
        }

    return judge


_LIBRARY = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


def export(source: Table) -> str:
    """A table's journal as FOCUS 1.2."""
    return "".join(focus_table(source.entries))


def billed() -> Table:
    """A month with a difference to a bill, up for one lease and down for another."""
    source = month()
    for number, (lease, difference) in enumerate(((1, 1_234_567), (2, -1_000)), 1):
        part = BillPart(
            provider="aws",
            cost_centre="red",
            lines=(BilledLine(str(number), "1"),),
            covered=((source.now - HOUR, source.now),),
            total="1",
            billed=1_000_000,
            booked=1_000_000 - difference,
            difference=difference,
            lease=lease,
        )
        source.turn(e.BookBill(number, part, "ann"), at=source.now + DAY)
    return source


def test_only_the_rule_that_always_fails_fails(failed: Judge) -> None:
    """Usage on two tenures and adjustments of both signs: every rule but the known one passes."""
    assert failed(export(billed())) == EXPECTED


def test_harm_is_noticed(failed: Judge) -> None:
    """A wrong currency and a wrong category each fail rules of their own."""
    text = export(month())
    for good, bad in ((",USD,", ",XYZ,"), (",Usage,", ",Usages,")):
        assert good in text
        text = text.replace(good, bad, 1)
    columns = {rule.split("-")[0] for rule in failed(text) - EXPECTED}
    # An unknown category is noticed by the columns that depend on it.
    assert columns >= {"BillingCurrency", "ConsumedQuantity"}
