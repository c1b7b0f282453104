"""`treasury check`: every call that will be needed is tried, without buying anything."""

from collections.abc import Awaitable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from treasury.domain.errors import NotPermitted, ProviderError
from treasury.domain.findings import Finding, Verdict
from treasury.domain.market import Tenure
from treasury.domain.time import MINUTE, SECOND, format_duration
from treasury.ports import Site
from treasury_providers.aws.calls import Calls
from treasury_providers.aws.capacity import Capacity, quota_for
from treasury_providers.aws.prices import Prices
from treasury_providers.aws.settings import Settings
from treasury_providers.common.tags import OWNER, owner_value

# AWS refuses signatures that are off by five minutes; notices and listings suffer earlier.
_SKEW_BAD: Final = 4 * MINUTE
_SKEW_NOTED: Final = 2 * SECOND
_POLICY: Final = "allow it: the policy below is the least that is needed"
_DRY_RUN: Final = "DryRunOperation"


class Check:
    """The checks of one account."""

    def __init__(
        self, settings: Settings, site: Site, calls: Calls, capacity: Capacity, prices: Prices
    ) -> None:
        self._settings, self._site, self._calls = settings, site, calls
        self._capacity, self._prices = capacity, prices

    async def run(self) -> Sequence[Finding]:
        """Everything, in the order in which one would mend it."""
        found = [*await self._credentials()]
        if found[0].verdict is Verdict.BAD:
            return found
        for region in self._settings.regions:
            found += await self._region(region)
        return found

    async def _credentials(self) -> list[Finding]:
        region = self._settings.regions[0]
        asked_at = self._site.clock.now()
        try:
            answer = await self._calls.run("sts", region, lambda sts: sts.get_caller_identity())
        except ProviderError as error:
            remedy = "configure credentials: environment, profile, or the machine's own role"
            return [Finding("credentials", Verdict.BAD, str(error), remedy)]
        who = Finding("credentials", Verdict.FINE, str(answer.get("Arn", "")))
        return [who, self._skew(answer, asked_at)]

    def _skew(self, answer: dict[str, Any], asked_at: int) -> Finding:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        try:
            theirs = int(parsedate_to_datetime(headers["date"]).timestamp()) * SECOND
        except (KeyError, ValueError, TypeError):
            return Finding("clock", Verdict.SKIPPED, "AWS said no time")
        # Their time is in whole seconds and was told between our question and now.
        early, late = asked_at - theirs - SECOND, self._site.clock.now() - theirs
        skew = early if early > 0 else late if late < 0 else 0
        text = f"differs from AWS's by {format_duration(abs(skew))}"
        if abs(skew) <= _SKEW_NOTED:
            return Finding("clock", Verdict.FINE, text)
        verdict = Verdict.BAD if abs(skew) > _SKEW_BAD else Verdict.WARNING
        return Finding("clock", verdict, text, "let NTP set this host's clock")

    async def _region(self, region: str) -> list[Finding]:
        what = f"{region}: "
        found = [await self._try(f"{what}catalogue", self._catalogue(region))]
        if found[0].verdict is not Verdict.FINE:
            return found
        found += [
            await self._try(f"{what}prices", self._rates(region)),
            await self._try(f"{what}list machines", self._list(region)),
            await self._try(f"{what}start machines", self._start(region)),
            await self._try(f"{what}placement scores", self._scores(region), optional=True),
            *await self._quotas(region),
            await self._try(f"{what}notices", self._queue(region), optional=True),
        ]
        return found

    async def _try(
        self, what: str, question: Awaitable[tuple[Verdict, str, str]], *, optional: bool = False
    ) -> Finding:
        try:
            verdict, detail, remedy = await question
        except NotPermitted as error:
            verdict = Verdict.WARNING if optional else Verdict.BAD
            return Finding(what, verdict, str(error), _POLICY)
        except ProviderError as error:
            verdict = Verdict.WARNING if optional else Verdict.BAD
            return Finding(what, verdict, str(error), "see what AWS says, and try again")
        return Finding(what, verdict, detail, remedy)

    async def _catalogue(self, region: str) -> tuple[Verdict, str, str]:
        found = await self._capacity.region(region)
        if not found.machines:
            remedy = "look at `instances` and `zones` of the provider's settings"
            return Verdict.BAD, "no instance type with a GPU is sold there", remedy
        unknown = sorted(
            {
                machine.shape.gpu
                for machine in found.machines.values()
                if machine.shape.gpu.startswith("unknown:")
            }
        )
        text = f"{len(found.machines)} instance types in {len(found.zones)} zones"
        if unknown:
            return Verdict.WARNING, f"{text}; unknown GPUs: {', '.join(unknown)}", ""
        return Verdict.FINE, text, ""

    async def _rates(self, region: str) -> tuple[Verdict, str, str]:
        quotes = await self._prices.quotes(region)
        rates = await self._prices.on_demand_rates(region)
        text = f"{len(quotes)} quotes, on-demand prices of {len(rates)} instance types"
        if Tenure.ON_DEMAND.value in self._settings.tenures and not rates:
            remedy = "allow pricing:GetProducts, or set `on_demand` prices"
            return Verdict.WARNING, text, remedy
        return (Verdict.FINE if quotes else Verdict.BAD), text, ""

    async def _list(self, region: str) -> tuple[Verdict, str, str]:
        owner = {"Name": f"tag:{OWNER}", "Values": [owner_value(self._site.installation)]}
        answer = await self._calls.run(
            "ec2", region, lambda ec2: ec2.describe_instances(Filters=[owner], MaxResults=5)
        )
        count = sum(len(item["Instances"]) for item in answer.get("Reservations", ()))
        return Verdict.FINE, f"{count} machines of ours" if count else "no machine of ours", ""

    async def _start(self, region: str) -> tuple[Verdict, str, str]:
        """A dry run: AWS says whether it would be allowed."""
        image = self._settings.image(region)
        if not image:
            return Verdict.BAD, "no image is set", "set `images` of the provider"
        machines = (await self._capacity.region(region)).machines
        tags = [{"Key": OWNER, "Value": owner_value(self._site.installation)}]
        parameters: dict[str, Any] = {
            "DryRun": True,
            "MinCount": 1,
            "MaxCount": 1,
            "ImageId": image,
            "InstanceType": next(iter(machines)),
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tags}
                for kind in ("instance", "volume", "network-interface")
            ],
        }
        try:
            await self._calls.run("ec2", region, lambda ec2: ec2.run_instances(**parameters))
        except NotPermitted:
            raise
        except ProviderError as error:
            # How AWS says yes to a dry run.
            if _DRY_RUN in str(error):
                return Verdict.FINE, "allowed (dry run); ending them was not tried", ""
            raise
        return Verdict.WARNING, "the dry run was not taken for one", ""

    async def _scores(self, region: str) -> tuple[Verdict, str, str]:
        scores = [s for s in await self._capacity.scores() if f"/{region}/" in s.offer]
        raw = sorted({score.raw for score in scores})
        return Verdict.FINE, ", ".join(raw) if raw else "none given", ""

    async def _quotas(self, region: str) -> list[Finding]:
        what = f"{region}: quota"
        try:
            quotas = await self._capacity.quotas(region)
            machines = (await self._capacity.region(region)).machines
        except ProviderError as error:
            return [Finding(what, Verdict.WARNING, str(error), _POLICY)]
        found: dict[str, Finding] = {}
        for name, machine in machines.items():
            for tenure in self._settings.tenures:
                vcpus = quota_for(quotas, name, Tenure(tenure))
                title = f"{what} {tenure} {name.partition('.')[0]}"
                if vcpus is None or title in found:
                    continue
                enough = vcpus >= machine.vcpus
                found[title] = Finding(
                    title,
                    Verdict.FINE if enough else Verdict.WARNING,
                    f"{vcpus} vCPUs; one {name} needs {machine.vcpus}",
                    "" if enough else "ask AWS for more in Service Quotas",
                )
        return list(found.values())

    async def _queue(self, region: str) -> tuple[Verdict, str, str]:
        url = self._settings.queues.get(region)
        if not url:
            remedy = "route EC2 Spot Instance Interruption Warning to a queue, and set `queues`"
            return Verdict.WARNING, "no queue: only the machines themselves will warn", remedy
        names = ["ApproximateNumberOfMessages"]
        answer = await self._calls.run(
            "sqs",
            region,
            lambda sqs: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names),
        )
        waiting = answer.get("Attributes", {}).get(names[0], "0")
        return Verdict.FINE, f"{waiting} messages wait", ""
