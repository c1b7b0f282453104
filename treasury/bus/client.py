"""The control's connection: it comes back by itself, and says so each time.

One aiomqtt client a connection, MQTT 3.1.1, a clean session: the broker is believed to remember
nothing. The client id carries the epoch, so that a deposed daemon and its successor do not throw
each other out for ever. Never falls back to plaintext.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from treasury.bus.messages import BrokerAddress
from treasury.domain.time import SECOND
from treasury.ports import Clock

_KEEPALIVE_S: Final = 20
_TIMEOUT_S: Final = 15.0
_FIRST, _MOST = SECOND, 30 * SECOND
# Publications that may be under way at once: enough to hide a round trip.
_AT_ONCE: Final = 100


class BusClient:
    """A connection for as long as `run` runs. fault: why there is none just now, "" when there is.
    up_since: the instant [ns] of the last connect, None while there is none."""

    def __init__(
        self,
        address: BrokerAddress,
        account: str,
        password: str,
        client_id: str,
        clock: Clock,
        dice: Random,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        """will: a topic and what the broker says there, retained, when we are cut off."""
        self.fault = "not connected yet"
        self.up_since: int | None = None
        self._address, self._account, self._password = address, account, password
        self._client_id, self._clock, self._dice, self._will = client_id, clock, dice, will
        self._client: Any = None

    async def run(
        self,
        subscriptions: Sequence[tuple[str, int]],
        came_up: Callable[[], None],
        heard: Callable[[str, bytes], None],
    ) -> None:
        """Be connected until cancelled. subscriptions: (filter, QoS). came_up: after each connect
        and subscription. heard: each message; what it raises ends the run."""
        import aiomqtt

        wait = _FIRST
        while True:
            connected = False
            try:
                async with self._connection(aiomqtt) as client:
                    for topic, qos in subscriptions:
                        await client.subscribe(topic, qos)
                    connected = True
                    self._client, self.fault, self.up_since = client, "", self._clock.now()
                    came_up()
                    async for message in client.messages:
                        heard(message.topic.value, bytes(message.payload))
            except (aiomqtt.MqttError, OSError, ssl.SSLError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # A goodbye that fails must not hide that we were told to go.
                    raise asyncio.CancelledError from error
                self.fault = f"{self._address.host}:{self._address.port}: {error}"
            finally:
                self._client, self.up_since = None, None
            wait = _FIRST if connected else min(2 * wait, _MOST)
            # Up to a half less, so that many who were cut off do not come back together.
            pause = wait - self._dice.randrange(wait // 2)
            await self._clock.sleep_until(self._clock.now() + pause)

    def _connection(self, aiomqtt: Any) -> Any:
        address = self._address
        will = None
        if self._will is not None:
            will = aiomqtt.Will(self._will[0], self._will[1], qos=1, retain=True)
        context = None
        if address.tls:
            context = ssl.create_default_context(cafile=address.ca or None)
        return aiomqtt.Client(
            address.host,
            address.port,
            username=self._account,
            password=self._password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            keepalive=_KEEPALIVE_S,
            timeout=_TIMEOUT_S,
            tls_context=context,
            will=will,
            max_concurrent_outgoing_calls=_AT_ONCE,
        )

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> bool:
        """Say something; whether the broker has taken it. It may still lose it."""
        import aiomqtt

        client = self._client
        if client is None:
            return False
        try:
            await client.publish(topic, payload, qos=qos, retain=retain, timeout=_TIMEOUT_S)
        except (aiomqtt.MqttError, OSError, ValueError):
            return False
        # A connection that was lost meanwhile may have taken it along.
        return client is self._client
