"""A broker in memory, with MQTT's promises and no more: retained messages, last wills, and a
network that loses, doubles and delays what it carries."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from treasury.domain.time import SECOND
from treasury.ports import Clock
from treasury_simulations.storm.loop import VirtualLoop
from treasury_simulations.storm.weather import Weather

Deliver = Callable[[str, bytes, bool], None]
_LATE: Final = 60 * SECOND
_HOP: Final = SECOND // 100


@dataclass(slots=True, eq=False)
class Session:
    """One connected client. deliver: called with (topic, payload, retained)."""

    deliver: Deliver
    lost: Callable[[], None]
    reachable: Callable[[], bool]
    topics: list[str] = field(default_factory=list)
    will: tuple[str, bytes] | None = None
    open: bool = True


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic falls under a subscription's filter."""
    wanted, levels = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in {"+", levels[index]}:
            return False
    return len(wanted) == len(levels)


class MemoryBroker:
    """One broker on the virtual loop."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.up = True
        self._loop, self._weather = loop, weather
        self._sessions: list[Session] = []
        # Subscriptions to one topic, and those with a wildcard.
        self._exact: dict[str, list[Session]] = {}
        self._wild: list[tuple[str, Session]] = []
        self._retained: dict[str, bytes] = {}

    def connect(self, session: Session) -> None:
        """Take a client. Raises ConnectionError while the broker is down or out of reach."""
        if not self.up or not session.reachable():
            raise ConnectionError("the broker does not answer")
        self._sessions.append(session)

    def subscribe(self, session: Session, pattern: str) -> None:
        """Deliver what matches from now on, and what is retained at once."""
        if "+" in pattern or "#" in pattern:
            self._wild.append((pattern, session))
        else:
            self._exact.setdefault(pattern, []).append(session)
            session.topics.append(pattern)
        for topic, payload in list(self._retained.items()):
            if matches(pattern, topic):
                self._carry(session, topic, payload, retained=True)

    def publish(self, session: Session, topic: str, payload: bytes, *, retain: bool) -> None:
        """Take a message. Raises ConnectionError where the client is not connected any more."""
        if not session.open or not self.up or not session.reachable():
            self.drop(session)
            raise ConnectionError("not connected")
        self._spread(topic, payload, retain=retain)

    def disconnect(self, session: Session) -> None:
        """A client says good-bye: its will is not spoken."""
        session.open = False
        if session in self._sessions:
            self._sessions.remove(session)
        self._wild = [(pattern, who) for pattern, who in self._wild if who is not session]
        for topic in session.topics:
            self._exact[topic].remove(session)
            if not self._exact[topic]:
                del self._exact[topic]
        session.topics.clear()

    def drop(self, session: Session) -> None:
        """A client is gone without a word: its will is published."""
        if not session.open:
            return
        self.disconnect(session)
        self._loop.call_soon(session.lost)
        if session.will is not None and self.up:
            self._spread(*session.will, retain=True)

    def fail(self, *, forget: bool) -> None:
        """Go down; with `forget` what was retained is lost."""
        self.up = False
        for session in list(self._sessions):
            self.disconnect(session)
            self._loop.call_soon(session.lost)
        if forget:
            self._retained.clear()

    def rise(self) -> None:
        """Come up again, empty of sessions."""
        self.up = True

    def _spread(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if retain:
            if payload:
                self._retained[topic] = payload
            else:
                self._retained.pop(topic, None)
        for session in list(self._exact.get(topic, ())):
            self._carry(session, topic, payload, retained=False)
        for pattern, session in list(self._wild):
            if matches(pattern, topic):
                self._carry(session, topic, payload, retained=False)

    def _carry(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        weather = self._weather
        copies = 1 + weather.strikes("message_twice")
        for _ in range(copies):
            if weather.strikes("message_lost"):
                continue
            delay = weather.pick(_LATE) if weather.strikes("message_late") else _HOP
            at = self._loop.now_ns + delay
            self._loop.call_at_ns(at, self._arrive, session, topic, payload, retained)

    def _arrive(self, session: Session, topic: str, payload: bytes, retained: bool) -> None:
        if session.open and self.up and session.reachable():
            session.deliver(topic, payload, retained)


_Messages = asyncio.Queue[tuple[str, bytes] | None]


def _pass_on(messages: _Messages, topic: str, payload: bytes, _retained: bool) -> None:
    messages.put_nowait((topic, payload))


class MemoryClient:
    """A control's connection to a `MemoryBroker`: what `treasury.bus.client` is to a real one."""

    def __init__(
        self,
        broker: MemoryBroker,
        clock: Clock,
        dice: Random,
        reachable: Callable[[], bool],
        will: tuple[str, bytes] | None,
    ) -> None:
        self.fault = "not connected yet"
        self.up_since: int | None = None
        self._broker, self._clock, self._dice = broker, clock, dice
        self._reachable, self._will = reachable, will
        self._session: Session | None = None

    async def run(
        self,
        subscriptions: Sequence[tuple[str, int]],
        came_up: Callable[[], None],
        heard: Callable[[str, bytes], None],
    ) -> None:
        """Be connected until cancelled."""
        while True:
            messages: _Messages = asyncio.Queue()
            session = Session(
                partial(_pass_on, messages),
                partial(messages.put_nowait, None),
                self._reachable,
                will=self._will,
            )
            try:
                self._broker.connect(session)
                for topic, _qos in subscriptions:
                    self._broker.subscribe(session, topic)
                self._session, self.fault, self.up_since = session, "", self._clock.now()
                came_up()
                while (message := await messages.get()) is not None:
                    heard(*message)
            except ConnectionError as error:
                self.fault = str(error)
            finally:
                self._session, self.up_since = None, None
                self._broker.disconnect(session)
            pause = 5 * SECOND + self._dice.randrange(5 * SECOND)
            await self._clock.sleep_until(self._clock.now() + pause)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> bool:
        """Say something; whether the broker has taken it."""
        session = self._session
        if session is None:
            return False
        await asyncio.sleep(_HOP * qos / SECOND)
        try:
            self._broker.publish(session, topic, payload, retain=retain)
        except ConnectionError:
            return False
        return True
