"""The embedded broker: amqtt, for one machine and for trying things out. Loaded when it is used.

It enforces the same accounts and access list as the files written for Mosquitto, and remembers
nothing: after a restart the control and the machines say everything again.
"""

import asyncio
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from treasury.bus.acl import allowed
from treasury.bus.secrets import may_log_in
from treasury.bus.topics import Topics
from treasury.domain.errors import UserError

# A client that has not said CONNECT by then is not one.
_CONNECT_S: Final = 10
_CLIENTS_MAX: Final = 10_000


def _amqtt(name: str) -> Any:
    try:
        return import_module(f"amqtt.{name}")
    except ImportError as error:
        raise UserError(
            "the embedded broker needs amqtt: pip install 'spot-treasury[broker]', or set"
            " [bus] embedded = false and run Mosquitto"
        ) from error


def _plugin(secret: bytes, topics: Topics) -> type:
    """The class that amqtt asks about each login, publication and subscription."""
    base = _amqtt("plugins.base")

    class Gatekeeper(base.BaseAuthPlugin, base.BaseTopicPlugin):  # type: ignore[misc, name-defined]
        """Accounts and access of one installation."""

        async def authenticate(self, *, session: Any) -> bool:
            """Whether the account and password are right."""
            return may_log_in(secret, session.username or "", session.password or "")

        async def topic_filtering(
            self, *, session: Any = None, topic: str | None = None, action: Any = None
        ) -> bool:
            """Whether the account may do that with the topic."""
            if session is None or topic is None:
                return False
            actions = _amqtt("contexts").Action
            if action == actions.RECEIVE:
                # What may be subscribed to may be received.
                return True
            return allowed(topics, session.username or "", topic, write=action == actions.PUBLISH)

        @dataclass
        class Config:
            """Nothing to set."""

    return Gatekeeper


class EmbeddedBroker:
    """A broker in this process, with `run()`. It listens on loopback unless told otherwise."""

    def __init__(
        self, secret: bytes, topics: Topics, *, host: str = "127.0.0.1", port: int = 1883
    ) -> None:
        self._secret, self._topics, self._host, self._port = secret, topics, host, port
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled. Raises UserError where the port is taken or amqtt is missing."""
        broker_module = _amqtt("broker")
        # amqtt takes plug-ins by the place of their class only.
        place = globals()
        place["Gatekeeper"] = _plugin(self._secret, self._topics)
        broker = broker_module.Broker(
            {
                "listeners": {
                    "default": {
                        "type": "tcp",
                        "bind": f"{self._host}:{self._port}",
                        "max_connections": _CLIENTS_MAX,
                    }
                },
                "timeout_disconnect_delay": _CONNECT_S,
                "plugins": {f"{__name__}.Gatekeeper": {}},
            }
        )
        try:
            await broker.start()
        except Exception as error:
            raise UserError(
                f"the embedded broker cannot listen on {self._host}:{self._port}: {error}"
            ) from error
        self.ready.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ready.clear()
            await broker.shutdown()
