"""The machine's end of the bus: paho-mqtt in a thread of its own, MQTT 3.1.1, QoS 1.

Nothing is queued for a broker that is away: reports wait in the spool, heartbeats are worth
nothing later. So a reconnect begins with a clean session and sends what is still waiting.
"""

from __future__ import annotations

import random
import ssl
from queue import SimpleQueue
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from treasury.bus.messages import NodeConfig
from treasury.bus.topics import FROM_CONTROL, Topics

_KEEPALIVE_S = 20
# Messages of one incoming burst; a machine is told one thing at a time.
_IN_FLIGHT = 50


class Link:
    """A connection that keeps coming back. inbox: (channel, payload), and ("up", b"")."""

    def __init__(self, config: NodeConfig, identity: str) -> None:
        """identity: of this start of the agent, so that two agents with one lease do not throw
        each other out."""
        self.inbox: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._topics, self._lease = Topics(config.installation), config.lease
        self._up = False
        self._address = ""
        self._host, self._port = config.broker.host, config.broker.port
        name = f"treasury-{config.installation}-node-{config.lease}-{identity[:12]}"
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        client.username_pw_set(str(config.lease), config.password)
        if config.broker.tls:
            context = ssl.create_default_context(cafile=config.broker.ca or None)
            client.tls_set_context(context)
        # Each machine has its own pace: a broker that comes back is not met by all at once.
        dice = random.Random(identity)  # noqa: S311 - spreads load, guards nothing
        client.reconnect_delay_set(min_delay=1, max_delay=dice.randint(10, 30))
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.connect_timeout = 5.0
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message

    def start(self) -> None:
        """Begin to connect, for ever."""
        self._client.connect_async(self._host, self._port, _KEEPALIVE_S)
        self._client.loop_start()

    def up(self) -> bool:
        """Whether the broker has taken us in."""
        return self._up

    def address(self) -> str:
        """This machine's address on the way to the broker: where its gang reaches it."""
        connection: Any = self._client.socket()
        if connection is None:
            return self._address
        try:
            self._address = str(connection.getsockname()[0])
        except OSError:
            return self._address
        return self._address

    def publish(self, channel: str, payload: bytes, qos: int = 1) -> None:
        """Say something on one of this machine's channels; dropped while the broker is away."""
        if self._up:
            self._client.publish(self._topics.node(self._lease, channel), payload, qos)

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        del data, flags, properties
        if code.is_failure:
            return
        channels = [(self._topics.node(self._lease, channel), 1) for channel in FROM_CONTROL]
        client.subscribe(channels)
        self._up = True
        self.inbox.put(("up", b""))

    def _disconnected(self, client: Any, data: Any, flags: Any, code: Any, props: Any) -> None:
        del client, data, flags, code, props
        self._up = False

    def _message(self, client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        del client, data
        place = self._topics.parse(message.topic)
        if place is not None and place[0] == self._lease:
            self.inbox.put((place[1], bytes(message.payload)))
