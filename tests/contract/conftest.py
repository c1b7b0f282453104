"""What several contract tests start."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import Require
from tests.support.brokers import MOSQUITTO, AnyBroker, Embedded, Mosquitto


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path, require: Require
) -> AsyncIterator[AnyBroker]:
    """Each kind of broker, serving."""
    if request.param == "mosquitto":
        require(MOSQUITTO, "mosquitto is not installed")
        folder = tmp_path / "broker"
        folder.mkdir()
        made: AnyBroker = Mosquitto(folder)
    else:
        made = Embedded()
    await made.start()
    yield made
    await made.kill()
