"""`treasury check` and `quotes` on a configured EC2, from the file to the wire."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.counterparts.aws.server import Aws
from tests.support.aws import counterpart, with_canaries
from tests.support.cloud_sites import HastyClock
from treasury.cli.main import cli
from treasury_simulations.conformance import Fault, Operation

pytestmark = pytest.mark.slow

CONFIG = """
[[budget]]
cost_centre = "lab"
amount = "10 USD"

[provider.east]
kind = "aws"
regions = ["us-east-1"]
zones = ["use1-az6", "use1-az1"]
instances = ["p4d.24xlarge", "g5.xlarge"]
images = {{ "*" = "ami-12c6146b" }}
security_groups = {{ "us-east-1" = ["sg-1", "sg-2"] }}
queues = {{ "us-east-1" = "{queue}" }}
endpoint = "{url}"
prices = "1m"
"""


async def treasury(*arguments: str) -> Result:
    """A command in a thread of its own, as it has a loop of its own."""
    return await asyncio.to_thread(
        CliRunner().invoke, cli, arguments, obj={"debug": False}, catch_exceptions=False
    )


def configured(cloud: Aws, folder: Path) -> str:
    """A configuration file that reaches the counterpart."""
    path = folder / "lab.toml"
    queue = cloud.moto.queues["us-east-1"]
    path.write_text(CONFIG.format(url=cloud.url, queue=queue))
    return str(path)


async def test_a_configured_market_is_checked_and_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's settings reach AWS; offers are named after the table, with AWS's own scores; what
    is forbidden exits with 1 and prints the policy."""
    with_canaries(monkeypatch)
    clock = HastyClock(speed=1, start=time.time_ns())  # noqa: TID251 - the command has the real one
    async with counterpart(clock) as cloud:
        file = configured(cloud, tmp_path)
        told = await treasury("check", "-c", file, "-o", "json")
        verdicts = {row["what"]: row["verdict"] for row in json.loads(told.stdout)}
        assert verdicts.pop("us-east-1: quota on_demand g5") == "warning"
        assert set(verdicts.values()) == {"fine"}
        assert told.exit_code == 0
        told = await treasury("quotes", "east", "-c", file, "-o", "json")
        rows = {row["offer"]: row for row in json.loads(told.stdout)}
        assert len(rows) == 8
        row = rows["east/us-east-1/use1-az6/p4d.24xlarge/spot"]
        assert (row["gpu"], row["gpus"], row["score"]) == ("A100-40GB", 8, 0.7)
        cloud.fail(Operation.LIST, Fault.FORBIDDEN, times=100)
        told = await treasury("check", "-c", file)
        assert told.exit_code == 1
        assert "bad      us-east-1: list machines" in told.stdout
        assert '"ec2:TerminateInstances"' in told.stdout
        told = await treasury("check", "-c", file, "--policy")
        assert json.loads(told.stdout)["Version"] == "2012-10-17"
