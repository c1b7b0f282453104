"""Parts of the EC2 adapter that need no market: shapes, quotas, prices, errors, user data."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from tests.counterparts.aws import wire
from treasury.domain import errors as e
from treasury.domain.commands import Acquire
from treasury.domain.errors import BadValue, Declined
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury.domain.time import SECOND
from treasury_providers.aws.capacity import quota_for, read_quotas, read_shape
from treasury_providers.aws.errors import TABLE, translate
from treasury_providers.aws.notices import read_message
from treasury_providers.aws.policy import policy
from treasury_providers.aws.prices import Pools, read_history, read_price_list
from treasury_providers.aws.rows import read_rows
from treasury_providers.aws.settings import Settings, check_settings
from treasury_providers.aws.userdata import BYTES_MAX, user_data


def gpu_type(name: str, mib: int, count: int = 8, **other: object) -> dict[str, object]:
    """An instance type as DescribeInstanceTypes tells it."""
    gpu = {"Name": name, "Manufacturer": "NVIDIA", "Count": count}
    gpu |= {"MemoryInfo": {"SizeInMiB": mib}, **other}
    return {"InstanceType": "x.large", "GpuInfo": {"Gpus": [gpu]}}


@pytest.mark.parametrize(
    ("name", "mib", "ours"),
    [
        ("A100", 40_960, "A100-40GB"),
        ("A100", 81_920, "A100-80GB"),
        ("A10G", 22_888, "A10G"),
        ("H100", 81_920, "H100"),
        ("H200", 144_384, "H200"),
        ("L40S", 45_776, "L40S"),
        ("T4", 15_360, "T4"),
        ("V100", 16_384, "V100"),
        ("V100", 32_768, "V100-32GB"),
        ("Z9", 99_000, "unknown:NVIDIA Z9 97"),
    ],
)
def test_shapes_carry_our_names(name: str, mib: int, ours: str) -> None:
    """GPUs are told apart by name and memory; a stranger stays one."""
    shape = read_shape(gpu_type(name, mib))
    assert shape is not None
    assert (shape.gpu, shape.gpus) == (ours, 8)
    assert shape.gpu_memory_gib > 0


def test_shared_gpus_and_machines_without_are_not_sold() -> None:
    """A slice of a GPU is no GPU; neither is none."""
    assert read_shape(gpu_type("L4", 2_861, 1, GpuPartitionSize=0.125)) is None
    assert read_shape({"InstanceType": "c5.large"}) is None


def test_quotas_are_found_by_the_family_they_name() -> None:
    """The narrowest family counts; what no quota names is not limited by one."""
    names = {
        "All P4, P3 and P2 Spot Instance Requests": 96.0,
        "All P5 Spot Instance Requests": 384.0,
        "All G and VT Spot Instance Requests": 8.0,
        "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests": 5.0,
        "Running On-Demand P instances": 192.0,
        "Something else": 1.0,
    }
    quotas = read_quotas([{"QuotaName": name, "Value": value} for name, value in names.items()])
    found = {
        instance: quota_for(quotas, instance, Tenure.SPOT)
        for instance in ("p4d.24xlarge", "p5.48xlarge", "g6e.xlarge", "gr6.xlarge", "m5.large")
    }
    assert found == {
        "p4d.24xlarge": 96, "p5.48xlarge": 384, "g6e.xlarge": 8, "gr6.xlarge": 8, "m5.large": 5,
    }  # fmt: skip
    assert quota_for(quotas, "p5.48xlarge", Tenure.ON_DEMAND) == 192
    assert quota_for(quotas, "p6.48xlarge", Tenure.SPOT) is None


def history(*rows: tuple[str, str, str, str]) -> bytes:
    """EC2's answer with these rows: type, zone name, price, instant."""
    names = ("instanceType", "availabilityZone", "spotPrice", "timestamp")
    inner = "".join(f"<item>{''.join(map(wire.element, names, row))}</item>" for row in rows)
    body = f"<spotPriceHistorySet>{inner}</spotPriceHistorySet><nextToken>next</nextToken>"
    return wire.wrap("DescribeSpotPriceHistory", body)


def test_rows_read_by_us_are_those_the_sdk_reads() -> None:
    """Our reading of the XML gives the SDK's rows and leaves it the rest."""
    session = pytest.importorskip("botocore.session")
    parsers = pytest.importorskip("botocore.parsers")
    model = session.get_session().get_service_model("ec2")
    shape = model.operation_model("DescribeSpotPriceHistory").output_shape
    body = history(("p4d", "us-east-1a", "9.5", "2026-11-20T10:00:00.000Z"))

    def parse(text: bytes) -> dict[str, object]:
        answer = {"body": text, "status_code": 200, "headers": {}}
        return parsers.create_parser("ec2").parse(answer, shape)

    whole = parse(body)
    rows, rest = read_rows(body)
    left = parse(rest)
    assert left["NextToken"] == whole["NextToken"] == "next"
    (theirs,) = whole["SpotPriceHistory"]
    theirs["Timestamp"] = theirs["Timestamp"].strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert rows == [theirs]
    assert left["SpotPriceHistory"] == []


def test_the_newest_row_of_a_pool_is_its_quote() -> None:
    """Older rows, strangers and what is no price are left out; zones are found by either name."""
    pools = Pools({"us-east-1a": "use1-az6"}, {("p4d", "use1-az6"): "offer"})
    at = "2026-11-20T1{}:00:00.000Z"
    rows, _ = read_rows(
        history(
            ("p4d", "us-east-1a", "9.500000", at.format(1)),
            ("p4d", "us-east-1a", "9.600000", at.format(2)),
            ("p4d", "us-east-1a", "9.400000", at.format(0)),
            ("p4d", "us-east-1a", "free", at.format(3)),
            ("p4d", "us-east-1b", "1.0", at.format(3)),
            ("p9", "us-east-1a", "1.0", at.format(3)),
        )
    )
    (quote,) = read_history(pools, rows, {"p4d": 4}, 5, 6)
    assert (quote.offer, quote.rate, quote.depth) == ("offer", 9_600_000_000, 4)
    assert (quote.observed_at, quote.received_at) == (5, 6)


def test_a_price_list_gives_its_dearest_hour() -> None:
    """Of several products the dearest hourly price is taken; other units are not prices."""

    def item(usd: str, unit: str = "Hrs") -> str:
        dimension = {"unit": unit, "pricePerUnit": {"USD": usd}}
        return json.dumps({"terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}})

    assert read_price_list([item("32.7726000000"), item("0.0000000000")]) == 32_772_600_000
    assert read_price_list([item("5.0", "Quantity")]) is None
    assert read_price_list([]) is None


class ClientError(Exception):
    """As botocore's: an answer with a code."""

    def __init__(self, code: str, status: int, message: str = "") -> None:
        super().__init__(message)
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


class EndpointConnectionError(Exception):
    """As botocore's, by name."""


class NoCredentialsError(Exception):
    """As botocore's, by name."""


@pytest.mark.parametrize(
    ("error", "deed", "question"),
    [
        (ClientError("InsufficientInstanceCapacity", 500), e.NoCapacity, e.NoCapacity),
        (ClientError("SpotMaxPriceTooLow", 400), e.BidTooLow, e.BidTooLow),
        (ClientError("MaxSpotInstanceCountExceeded", 400), e.QuotaReached, e.QuotaReached),
        (ClientError("RequestLimitExceeded", 503), e.Throttled, e.Throttled),
        (ClientError("UnauthorizedOperation", 403), e.NotPermitted, e.NotPermitted),
        (ClientError("Unsupported", 400), e.OfferGone, e.OfferGone),
        (ClientError("IdempotentParameterMismatch", 400), e.OutcomeUnknown, e.OutcomeUnknown),
        (ClientError("InternalError", 500), e.OutcomeUnknown, e.Unreachable),
        (ClientError("NeverSeenBefore", 503), e.OutcomeUnknown, e.Unreachable),
        (ClientError("", 503), e.Throttled, e.Throttled),
        (ClientError("InvalidParameterValue", 400), e.Declined, e.Declined),
        (EndpointConnectionError(), e.Unreachable, e.Unreachable),
        (NoCredentialsError(), e.NotPermitted, e.NotPermitted),
        (ConnectionResetError(), e.OutcomeUnknown, e.Unreachable),
    ],
)
def test_answers_say_what_next(error: Exception, deed: type, question: type) -> None:
    """What is no clear no to a deed may have happened; a question has no effect to wonder about."""
    assert type(translate(error, 0, changes=True)) is deed
    assert type(translate(error, 0, changes=False)) is question


def test_no_code_of_a_launch_is_taken_for_success() -> None:
    """Every code of the table is an error of the market's; throttles say until when."""
    for code, meaning in TABLE.items():
        error = translate(ClientError(code, 400), 7 * SECOND, changes=True)
        assert isinstance(error, e.ProviderError)
        if meaning.error in (e.Throttled, e.NoCapacity) and meaning.wait:
            assert error.until is not None
            assert error.until > 7 * SECOND


def request(machines: int) -> Acquire:
    """A request for a gang."""
    return Acquire("aws", "aws/r/z/i/spot", 1, tuple(range(10, 10 + machines)), NANO, "ab" * 16)


def script(asked: Acquire, index: int) -> str:
    """A boot script with what must not be mangled."""
    return f"#!/bin/sh\nprintf '%s' \"lease {asked.leases[index]} $0 \\$x 'q' ä\" > \"$OUT\"\n"


@pytest.mark.parametrize("index", [0, 2, 11])
def test_each_machine_of_a_gang_takes_its_own_script(index: int, tmp_path: Path) -> None:
    """The one user data of a gang, run by a real shell, hands over to the script of its index."""
    text = user_data(script, request(12))
    assert text == user_data(script, request(12))
    fake = tmp_path / "curl"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *launch-index*) echo {index};; *) echo t;; esac\n')
    fake.chmod(0o755)
    boot, out = tmp_path / "user-data", tmp_path / "out"
    boot.write_text(text)
    boot.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OUT": str(out), "TMPDIR": str(tmp_path)}
    subprocess.run([str(boot)], check=True, env=environment)
    told = out.read_text()
    assert told.startswith(f"lease {10 + index} ")
    assert told.endswith(" $x 'q' ä")


def test_user_data_that_is_too_large_is_declined() -> None:
    """EC2's limit is known before it is asked; one machine's script goes as it is."""
    assert user_data(script, request(1)) == script(request(1), 0)
    with pytest.raises(Declined, match=str(BYTES_MAX)):
        user_data(lambda _request, _index: "x" * (BYTES_MAX + 1), request(1))


def test_the_policy_ties_machines_to_our_tag() -> None:
    """Starting needs our tag, ending finds it; extras appear only where they are used."""
    plain = json.loads(policy(Settings(regions=("us-east-1",)), "House One"))
    statements = {item["Sid"]: item for item in plain["Statement"]}
    owner = statements["EndOurs"]["Condition"]["StringEquals"]["aws:ResourceTag/treasury-owner"]
    asked = statements["StartTagged"]["Condition"]["StringEquals"]["aws:RequestTag/treasury-owner"]
    assert owner == asked
    assert set(statements) == {"Ask", "StartTagged", "StartWith", "TagWhatStarts", "EndOurs"}
    settings = Settings(
        regions=("us-east-1",),
        instance_profile="node",
        images={"*": "resolve:ssm:/gpu/image"},
        queues={"us-east-1": "https://sqs.us-east-1.amazonaws.com/123456789012/notices"},
    )
    full = {item["Sid"]: item for item in json.loads(policy(settings, "x"))["Statement"]}
    assert full["HearNotices"]["Resource"] == ["arn:aws:sqs:us-east-1:123456789012:notices"]
    assert {"GiveRole", "FindImage"} <= set(full)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"regions": ()}, "provider.aws.regions"),
        ({"regions": ("us-east-1", "moon")}, "provider.aws.regions[1]"),
        ({"tenures": ("spot", "owned")}, "provider.aws.tenures[1]"),
        ({"images": {"us-east-1": "debian"}}, "provider.aws.images.us-east-1"),
        ({"queues": {"eu-west-1": "https://x"}}, "provider.aws.queues.eu-west-1"),
        ({"on_demand": {"p5.48xlarge": "98"}}, "provider.aws.on_demand.p5.48xlarge"),
        ({"prices": 5}, "provider.aws.prices"),
        ({"gang": 0}, "provider.aws.gang"),
    ],
)
def test_settings_that_cannot_be_right_are_told_with_their_place(
    wrong: dict[str, object], place: str
) -> None:
    """Each mistake names its key as it stands in the configuration."""
    site = SimpleNamespace(name="aws")
    settings = Settings(**({"regions": ("us-east-1",)} | wrong))
    with pytest.raises(BadValue) as told:
        check_settings(settings, site)
    assert told.value.what == place
    check_settings(Settings(regions=("us-east-1",)), site)


def test_instance_types_are_chosen_by_pattern() -> None:
    """Patterns choose types; without any, all with a GPU are sold. An image for one region goes
    before the one for the rest."""
    images = {"*": "ami-rest", "us-west-2": "ami-west"}
    some = Settings(regions=("us-east-1",), instances=("p5.*", "g6.xlarge"), images=images)
    sold = [
        some.sells(name) for name in ("p5.48xlarge", "g6.xlarge", "g6.2xlarge", "p5en.48xlarge")
    ]
    assert sold == [True, True, False, False]
    assert Settings(regions=("us-east-1",)).sells("anything")
    assert (some.image("us-west-2"), some.image("us-east-1")) == ("ami-west", "ami-rest")


@pytest.mark.parametrize("body", ["", "{}", "[1]", "nonsense", '{"source":"aws.s3"}'])
def test_messages_that_are_no_warning_name_no_machine(body: str) -> None:
    """Whatever else lands in the queue is recognised as such."""
    assert read_message("us-east-1", "r", body, 9).machine == ""


def test_a_warning_is_read_from_its_event() -> None:
    """EventBridge's own format: the machine, and when it was said; never in our future."""
    event = {
        "source": "aws.ec2",
        "detail-type": "EC2 Spot Instance Interruption Warning",
        "time": "1970-01-01T00:00:07Z",
        "detail": {"instance-id": "i-1", "instance-action": "terminate"},
    }
    body = msgspec.json.encode(event).decode()
    assert read_message("r", "h", body, 60 * SECOND).at == 7 * SECOND
    assert read_message("r", "h", body, 5 * SECOND).at == 5 * SECOND
    assert read_message("r", "h", body, 5 * SECOND).machine == "i-1"
