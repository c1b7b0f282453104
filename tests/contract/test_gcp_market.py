"""What is special about Google: prices from parts, refusals in operations, gangs in one piece."""

from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.gcp.gce import Gce
from tests.support.cloud_sites import HastyClock
from tests.support.clouds import gcp, one_of_each, order
from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import (
    BadValue,
    BidTooLow,
    NoCapacity,
    NotPermitted,
    OutcomeUnknown,
    Unreachable,
)
from treasury.domain.findings import Verdict
from treasury.domain.ids import LeaseId, OfferId, ProviderName
from treasury.domain.money import NANO
from treasury.domain.time import HOUR, SECOND
from treasury_providers.gcp import CAPABILITIES
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

SPOT = OfferId("gcp/us-central1/us-central1-a/a2-highgpu-1g/spot")
ATTACHED = OfferId("gcp/europe-west4/europe-west4-b/n1-standard-8+1xnvidia-tesla-t4/spot")


def request(
    offer: OfferId = SPOT, machines: int = 1, number: int = 1, bid: int = 100 * NANO
) -> Acquire:
    """An order."""
    return order("gcp", offer, machines, number, bid)


async def test_prices_are_the_newest_of_the_history_and_sums_of_parts(tmp_path: Path) -> None:
    """Spot from the history of prices, regular machines from the catalogue's parts, and machines
    with added accelerators from parts too: each what the market charges."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        found = await one_of_each(adapter)
        await adapter.close()
        assert gce.cloud.violations == []
        assert {offer: quote.rate for offer, quote in found.items()} == {
            offer: pool.rate for offer, pool in gce.cloud.pools.items()
        }
    # The preemptible quota for spot, the regular one for the rest; the project's cap is on both.
    assert found[SPOT].depth == 99_999
    assert found[SPOT.replace("spot", "on_demand")].depth == 8
    assert found[ATTACHED].rate > 0


async def test_without_the_history_the_catalogue_prices_spot(tmp_path: Path) -> None:
    """A project that may not ask for the history of prices still has prices."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        gce.cloud.fail(Operation.QUOTE, Fault.FORBIDDEN, times=99)
        found = await one_of_each(adapter)
        await adapter.close()
        asked = gce.cloud.calls[Operation.QUOTE]
        assert found[SPOT].rate == gce.cloud.pools[SPOT].rate
    # Asked once: what is forbidden stays forbidden. Two regions may ask at the same time.
    assert asked <= 2


async def test_scores_are_obtainability(tmp_path: Path) -> None:
    """Google's own number for each spot offer whose type is sold whole."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        scores = {score.offer: score for score in await adapter.scores()}
        await adapter.close()
        assert gce.cloud.violations == []
    assert scores[SPOT].value == pytest.approx(0.7)
    assert scores[SPOT].raw == "0.70, up 3600s"
    assert ATTACHED not in scores


async def test_above_the_ceiling_nothing_is_bought(tmp_path: Path) -> None:
    """There is no bid to send: an offer that asks more than the request allows is refused by the
    adapter itself, before anything is sent."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        rate = (await one_of_each(adapter))[SPOT].rate
        with pytest.raises(BidTooLow):
            await adapter.acquire(request(bid=rate - 1))
        await adapter.acquire(request(bid=rate))
        await adapter.close()
        assert len(gce.cloud.all) == 1


async def test_a_refusal_inside_an_operation_is_no_capacity(tmp_path: Path) -> None:
    """Answered with 200, refused in the operation that ends seconds later; the zone is the only
    thing that is left alone."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        gce.launch = 20 * SECOND
        gce.cloud.set_depth(SPOT, 0)
        adapter = gcp(gce, tmp_path)
        with pytest.raises(NoCapacity, match="ZONE_RESOURCE_POOL_EXHAUSTED") as caught:
            await adapter.acquire(request())
        assert caught.value.until is not None
        await adapter.acquire(request(OfferId(SPOT.replace("-a/", "-b/")), number=2))
        await adapter.close()


async def test_a_gang_is_one_insertion_with_a_script_for_each(tmp_path: Path) -> None:
    """One call makes all machines, named by their leases; each finds its own boot script by its
    name; the machines delete themselves after `max_run`."""
    bodies: list[dict[str, Any]] = []
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        insert = gce.do_instances_bulkInsert

        def spy(parts: Any, query: Any, body: Any, fault: Any) -> Any:
            bodies.append(body)
            return insert(parts, query, body, fault)

        gce.do_instances_bulkInsert = spy  # type: ignore[method-assign]
        adapter = gcp(gce, tmp_path, max_run=HOUR)
        await adapter.acquire(request(machines=3))
        seen = await adapter.leases()
        await adapter.close()
    (body,) = bodies
    assert sorted(item.lease for item in seen) == [100, 101, 102]
    properties = body["instanceProperties"]
    items = {item["key"]: item["value"] for item in properties["metadata"]["items"]}
    for item in seen:
        script = items[f"treasury-boot-{item.machine.rpartition('/')[2]}"]
        assert f"lease {item.lease}" in script
    assert items["startup-script"].startswith("#!/bin/sh\n")
    assert properties["scheduling"] == {
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": str(HOUR // SECOND)},
        "onHostMaintenance": "TERMINATE",
        "provisioningModel": "SPOT",
    }
    assert properties["disks"][0]["autoDelete"] is True


async def test_the_same_request_again_is_the_same_machine_even_much_later(
    tmp_path: Path,
) -> None:
    """Within Google's memory the UUID does it, after that the name; a machine that is gone by then
    is not made a second time."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        await adapter.acquire(request())
        await adapter.acquire(request())
        gce._requests.clear()
        await adapter.acquire(request())
        assert len(gce.cloud.all) == 1
        (machine,) = gce.cloud.alive.values()
        machine.tags["treasury-token"] = "another"
        with pytest.raises(NotPermitted):
            await adapter.acquire(request())
        await adapter.close()
        assert len(gce.cloud.alive) == 1


async def test_a_hole_in_the_listing_is_no_listing(tmp_path: Path) -> None:
    """A zone that could not be reached makes the whole listing fail; empty zones do not."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        await adapter.acquire(request())
        assert len(await adapter.leases()) == 1
        gce.cloud.fail(Operation.LIST, Fault.HALF_PAGE)
        with pytest.raises(Unreachable, match="us-central1-b"):
            await adapter.leases()
        await adapter.close()


async def test_a_preemption_is_told_with_its_time(tmp_path: Path) -> None:
    """A preempted machine deletes itself; a new life of the adapter still tells when and why."""
    clock = HastyClock()
    async with Gce(clock, CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        await adapter.acquire(request())
        (machine,) = gce.cloud.all
        ends_at = await gce.interrupt(machine.name)
        await clock.sleep_until(ends_at + 2 * SECOND)
        await adapter.close()
        again = gcp(gce, tmp_path)
        (item,) = await again.leases()
        await again.close()
    assert (item.lease, item.cause) == (LeaseId(100), "interrupted")
    assert item.granted_at == machine.granted_at
    assert abs((item.ended_at or 0) - (machine.ended_at or 0)) < SECOND


async def test_what_stopped_by_itself_is_over_and_swept(tmp_path: Path) -> None:
    """A machine that shut itself down is told as ended and deleted, for its disk costs on."""
    clock = HastyClock()
    async with Gce(clock, CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        await adapter.acquire(request())
        (machine,) = gce.cloud.all
        machine.state = "TERMINATED"
        (item,) = await adapter.leases()
        assert (item.cause, item.ended_at is not None) == ("stopped", True)
        await clock.sleep_until(clock.now() + 20 * SECOND)
        await adapter.close()
        assert not gce.cloud.alive


async def test_a_release_that_takes_long_is_asked_again(tmp_path: Path) -> None:
    """A machine without a name is found by its lease; one that nobody has is success."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        await adapter.acquire(request())
        gce.cloud.fail(Operation.RELEASE, Fault.LOST_ANSWER)
        with pytest.raises(OutcomeUnknown):
            await adapter.release(Release(ProviderName("gcp"), LeaseId(100)))
        await adapter.release(Release(ProviderName("gcp"), LeaseId(100)))
        await adapter.release(Release(ProviderName("gcp"), LeaseId(7)))
        await adapter.close()
        assert not gce.cloud.alive


async def test_the_check_says_what_is_missing(tmp_path: Path) -> None:
    """A missing permission is named; a clock that is off is noticed; quotas are told."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        gce.cloud.skew = HOUR
        adapter = gcp(gce, tmp_path)
        found = {finding.what: finding for finding in await adapter.check()}
        policy = adapter.policy()
        await adapter.close()
        assert gce.cloud.violations == []
    assert found["sign-in"].verdict is Verdict.FINE
    assert found["permissions"].verdict is Verdict.BAD
    assert found["permissions"].detail == "missing: compute.instances.setLabels"
    assert "PREEMPTIBLE_NVIDIA_A100_GPUS" in found["quota in us-central1"].detail
    assert found["clock"].verdict is Verdict.WARNING
    assert "compute.instances.create" in policy
    assert "setServiceAccount" not in policy


async def test_a_token_that_is_not_there_stops_the_market(tmp_path: Path) -> None:
    """Without a token nothing is asked: NotPermitted, and the check ends at signing in."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        (tmp_path / "google-token").unlink()
        with pytest.raises(NotPermitted):
            await adapter.acquire(request())
        (finding,) = await adapter.check()
        await adapter.close()
        assert not gce.cloud.all
    assert finding.verdict is Verdict.BAD


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", "My Project"),
        ("regions", ()),
        ("regions", ("us-central1-a",)),
        ("networks", {"us-east1": "default"}),
        ("image", "debian-12"),
        ("attached", ("n1-standard-8",)),
        ("boot_key", "script"),
        ("max_run", 0),
        ("endpoint", "http://compute.example.org"),
    ],
)
async def test_wrong_settings_are_told_with_their_place(
    tmp_path: Path, field: str, value: Any
) -> None:
    """What cannot work is refused when the adapter is made, naming the key."""
    async with Gce(HastyClock(), CAPABILITIES) as gce:
        with pytest.raises(BadValue, match=rf"provider\.gcp\.{field}"):
            gcp(gce, tmp_path, **{field: value})


async def test_weeks_of_old_operations_are_not_read(tmp_path: Path) -> None:
    """Google keeps operations for weeks; the newest are asked for first, and reading ends with the
    first page that holds none of the last half hour."""
    pages: list[Any] = []
    clock = HastyClock(speed=3_000)
    async with Gce(clock, CAPABILITIES) as gce:
        adapter = gcp(gce, tmp_path)
        for number in range(1, 11):
            await adapter.acquire(request(number=number))
        await clock.sleep_until(clock.now() + HOUR)
        await adapter.acquire(request(number=11))
        listing = gce.do_globalOperations_aggregatedList

        def spy(*arguments: Any) -> Any:
            pages.append(arguments)
            return listing(*arguments)

        gce.do_globalOperations_aggregatedList = spy  # type: ignore[method-assign]
        assert len(await adapter.leases()) == 11
        await adapter.close()
        assert gce.cloud.violations == []
    # Eleven insertions, two a page: the new one with an old one, then a page of old ones.
    assert len(pages) == 2
