"""Tables for people, JSON and CSV for programs."""

import csv
import io
import json

import pytest

from treasury.cli.output import emit

COLUMNS = ["job", "cost", "where"]
ROWS: list[list[object]] = [
    ["train-1", "12.50 USD", "aws/us-west-2"],
    ["eval", "1,204.00 USD", None],
]


def test_table_aligns_money_right_and_shows_the_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """Money lines up on the right, text on the left, and None is a dash, not 0 or None."""
    emit(COLUMNS, ROWS, "table", title="Jobs")
    assert capsys.readouterr().out.splitlines() == [
        "Jobs",
        "job              cost  where",
        "train-1     12.50 USD  aws/us-west-2",
        "eval     1,204.00 USD  -",
    ]


def test_json_is_a_list_of_objects_with_numbers_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get typed values: integers stay so, the unknown is null, no title is mixed in."""
    emit(["job", "gpus", "late"], [["a", 8, True], ["b", None, False]], "json", title="Jobs")
    assert json.loads(capsys.readouterr().out) == [
        {"job": "a", "gpus": 8, "late": True},
        {"job": "b", "gpus": None, "late": False},
    ]


def test_csv_survives_commas_quotes_and_newlines(capsys: pytest.CaptureFixture[str]) -> None:
    """What is written as CSV is read back as it was."""
    emit(["a", "b"], [['x,"y"', "two\nlines"], [None, 3]], "csv")
    read = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert read == [["a", "b"], ['x,"y"', "two\nlines"], ["", "3"]]


def test_control_characters_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence in a job's name is shown, not obeyed; a pipe gets no colour."""
    emit(["job"], [["\x1b[2Jgone"]], "table")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2Jgone" in out


def test_wide_characters_keep_columns_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """A double-width name takes the room a terminal gives it."""
    emit(["n", "x"], [["日本", "a"], ["abc", "b"]], "table")
    assert capsys.readouterr().out.splitlines()[1:] == ["日本  a", "abc   b"]


def test_no_rows_still_names_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty answer says what it would have held."""
    emit(["job", "cost"], [], "table")
    assert capsys.readouterr().out == "job  cost\n"
