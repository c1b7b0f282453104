"""What is special about Azure: its price list, sizes, launches that fail late, gangs by hand."""

from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.azure.arm import Arm
from tests.support.cloud_sites import HastyClock
from tests.support.clouds import azure, one_of_each, order
from treasury.domain.commands import Acquire, Release
from treasury.domain.errors import BadValue, NoCapacity, NotPermitted, OfferGone, Throttled
from treasury.domain.findings import Verdict
from treasury.domain.ids import LeaseId, OfferId, ProviderName
from treasury.domain.market import Tenure
from treasury.domain.money import NANO
from treasury.domain.time import MINUTE, SECOND
from treasury_providers.azure import CAPABILITIES
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

SPOT = OfferId("azure/eastus/1/Standard_NC24ads_A100_v4/spot")
REGULAR = OfferId("azure/westeurope/Standard_ND96isr_H100_v5/on_demand")


def request(offer: OfferId = SPOT, machines: int = 1, number: int = 1, bid: int = NANO) -> Acquire:
    """An order."""
    return order("azure", offer, machines, number, bid)


async def test_the_catalogue_leaves_out_what_we_may_not_have(tmp_path: Path) -> None:
    """A zone with a restriction is no offer; a size sold by region is one without a zone; only
    spot takes bids."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        offers = {offer.id: offer for offer in await adapter.offers()}
        await adapter.close()
    sizes = ("eastus/1/Standard_NC24ads_A100_v4", "eastus/2/Standard_NC24ads_A100_v4",
             "westeurope/Standard_ND96isr_H100_v5")  # fmt: skip
    terms = ("spot", "on_demand")
    assert set(offers) == {f"azure/{size}/{term}" for size in sizes for term in terms}
    assert offers[SPOT].shape.gpu == "A100-80GB"
    assert (offers[REGULAR].shape.gpu, offers[REGULAR].shape.gpus) == ("H100", 8)
    assert offers[SPOT].capabilities.bids
    assert not offers[REGULAR].capabilities.bids


async def test_prices_are_those_in_force_for_linux(tmp_path: Path) -> None:
    """Windows, low priority, future, superseded and yearly rows do not become a price; a zone has
    its region's price; quotas are the depth."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        arm.quota = 240
        adapter = azure(arm, tmp_path)
        found = await one_of_each(adapter)
        await adapter.close()
        assert {offer: quote.rate for offer, quote in found.items()} == {
            offer: pool.rate for offer, pool in arm.cloud.pools.items()
        }
    assert found[SPOT].depth == 240 // 24
    assert found[REGULAR].depth == 240 // 96


async def test_scores_tell_how_readily_and_how_often_evicted(tmp_path: Path) -> None:
    """A placement score with its eviction band for each spot offer that is sold to us."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        scores = {score.offer: score for score in await adapter.scores()}
        await adapter.close()
    assert set(scores) == {SPOT, SPOT.replace("/1/", "/2/"),
                           REGULAR.replace("on_demand", "spot")}  # fmt: skip
    assert scores[SPOT].raw == "High, evicted 5-10 %/h"
    assert 0 < scores[SPOT].value < 1


async def test_a_launch_that_fails_after_it_was_accepted_never_cost_anything(
    tmp_path: Path,
) -> None:
    """Accepted, still going on when the wait is over, then refused: the listing tells it as ended
    at once, with its cause, and what is left of it is deleted later."""
    clock = HastyClock(speed=300)
    async with Arm(clock, CAPABILITIES) as arm:
        arm.launch, arm.late = 600 * SECOND, True
        arm.cloud.set_depth(SPOT, 0)
        adapter = azure(arm, tmp_path, launch_wait=SECOND, poll_every=SECOND // 5)
        await adapter.acquire(request())
        assert [item.ended_at for item in await adapter.leases()] == [None]
        await clock.sleep_until(clock.now() + 610 * SECOND)
        (item,) = await adapter.leases()
        assert item.ended_at == item.granted_at
        assert "AllocationFailed" in item.cause
        assert arm.cloud.alive
        await clock.sleep_until(clock.now() + 6 * MINUTE)
        await adapter.leases()
        await adapter.close()
        assert not arm.cloud.alive
        assert sum(made.charge for made in arm.cloud.machines()) == 0


@pytest.mark.parametrize("late", [False, True])
async def test_a_gang_that_cannot_be_whole_is_undone(tmp_path: Path, late: bool) -> None:
    """Three asked for, two to be had: NoCapacity, whether Azure refuses at once or in the end, and
    nothing runs afterwards."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        arm.late = late
        arm.cloud.set_depth(SPOT, 2)
        adapter = azure(arm, tmp_path)
        with pytest.raises(NoCapacity):
            await adapter.acquire(request(machines=3))
        assert not arm.cloud.alive
        assert [item for item in await adapter.leases() if item.ended_at is None] == []
        await adapter.close()


async def test_half_a_gang_after_a_crash_is_found_and_finished(tmp_path: Path) -> None:
    """Throttled after the first machine, then killed: the next life's listing shows it, and the
    same request again completes the gang without a second copy."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        first = azure(arm, tmp_path)
        await first.acquire(request(machines=3))
        half, *others = sorted(arm.cloud.alive)
        for name in others:
            arm.cloud.all.remove(arm.cloud.alive.pop(name))
        await first.close()
        second = azure(arm, tmp_path)
        assert [item.machine for item in await second.leases()] == [half]
        arm.cloud.fail(Operation.ACQUIRE, Fault.THROTTLED)
        with pytest.raises(Throttled):
            await second.acquire(request(machines=3))
        await second.acquire(request(machines=3))
        assert len(await second.leases()) == len(arm.cloud.all) == 3
        await second.close()


async def test_a_name_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """A machine of the very name but with other tags is neither taken over nor deleted."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        await adapter.acquire(request())
        (machine,) = arm.cloud.alive.values()
        machine.tags["treasury-token"] = "another"
        with pytest.raises(NotPermitted):
            await adapter.acquire(request())
        await adapter.close()
        assert list(arm.cloud.alive) == [machine.name]


async def test_the_body_says_what_was_ordered(tmp_path: Path) -> None:
    """Spot with the bid as its most, rounded down to Azure's five decimals; deleted with all that
    hangs on it; a regular machine has neither bid nor eviction."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        await adapter.acquire(request(bid=1_234_567_899))
        await adapter.acquire(request(REGULAR, number=2))
        spot, regular = arm.cloud.all
        await adapter.close()
    properties: Any = spot.body["properties"]
    assert spot.body["zones"] == ["1"]
    assert properties["billingProfile"] == {"maxPrice": 1.23456}
    assert properties["evictionPolicy"] == "Delete"
    assert properties["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    (nic,) = properties["networkProfile"]["networkInterfaceConfigurations"]
    assert nic["properties"]["deleteOption"] == "Delete"
    other: Any = regular.body["properties"]
    assert other["priority"] == "Regular"
    assert "billingProfile" not in other
    assert "zones" not in regular.body


async def test_an_eviction_is_told_with_its_time(tmp_path: Path) -> None:
    """A machine that was evicted leaves nothing, and a new life of the adapter still tells when it
    ended and why."""
    clock = HastyClock()
    async with Arm(clock, CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        await adapter.acquire(request())
        (machine,) = arm.cloud.all
        ends_at = await arm.interrupt(machine.name)
        await clock.sleep_until(ends_at + SECOND)
        await adapter.close()
        again = azure(arm, tmp_path)
        (item,) = await again.leases()
        await again.close()
    assert (item.lease, item.cause) == (LeaseId(100), "interrupted")
    assert item.ended_at == machine.ended_at


async def test_a_lost_deletion_is_dated_from_what_azure_remembers(tmp_path: Path) -> None:
    """The answer to a deletion is lost, the repetition finds nothing: the listing still says when
    the machine went."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        await adapter.acquire(request())
        (item,) = await adapter.leases()
        machine = arm.cloud.alive[item.machine]
        arm.cloud.end(machine, "deleted")
        await adapter.release(Release(ProviderName("azure"), item.lease, item.machine))
        (gone,) = await adapter.leases()
        await adapter.close()
    assert gone.ended_at == machine.ended_at


async def test_the_check_says_what_is_missing(tmp_path: Path) -> None:
    """Permissions are held against the role that `policy` prints; a clock that is off is noticed;
    a missing group says how to make it."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        arm.cloud.skew = 10 * MINUTE
        adapter = azure(arm, tmp_path, identity="/subscriptions/x/identity")
        found = {finding.what: finding for finding in await adapter.check()}
        await adapter.close()
        elsewhere = azure(arm, tmp_path, resource_group="elsewhere")
        missing = {finding.what: finding for finding in await elsewhere.check()}
        await elsewhere.close()
    assert found["sign-in"].verdict is Verdict.FINE
    assert found["permissions"].verdict is Verdict.BAD
    assert "userAssignedIdentities/assign/action" in found["permissions"].detail
    assert "virtualMachines/write" not in found["permissions"].detail
    assert found["clock"].verdict is Verdict.WARNING
    assert found["quota in eastus"].verdict is Verdict.FINE
    assert missing["resource group"].remedy == "az group create --name elsewhere"


async def test_a_token_that_is_not_there_stops_the_market(tmp_path: Path) -> None:
    """Without a token nothing is asked: NotPermitted, and the check ends at signing in."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        (tmp_path / "azure-token").unlink()
        with pytest.raises(NotPermitted):
            await adapter.acquire(request())
        (finding,) = await adapter.check()
        await adapter.close()
    assert finding.verdict is Verdict.BAD


async def test_offers_that_are_none_are_gone(tmp_path: Path) -> None:
    """A name of another shape is refused before anything is sent."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        for name in ("azure/eastus", "aws/eastus/1/x/spot", "azure/eastus/1/x/rented"):
            with pytest.raises(OfferGone):
                await adapter.acquire(request(OfferId(name)))
        await adapter.close()
        assert not arm.cloud.calls


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subscription", "mine"),
        ("regions", ()),
        ("regions", ("East US",)),
        ("subnets", {}),
        ("image", "ubuntu"),
        ("ssh_key", "AAAA"),
        ("endpoint", "http://management.example.org"),
        ("launch_wait", 0),
    ],
)
async def test_wrong_settings_are_told_with_their_place(
    tmp_path: Path, field: str, value: Any
) -> None:
    """What cannot work is refused when the adapter is made, naming the key."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        with pytest.raises(BadValue, match=rf"provider\.azure\.{field}"):
            azure(arm, tmp_path, **{field: value})


async def test_a_price_list_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    """The next page must be on the same host: an answer cannot send us to another."""
    from treasury.domain.errors import Unreachable
    from treasury_providers.azure.client import Door

    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path)
        prices = adapter._prices

        class Lured(Door):
            async def anonymous(self, url: str) -> Any:
                return {"Items": [], "NextPageLink": "https://elsewhere.example.org/"}

        prices._door = Lured(adapter._settings, adapter._site)
        with pytest.raises(Unreachable, match="another host"):
            await prices.quotes("eastus")
        await adapter.close()


async def test_on_demand_can_be_left_out(tmp_path: Path) -> None:
    """With `on_demand = false` only spot is offered and quoted."""
    async with Arm(HastyClock(), CAPABILITIES) as arm:
        adapter = azure(arm, tmp_path, on_demand=False, sizes=("Standard_NC24ads_A100_v4",))
        offers = await adapter.offers()
        await adapter.close()
    assert {offer.tenure for offer in offers} == {Tenure.SPOT}
    assert {offer.shape.instance for offer in offers} == {"Standard_NC24ads_A100_v4"}
