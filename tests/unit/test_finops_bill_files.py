"""Bills as files: every provider's form is read into one, and faults name their place."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from treasury.domain.errors import BadValue, UserError
from treasury.domain.time import DAY
from treasury.finops.bills import BillRow, read_bill

SAMPLE = Path(__file__).parent.parent / "data" / "focus_sample.csv"


def bill(folder: Path, *lines: str, head: str) -> Path:
    """A plain CSV bill."""
    path = folder / "bill.csv"
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return path


def rows_of(path: Path, kind: str = "focus") -> list[BillRow]:
    """A bill's rows."""
    return list(read_bill(kind, path))


def test_every_dialect_of_focus_is_read() -> None:
    """Providers' names, dates, nulls, exponents and tags come out in one form."""
    found = rows_of(SAMPLE)
    assert {row.provider for row in found} == {"aws", "azure", "gcp"}
    azure = [row for row in found if row.provider == "azure"]
    assert azure[2].amount == Decimal("0.000012")
    assert (azure[0].end - azure[0].start, azure[0].hours) == (DAY, 24)
    assert azure[-1].resource == ""
    gcp = next(row for row in found if row.provider == "gcp")
    assert gcp.tags == {"team": "vision"}
    assert {row.category for row in found} == {"usage", "tax", "credit", "other"}
    storage = next(row for row in found if row.resource.startswith("vol-"))
    assert storage.hours is None
    assert len({row.key for row in found}) == len(found)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-inf", "1e30", "1,234.50", "12 USD", "x"])
def test_amounts_that_are_none_are_refused(tmp_path: Path, amount: str) -> None:
    """The message names file, line and value."""
    head = "amount;start;end;provider".replace(";", ",")
    quoted = f'"{amount}"' if "," in amount else amount
    path = bill(tmp_path, f"{quoted},2026-03-01,2026-03-02,aws", head=head)
    with pytest.raises(UserError, match=r"bill\.csv:2: amount"):
        rows_of(path, "csv")


def test_negative_zero_and_emptiness_are_zero(tmp_path: Path) -> None:
    """Nothing is nothing, whatever its sign."""
    head = "amount,start,end,provider"
    lines = [f"{zero},2026-03-01,2026-03-02,aws" for zero in ("-0", "", "-0.0e5")]
    found = rows_of(bill(tmp_path, *lines, head=head), "csv")
    assert [str(row.amount.copy_abs()) for row in found] == [str(row.amount) for row in found]
    assert {row.amount for row in found} == {0}
    assert len({row.key for row in found}) == 3


@pytest.mark.parametrize(
    ("lines", "head", "what"),
    [
        (["1,EUR,2026-03-01,2026-03-02,aws"], "amount,currency,start,end,provider", "EUR"),
        (["1,2026-03-02,2026-03-01,aws"], "amount,start,end,provider", "ends before"),
        (["1,gestern,2026-03-01,aws"], "amount,start,end,provider", "start"),
        (["1,2026-03-01,2026-03-02"], "amount,start,end", "--provider"),
        (["1,2026-03-01"], "cost,start", "no column amount"),
    ],
)
def test_other_faults_name_their_place(
    tmp_path: Path, lines: Iterable[str], head: str, what: str
) -> None:
    """Currency, times, provider and columns that cannot be used are said in one line."""
    with pytest.raises(UserError, match=what):
        rows_of(bill(tmp_path, *lines, head=head), "csv")


def test_a_map_of_columns(tmp_path: Path) -> None:
    """A plain CSV may have names of its own; a field that does not exist gets the nearest."""
    path = bill(tmp_path, "7.5,2026-03-01,2026-03-02,gpu-1", head="Total (USD),From,Until,Machine")
    columns = {"amount": "Total (USD)", "start": "From", "end": "Until", "resource": "Machine"}
    (row,) = read_bill("csv", path, provider="lab", columns=columns)
    assert (row.amount, row.resource, row.provider) == (Decimal("7.5"), "gpu-1", "lab")
    with pytest.raises(BadValue, match='did you mean "amount"'):
        list(read_bill("csv", path, columns={"amont": "x"}))
    with pytest.raises(UserError, match="a map is for csv"):
        list(read_bill("focus", path, columns=columns))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Binary and broken archives are a user's mistake with the file's name."""
    broken = tmp_path / "b.csv"
    broken.write_bytes(b"amount,start,end\n\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b\.csv: is no CSV text"):
        rows_of(broken, "csv")
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(b"not gzip at all")
    with pytest.raises(UserError, match=r"b\.csv\.gz: is no CSV text"):
        rows_of(packed, "csv")
