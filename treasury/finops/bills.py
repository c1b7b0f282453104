"""Providers' bills as files: FOCUS, AWS CUR 2.0 and plain CSV become rows of one form.

Real exports differ from the book: the text NULL, dates without a zone, a byte order mark, tags as a
JSON object or as a list of keys and values, amounts such as 1.2E-05. All are read; an amount that
is no finite number, or a currency that is not USD, refuses the file with the line's number.
"""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from treasury.domain.errors import BadValue, UserError, did_you_mean
from treasury.domain.money import MICRO, MONEY_LIMIT
from treasury.domain.time import NEVER, parse_instant

# Tags that providers put on our machines and bills bring back, in the spelling all of them allow.
OWNER_TAG: Final = "treasury_owner"
LEASE_TAG: Final = "treasury_lease"
TOKEN_TAG: Final = "treasury_token"  # noqa: S105 - a tag's name, no secret
CENTRE_TAG: Final = "treasury_cost_centre"

_NULLS: Final = frozenset({"", "NULL", "null", "\\N"})
_HOURS: Final = frozenset({"hours", "hour", "hrs", "hr", "h", "1 hour", "gpu hours"})
# How FOCUS files call the providers we know by other names.
_PROVIDERS: Final = {
    "aws": "aws",
    "amazon web services": "aws",
    "microsoft": "azure",
    "microsoft azure": "azure",
    "azure": "azure",
    "google": "gcp",
    "google cloud": "gcp",
    "gcp": "gcp",
}

Cells = Mapping[str, str]


class BillRow(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill. amount in USD; start, end in ns; hours where the line counts time.

    number: the line of the file. key: what the line is, in a hash without its amount. category:
    `usage`, `tax`, `credit`, or `other`. tags: keys in lower case with underscores.
    """

    number: int
    key: str
    amount: Decimal
    start: int
    end: int
    provider: str
    resource: str
    category: str
    hours: Decimal | None
    invoice: str
    tags: Mapping[str, str]


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Which column says what; the first that is there counts. identity: columns that together say
    what a line is, whatever its amount is in this version of the bill."""

    amount: tuple[str, ...]
    currency: tuple[str, ...]
    start: tuple[str, ...]
    end: tuple[str, ...]
    provider: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    invoice: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()


_FOCUS: Final = Columns(
    amount=("BilledCost",),
    currency=("BillingCurrency",),
    start=("ChargePeriodStart",),
    end=("ChargePeriodEnd",),
    provider=("ProviderName", "ServiceProviderName"),
    resource=("ResourceId",),
    category=("ChargeCategory",),
    hours=("PricingQuantity", "ConsumedQuantity"),
    unit=("PricingUnit", "ConsumedUnit"),
    invoice=("InvoiceId",),
    tags=("Tags",),
    # Neither InvoiceId, which provisional bills lack, nor Tags, which may be set later.
    identity=(
        *("BillingAccountId", "SubAccountId", "BillingPeriodStart", "ChargePeriodStart"),
        *("ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "SkuId"),
        *("SkuPriceId", "ResourceId", "RegionId", "PricingUnit", "x_Transfer"),
    ),
)
_AWS_CUR: Final = Columns(
    amount=("line_item_unblended_cost",),
    currency=("line_item_currency_code",),
    start=("line_item_usage_start_date",),
    end=("line_item_usage_end_date",),
    resource=("line_item_resource_id",),
    category=("line_item_line_item_type",),
    hours=("line_item_usage_amount",),
    unit=("pricing_unit",),
    invoice=("bill_invoice_id",),
    tags=("resource_tags",),
    # Not identity_line_item_id: AWS makes a new one with each version of the report.
    identity=(
        *("bill_payer_account_id", "line_item_usage_account_id", "line_item_line_item_type"),
        *("line_item_product_code", "line_item_usage_type", "line_item_operation"),
        *("line_item_resource_id", "line_item_usage_start_date", "line_item_usage_end_date"),
        *("line_item_line_item_description", "line_item_tax_type", "pricing_rate_id"),
    ),
)
# Fields of a plain CSV, each a column of that name unless `--map` says otherwise.
CSV_FIELDS: Final = (
    *("amount", "currency", "start", "end", "provider", "resource", "category", "hours"),
    *("invoice", "id", "owner", "lease", "token", "cost_centre"),
)
_TAG_FIELDS: Final = {
    "owner": OWNER_TAG,
    "lease": LEASE_TAG,
    "token": TOKEN_TAG,
    "cost_centre": CENTRE_TAG,
}
KINDS: Final = ("focus", "aws-cur", "csv")


def read_bill(
    kind: str, path: Path, *, provider: str = "", columns: Mapping[str, str] | None = None
) -> Iterator[BillRow]:
    """The rows of a bill, in the file's order. `.gz` is unpacked.

    provider: whose bill it is, where the file does not say. columns: field to column, for `csv`.
    Raises UserError naming file, line and column.
    """
    columns = columns or {}
    unknown = sorted(set(columns) - set(CSV_FIELDS))
    if columns and kind != "csv":
        raise UserError(f"{kind} has columns of its own; a map is for csv")
    if unknown:
        raise BadValue("--map", unknown[0], f"a field; {did_you_mean(unknown[0], CSV_FIELDS)}")
    layout = {"focus": _FOCUS, "aws-cur": _AWS_CUR}.get(kind) or _plain(columns)
    whose = provider or {"aws-cur": "aws"}.get(kind, "")
    seen: dict[str, int] = {}
    with _text(path) as file:
        reader = csv.DictReader(file)
        names = frozenset(reader.fieldnames or ())
        for field in ("amount", "start", "end"):
            wanted = getattr(layout, field)
            if not names.intersection(wanted):
                hint = did_you_mean(wanted[0], names)
                raise UserError(f"{path}: there is no column {wanted[0]} ({field}); {hint}")
        tag_columns = _tag_columns(kind, columns, names)
        for cells in reader:
            # DictReader counts the file's lines, so that a message names what an editor shows.
            where = f"{path}:{reader.line_num}"
            yield _row(cells, layout, where, reader.line_num, whose, tag_columns, seen)


def _plain(columns: Mapping[str, str]) -> Columns:
    names = {field: (columns.get(field, field),) for field in CSV_FIELDS}
    what = ("lease", "token", "resource", "start", "end", "category")
    return Columns(
        **{field: names[field] for field in CSV_FIELDS[:9]},
        identity=tuple(names[field][0] for field in ("id", *what)),
    )


def _tag_columns(kind: str, columns: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    """Columns that hold one tag each: column to tag."""
    if kind == "csv":
        return {columns.get(field, field): tag for field, tag in _TAG_FIELDS.items()}
    # Older cost and usage reports have a column a tag.
    prefixes = ("resource_tags_", "resourceTags/")
    return {name: _tag(name.partition("ags")[2][1:]) for name in names if name.startswith(prefixes)}


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """The file as text. Raises UserError for one that is no text."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is no CSV text in UTF-8: {error}") from error


def _row(
    cells: Cells,
    layout: Columns,
    where: str,
    number: int,
    provider: str,
    tag_columns: Mapping[str, str],
    seen: dict[str, int],
) -> BillRow:
    currency = _cell(cells, layout.currency) or "USD"
    if currency != "USD":
        raise UserError(f"{where}: currency {currency!r} cannot be booked: these books keep USD")
    tags = _json_tags(_cell(cells, layout.tags), where)
    tags |= {tag: _clean(cells.get(name)) for name, tag in tag_columns.items()}
    unit = _cell(cells, layout.unit).casefold()
    hours = _cell(cells, layout.hours)
    counts_time = bool(hours) and (not layout.unit or unit in _HOURS)
    whose = provider or _provider(_cell(cells, layout.provider))
    if not whose:
        raise UserError(f"{where}: it does not say whose bill it is: name it with --provider")
    identity = "\x1f".join([whose, *(_clean(cells.get(name)) for name in layout.identity)])
    seen[identity] = copy = seen.get(identity, 0) + 1
    digest = hashlib.blake2b(f"{identity}\x1f{copy}".encode(), digest_size=12)
    start = _instant(_cell(cells, layout.start), where, "start")
    end = _instant(_cell(cells, layout.end), where, "end")
    if end < start:
        raise UserError(f"{where}: it ends before it starts")
    return BillRow(
        number=number,
        key=digest.hexdigest(),
        amount=_decimal(_cell(cells, layout.amount), where, "amount"),
        start=start,
        end=end,
        provider=whose,
        resource=_cell(cells, layout.resource),
        category=_category(_cell(cells, layout.category)),
        hours=_decimal(hours, where, "hours") if counts_time else None,
        invoice=_cell(cells, layout.invoice),
        tags={name: value for name, value in tags.items() if value},
    )


def _clean(text: str | None) -> str:
    plain = (text or "").strip()
    return "" if plain in _NULLS else plain


def _cell(cells: Cells, names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := _clean(cells.get(name)))), "")


def _decimal(text: str, where: str, what: str) -> Decimal:
    """An exact, finite amount; negative zero is zero."""
    try:
        value = Decimal(text or "0")
    except InvalidOperation as error:
        raise UserError(f"{where}: {what} {text!r} is not a decimal number") from error
    if not value.is_finite() or abs(value) > MONEY_LIMIT // MICRO:
        raise UserError(f"{where}: {what} {text!r} is not a finite, sensible number")
    return value + 0


def _instant(text: str, where: str, what: str) -> int:
    try:
        instant = parse_instant(text.removesuffix(" UTC"))
    except BadValue as error:
        raise UserError(f"{where}: {what}: {error}") from error
    if not 0 <= instant < NEVER:
        raise UserError(f"{where}: {what} {text!r}: expected an instant from 1970 to 2116")
    return instant


def _provider(name: str) -> str:
    return _PROVIDERS.get(name.casefold(), name.casefold())


_CATEGORIES: Final[tuple[tuple[str, str], ...]] = (
    ("usage", "usage"),
    ("covered", "usage"),
    ("tax", "tax"),
    ("credit", "credit"),
    ("refund", "credit"),
    ("discount", "credit"),
)


def _category(text: str) -> str:
    folded = text.casefold()
    if not folded:
        return "usage"
    return next((kind for word, kind in _CATEGORIES if word in folded), "other")


def _tag(name: str) -> str:
    """A tag's name as all spellings of it: lower case, underscores, no prefix of the provider."""
    plain = "".join(char if char.isalnum() else "_" for char in name.casefold())
    return plain.removeprefix("user_")


def _json_tags(text: str, where: str) -> dict[str, str]:
    """Tags as an object, or as a list of keys and values."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: tags {text[:60]!r} are no JSON") from error
    if isinstance(found, list):
        found = {item.get("key", ""): item.get("value") for item in found if isinstance(item, dict)}
    if not isinstance(found, dict):
        raise UserError(f"{where}: tags {text[:60]!r} are neither an object nor a list of pairs")
    return {_tag(str(name)): "" if value is None else str(value) for name, value in found.items()}
