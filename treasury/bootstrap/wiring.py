"""Markets as configured, and the way to their machines: the bus, and what they boot into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from treasury.config import Config
from treasury.config.checks import LOOPBACK
from treasury.domain.commands import Acquire
from treasury.domain.errors import ConfigError
from treasury.domain.ids import ProviderName
from treasury.jobfile.secrets import secret_values
from treasury.ports import Boot, Clock, Dice, Offload, Provider, Runner
from treasury.registry import load_provider, load_runner
from treasury.runtime.agent import Agent
from treasury.runtime.clocks import Host
from treasury.runtime.daemon import Part
from treasury.runtime.rehearsal import PretendProvider, PretendRunner
from treasury.store.sql import SqlStore

if TYPE_CHECKING:
    from treasury.bus.control import BusRunner
    from treasury.bus.messages import BrokerAddress

# In the state directory: what all passwords on the bus are derived from.
KEY_FILE: Final = "installation-secret"
# In it: a folder for each market.
PROVIDERS: Final = "providers"
# The kind whose machines are slots of this host.
LOCAL: Final = "local"
# Markets whose notices the node agent can ask the machine's metadata service for.
_METADATA: Final = ("aws", "azure", "gcp")
_NOTICE_FILE: Final = "notice"


@dataclass
class Site:
    """`ports.Site`."""

    name: ProviderName
    installation: str
    clock: Clock
    dice: Dice
    offload: Offload
    boot: Boot
    state: Path


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beside the configuration.

    path: of the configuration, None for the embedded one. db: instead of the configured database.
    rehearse: real quotes, pretend machines. adopt: believe the first listings. holder: this
    process's name for people. draw: that many bytes nobody can guess. notify, watchdog: systemd's.
    """

    path: Path | None
    db: str = ""
    rehearse: bool = False
    adopt: bool = False
    holder: str
    draw: Callable[[int], bytes]
    environment: Mapping[str, str]
    notify: Callable[[str], None] | None = None
    watchdog: int = 0


def place(orders: Orders, what: str) -> Path:
    """A path of the configuration; relative ones begin at its file."""
    base = Path() if orders.path is None else orders.path.parent
    return base / what


def provider_of(config: Config, host: Host, orders: Orders, name: str, spare: Path) -> Provider:
    """One market as configured, to be looked at: nothing it started would be ours. spare: its
    folder where it has none yet. Raises UserError."""
    market = config.markets[name]
    state = place(orders, config.daemon.state) / PROVIDERS / name
    site = Site(
        ProviderName(name),
        config.engine.installation,
        host.clock,
        host.dice,
        host.offload,
        _no_boot,
        state if state.exists() else spare,
    )
    return load_provider(market.kind, market.parameters, site, config.file)


def _no_boot(_request: Acquire, _index: int) -> str:
    return ""


class Wiring:
    """Markets and the way to their machines. bus, parts: after `runner`."""

    def __init__(self, config: Config, host: Host, orders: Orders, state: Path) -> None:
        self.bus: BusRunner | None = None
        self.parts: list[Part] = []
        self._config, self._host, self._orders, self._state = config, host, orders, state
        self._pretend: list[PretendProvider] = []
        self._secret = b""
        if not orders.rehearse:
            from treasury.bus.secrets import installation_secret

            self._secret = installation_secret(state / KEY_FILE, orders.draw)

    def providers(self) -> dict[ProviderName, Provider]:
        """Every real market of the configuration. Raises UserError."""
        found: dict[ProviderName, Provider] = {}
        for key, market in self._config.markets.items():
            name = ProviderName(key)
            folder = self._state / PROVIDERS / key
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            site = Site(
                name,
                self._config.engine.installation,
                self._host.clock,
                self._host.dice,
                self._host.offload,
                self._boot(key, market.kind),
                folder,
            )
            provider = load_provider(market.kind, market.parameters, site, self._config.file)
            if self._orders.rehearse:
                pretend = PretendProvider(provider, self._host.clock)
                self._pretend.append(pretend)
                provider = pretend
            found[name] = provider
        return found

    def runner(self, store: SqlStore, agent: Agent) -> Runner:
        """What starts and stops work, and the parts it needs."""
        if self._orders.rehearse:
            for provider in self._pretend:
                provider.remember(agent.book)
            pretend = PretendRunner(agent, self._host.clock)
            pretend.remember(agent.book)
            self.parts.append(pretend)
            return pretend
        from treasury.bus.broker import EmbeddedBroker
        from treasury.bus.client import BusClient
        from treasury.bus.fields import encode
        from treasury.bus.messages import Status
        from treasury.bus.secrets import CONTROL, password
        from treasury.bus.topics import Topics

        bus, clock = self._config.bus, self._host.clock
        topics = Topics(self._config.engine.installation)
        if bus.embedded:
            broker = EmbeddedBroker(self._secret, topics, host=bus.host, port=bus.port)
            self.parts.append(broker)
        farewell = encode(Status(store.epoch, online=False, at=clock.now()))
        client = BusClient(
            self._broker(bus.host, own=True),
            CONTROL,
            password(self._secret, CONTROL),
            f"control-{topics.installation}-{store.epoch}",
            clock,
            self._host.dice.stream("bus"),
            will=(topics.status, farewell),
        )
        source = self._config.daemon.secrets
        values = partial(
            secret_values,
            source=place(self._orders, source) if source else None,
            environment=self._orders.environment,
        )
        made_by = load_runner("node")
        runner: BusRunner = made_by(agent, client, topics, clock, epoch=store.epoch, secrets=values)
        self.bus = runner
        self.parts.append(runner)
        return runner

    def _broker(self, host: str, *, own: bool) -> "BrokerAddress":
        from treasury.bus.messages import BrokerAddress

        bus = self._config.bus
        ca = str(place(self._orders, bus.ca).absolute()) if bus.ca and own else ""
        return BrokerAddress(host, bus.port, bus.tls, ca)

    def _boot(self, name: str, kind: str) -> Boot:
        """What machines of a market start with."""
        if self._orders.rehearse:
            return _no_boot
        from treasury.bus.boot import NodeBoot, local_boot
        from treasury.node.bundle import bundle, sha256

        config = self._config
        installation, fuse = config.engine.installation, config.engine.horizon
        bus, api = config.bus, config.api
        if kind == LOCAL:
            broker = self._broker(bus.host, own=True)
            return local_boot(
                installation, self._secret, broker, fuse_ns=fuse, notice_file=_NOTICE_FILE
            )
        for key, address in (
            ("bus.advertise", bus.advertise or bus.host),
            ("api.advertise", api.advertise),
        ):
            if not address or address in LOOPBACK:
                raise ConfigError(
                    config.file,
                    key,
                    f"is missing: machines of provider.{name} cannot reach this machine at "
                    f'"{address or api.host}"',
                )
        ca = place(self._orders, bus.ca)
        return NodeBoot(
            installation,
            self._secret,
            self._broker(bus.advertise or bus.host, own=False),
            fuse_ns=fuse,
            bundle_url=f"{api.advertise.rstrip('/')}/v1/node.pyz",
            bundle_sha256=sha256(bundle()),
            ca=ca.read_text(encoding="utf-8") if bus.ca else "",
            metadata=kind if kind in _METADATA else "",
        )
