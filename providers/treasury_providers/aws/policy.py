"""The least that the adapter's credentials must be allowed to do, as an IAM policy."""

import json
from typing import Any

from treasury_providers.aws.settings import Settings
from treasury_providers.common.tags import OWNER, owner_value

# What has no resource to narrow it to: questions.
_READS = (
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeSpotPriceHistory",
    "ec2:GetSpotPlacementScores",
    "pricing:GetProducts",
    "servicequotas:ListServiceQuotas",
)


def policy(settings: Settings, installation: str) -> str:
    """JSON text. Machines may only be started with our owner tag and only ended when they carry
    it; tags may only be written while something is started."""
    ours = {"StringEquals": {f"aws:ResourceTag/{OWNER}": owner_value(installation)}}
    asked = {"StringEquals": {f"aws:RequestTag/{OWNER}": owner_value(installation)}}
    new = [
        f"arn:aws:ec2:*:*:{kind}/*"
        for kind in ("instance", "volume", "network-interface", "spot-instances-request")
    ]
    used = ["arn:aws:ec2:*::image/*"] + [
        f"arn:aws:ec2:*:*:{kind}/*" for kind in ("subnet", "security-group", "key-pair")
    ]
    statements: list[dict[str, Any]] = [
        _allow("Ask", list(_READS), ["*"]),
        _allow("StartTagged", ["ec2:RunInstances"], new, asked),
        # The default subnet's network interface is tagged as well, its parts are only used.
        _allow("StartWith", ["ec2:RunInstances"], used),
        _allow(
            "TagWhatStarts",
            ["ec2:CreateTags"],
            new,
            {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
        _allow("EndOurs", ["ec2:TerminateInstances"], ["arn:aws:ec2:*:*:instance/*"], ours),
    ]
    if settings.instance_profile:
        role = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
        statements.append(_allow("GiveRole", ["iam:PassRole"], ["arn:aws:iam::*:role/*"], role))
    if any(image.startswith("resolve:ssm:") for image in settings.images.values()):
        statements.append(
            _allow("FindImage", ["ssm:GetParameters"], ["arn:aws:ssm:*:*:parameter/*"])
        )
    if settings.queues:
        queues = [queue_arn(region, url) for region, url in sorted(settings.queues.items())]
        actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        statements.append(_allow("HearNotices", actions, queues))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def queue_arn(region: str, url: str) -> str:
    """The ARN of a queue by its URL, `https://HOST/ACCOUNT/NAME`."""
    account, _, name = url.rstrip("/").rpartition("/")
    return f"arn:aws:sqs:{region}:{account.rpartition('/')[2]}:{name}"


def _allow(
    name: str, actions: list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": name,
        "Effect": "Allow",
        "Action": actions,
        "Resource": resources,
    }
    return statement if condition is None else {**statement, "Condition": condition}
