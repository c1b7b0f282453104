"""Secrets stay where they are: known ones are sent everywhere and looked for everywhere."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import ADMIN, CANARY, JOB, START, VIEWER, Rig, served
from tests.support.table import Table
from treasury.cli.client import Refused, find
from treasury.jobfile.secrets import secret_values
from treasury.store import SqlStore
from treasury.web.table import ROUTES
from treasury.web.tokens import FILE


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A daemon on a database file, with one running job."""
    table = Table(now=START)
    table.run()
    store = SqlStore.open(tmp_path / "treasury.db")
    history = SqlStore.open(tmp_path / "treasury.db", read_only=True)
    with served(tmp_path / "state", table, store, history=history) as (house, _):
        yield house
    history.close()
    store.close()


def files_with(folder: Path, word: str) -> list[str]:
    """Names of files below a folder that hold a word."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    )


def test_no_secret_is_written_or_told(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Values in the wrong place of a document, in headers and in bodies that are refused, and the
    value that a job's secret has on the control node, are in no file, log line or answer; tokens
    are in their own file alone."""
    caplog.set_level(logging.DEBUG)
    client = find(state=tmp_path / "state")
    source = tmp_path / "secrets"
    source.mkdir()
    (source / "HF_TOKEN").write_text(CANARY)
    client.post("/v1/jobs", {**JOB, "name": "s", "secrets": ["HF_TOKEN"]})
    assert secret_values(("HF_TOKEN",), source, {}) == {"HF_TOKEN": CANARY}
    told = []
    for wrong in (
        {"secrets": {"HF_TOKEN": CANARY}},
        {"secrets": [CANARY]},
        {"env": {"HF_TOKEN": [CANARY]}},
        {"api_key": CANARY},
        {"cost_centre": "nobody", "env": {"A": CANARY}},
    ):
        with pytest.raises(Refused) as caught:
            client.post("/v1/jobs", {**JOB, **wrong})
        told.append(str(caught.value))
    for route in ROUTES:
        if route.method == "GET" and route.path != "/":
            path = route.path.format(job="s")
            told += client.lines(path, {"X-Canary": CANARY}, patient=False)
    assert any("HF_TOKEN" in line for line in told)
    text = "\n".join([*told, caplog.text])
    assert CANARY not in text and ADMIN not in text and VIEWER not in text
    (source / "HF_TOKEN").unlink()
    assert files_with(tmp_path, CANARY) == []
    assert files_with(tmp_path, ADMIN) == files_with(tmp_path, VIEWER) == [FILE]
    assert files_with(tmp_path, "HF_TOKEN") != []
