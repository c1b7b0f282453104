"""What the EC2 adapter tells of its market, through the real SDK: prices, listings, checks."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.aws.server import Aws
from tests.support.aws import adapter, counterpart, with_canaries
from tests.support.cloud_sites import HastyClock
from treasury.domain.commands import Acquire, ChangeBid, Release
from treasury.domain.errors import Declined, NoCapacity, PluginError, ProviderError
from treasury.domain.findings import Verdict
from treasury.domain.market import Quote
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, MINUTE, SECOND
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

SPOT = "aws/us-east-1/use1-az6/p4d.24xlarge/spot"
FIXED = "aws/us-west-2/usw2-az2/g5.xlarge/on_demand"


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """A counterpart that answers launches itself: moto has judged them elsewhere."""
    with_canaries(monkeypatch)
    async with counterpart(HastyClock(speed=60), alone=True) as made:
        yield made


def request(offer: str = SPOT, number: int = 1, machines: int = 1) -> Acquire:
    """A request with its own numbers."""
    leases = tuple(range(10 * number, 10 * number + machines))
    return Acquire("aws", offer, number, leases, 100 * NANO, f"{number:032x}")


async def some(stream: AsyncIterator[Quote], count: int) -> dict[str, Quote]:
    """The first quotes of a stream, by offer."""
    found: dict[str, Quote] = {}
    async for quote in stream:
        found[quote.offer] = quote
        if len(found) == count:
            break
    await stream.aclose()
    return found


async def test_quotas_limit_the_depth_of_quotes(cloud: Aws, tmp_path: Path) -> None:
    """Quotas of vCPUs become machines: enough, none, and unknown where a quota is not named."""
    market = adapter(cloud, tmp_path, cloud.clock)
    offers = await market.offers()
    quotes = await some(market.quotes(), len(offers))
    assert quotes[SPOT].depth == 9_600 // 96
    assert quotes[FIXED].depth == 0
    assert quotes[FIXED].rate == 1_006_000_000
    await market.close()
    del cloud.vcpus["All P4, P3 and P2 Spot Instance Requests"]
    market = adapter(cloud, tmp_path, cloud.clock)
    assert (await some(market.quotes(), len(offers)))[SPOT].depth == -1
    await market.close()


async def test_scores_are_those_of_the_zone(cloud: Aws, tmp_path: Path) -> None:
    """A zone's score holds for its spot offers, raw word included; on-demand has none."""
    market = adapter(cloud, tmp_path, cloud.clock)
    scores = {score.offer: score for score in await market.scores()}
    assert scores[SPOT].value == 0.7
    assert scores[SPOT].raw == "7/10 for 3 types"
    assert FIXED not in scores
    await market.close()


async def test_on_demand_prices_outlive_a_restart_and_a_forbidden_list(
    cloud: Aws, tmp_path: Path
) -> None:
    """What was fetched once is kept on disk; without it the configured price serves."""
    market = adapter(cloud, tmp_path, cloud.clock)
    await some(market.quotes(), len(await market.offers()))
    await market.close()
    assert (tmp_path / "on-demand-us-west-2.json").exists()
    cloud.fail(Operation.QUOTE, Fault.FORBIDDEN, times=1_000)
    again = adapter(cloud, tmp_path, cloud.clock, tenures=("on_demand",))
    assert (await some(again.quotes(), 1)).popitem()[1].rate > 0
    await again.close()
    fresh = adapter(
        cloud,
        tmp_path / "fresh",
        cloud.clock,
        tenures=("on_demand",),
        on_demand={"g5.xlarge": "1.23 USD/h"},
    )
    quotes = await some(fresh.quotes(), 3)
    assert {quote.rate for quote in quotes.values()} == {1_230_000_000}
    await fresh.close()


async def test_a_repeated_request_is_the_same_to_the_byte(cloud: Aws, tmp_path: Path) -> None:
    """After a restart with another image in the settings, the token still brings the machine it
    brought before: what was sent first is sent again."""
    market = adapter(cloud, tmp_path, cloud.clock)
    await market.acquire(request())
    await market.close()
    other = adapter(cloud, tmp_path, cloud.clock, images={"*": "ami-0123456789abcdef0"}, disk_gib=7)
    await other.acquire(request())
    assert len(cloud.all) == 1
    (kept,) = (tmp_path / "requests").glob("*.json")
    assert kept.stat().st_mode & 0o077 == 0
    # A day later nobody repeats it any more.
    cloud.clock._start += 25 * HOUR
    await other.leases()
    assert not kept.exists()
    await other.close()


async def test_ended_machines_say_when_and_why(cloud: Aws, tmp_path: Path) -> None:
    """Taken back or given back: the listing has the instant to the second, and the cause."""
    market = adapter(cloud, tmp_path, cloud.clock)
    await market.acquire(request(number=1, machines=2))
    await market.acquire(request(FIXED, number=2))
    listing = {item.lease: item for item in await market.leases()}
    assert listing[20].rate in (0, 1_006_000_000)
    taken, given = listing[10].machine, listing[11].machine
    cloud.end(cloud.alive[taken], "interrupted")
    await market.release(Release("aws", 11, given))
    ended = {item.lease: item for item in await market.leases()}
    assert (ended[10].cause, ended[11].cause, ended[20].cause) == ("interrupted", "terminated", "")
    for lease in (10, 11):
        made = next(m for m in cloud.all if m.name == ended[lease].machine)
        assert ended[lease].ended_at == made.ended_at
        assert ended[lease].granted_at == made.granted_at
    assert ended[20].ended_at is None
    with pytest.raises(Declined):
        await market.rebid(ChangeBid("aws", 20, NANO, listing[20].machine))
    await market.close()


async def test_check_says_what_works_and_what_is_missing(cloud: Aws, tmp_path: Path) -> None:
    """All is well but the quota that is zero; what is forbidden is told with the policy."""
    market = adapter(cloud, tmp_path, cloud.clock)
    found = {finding.what: finding for finding in await market.check()}
    verdicts = {what: finding.verdict for what, finding in found.items()}
    bad = {what for what, verdict in verdicts.items() if verdict is not Verdict.FINE}
    assert bad == {
        f"{region}: quota on_demand {family}"
        for region in ("us-east-1", "us-west-2")
        for family in ("g5", "g4dn")
    }
    assert "g5" in found["us-east-1: quota on_demand g5"].detail
    assert found["us-east-1: start machines"].detail.startswith("allowed")
    cloud.fail(Operation.QUOTE, Fault.FORBIDDEN, times=1_000)
    cloud.fail(Operation.LIST, Fault.FORBIDDEN, times=1_000)
    await market.close()
    market = adapter(cloud, tmp_path / "b", cloud.clock)
    found = {finding.what: finding for finding in await market.check()}
    assert found["us-east-1: list machines"].verdict is Verdict.BAD
    assert "policy" in found["us-east-1: prices"].remedy
    assert '"ec2:RunInstances"' in market.policy()
    await market.close()


async def test_a_clock_that_is_off_is_noticed(cloud: Aws, tmp_path: Path) -> None:
    """A few minutes' difference to AWS's own clock is bad: signatures are refused."""
    market = adapter(cloud, tmp_path, cloud.clock)
    cloud.skew = 10 * MINUTE
    found = {finding.what: finding for finding in await market.check()}
    assert found["clock"].verdict is Verdict.BAD
    assert "NTP" in found["clock"].remedy
    await market.close()


async def test_a_lost_warning_is_found_by_the_listing(cloud: Aws, tmp_path: Path) -> None:
    """An interruption nobody was told of ends the lease all the same."""
    market = adapter(cloud, tmp_path, cloud.clock)
    await market.acquire(request())
    (item,) = await market.leases()
    ends_at = await cloud.interrupt(item.machine, notices=0)
    await cloud.clock.sleep_until(ends_at + SECOND)
    (item,) = await market.leases()
    assert item.cause == "interrupted"
    await market.close()


def _texts(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*") if path.is_file()]


async def test_no_canary_leaves_the_adapter(
    cloud: Aws, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys and encoded messages are in no error, log line, or file, whatever fails."""
    caplog.set_level(logging.DEBUG)
    market = adapter(cloud, tmp_path, cloud.clock)
    told: list[str] = []

    async def attempt(call: Any) -> None:
        try:
            await call
        except ProviderError as error:
            chain: BaseException | None = error
            while chain is not None:
                told.append(f"{chain!r} {chain}")
                chain = chain.__cause__ or chain.__context__

    for number, fault in enumerate(Fault, 1):
        for operation in Operation:
            cloud.fail(operation, fault, times=2)
        await attempt(market.acquire(request(number=number)))
        await attempt(market.leases())
        await attempt(market.release(Release("aws", 10 * number, "i-00000000000000001")))
        await attempt(market.scores())
        told += [f"{finding.detail} {finding.remedy}" for finding in await market.check()]
        cloud.heal()
    await market.close()
    # What the SDK logs at DEBUG is its own business, and off; ours and everybody else's count.
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith("botocore")]
    files = _texts(tmp_path)
    assert len(told) > 20
    for secret in cloud.secrets:
        assert not [text for text in (*told, *lines, *files) if secret in text]


async def test_what_is_not_sold_or_too_dear_is_declined(cloud: Aws, tmp_path: Path) -> None:
    """Strangers' offers, other regions, no image, no capacity: refusals all, and no machine."""
    market = adapter(cloud, tmp_path, cloud.clock)
    for offer in (
        "aws/us-east-1/use1-az9/p4d.24xlarge/spot",
        "aws/eu-west-1/euw1-az1/p4d.24xlarge/spot",
        "gcp/us-east-1/use1-az6/p4d.24xlarge/spot",
        "nonsense",
    ):
        with pytest.raises(Declined):
            await market.acquire(request(offer))
    cloud.set_depth(SPOT, 0)
    with pytest.raises(NoCapacity):
        await market.acquire(request())
    await market.close()
    bare = adapter(cloud, tmp_path / "b", cloud.clock, images={})
    with pytest.raises(Declined, match="images"):
        await bare.acquire(request(number=2))
    await bare.close()
    assert cloud.all == []


async def test_without_the_sdk_one_line_says_what_to_install(
    cloud: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making the adapter without boto3 names the extra."""
    monkeypatch.setattr("treasury_providers.common.sdk.find_spec", lambda _name: None)
    with pytest.raises(PluginError, match=r"spot-treasury\[aws\]"):
        adapter(cloud, tmp_path, cloud.clock)
