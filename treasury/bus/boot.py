"""What a fresh machine runs: a script for cloud-init that starts the node agent.

Only what is ours is in it, and that as base64: no character of a lease, a host name or a
certificate is ever read by a shell. Nothing of a job is in it. The node agent comes from the API,
and is run only when its SHA-256 is the one the script was written with.
"""

import base64
import sys
from collections.abc import Callable
from typing import Final

from treasury.bus.fields import encode
from treasury.bus.messages import BrokerAddress, NodeConfig
from treasury.bus.secrets import password
from treasury.domain.commands import Acquire
from treasury.domain.errors import BadValue

SIZE_MAX: Final = 8 * 1024
_CLOUD_HOME: Final = "/var/lib/treasury-node"

_UNIT: Final = """\
[Unit]
Description=treasury node agent
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/env python3 {home}/node.pyz {home}/config.json
Restart=on-failure
RestartSec=2
# The job outlives its agent; the machine's own shutdown still reaches it.
KillMode=process
TimeoutStopSec=300
[Install]
WantedBy=multi-user.target
"""

_CLOUD: Final = """\
#!/bin/sh
set -eu
umask 077
home={home}
mkdir -p "$home"
cd "$home"
put() {{ base64 -d > "$1.new" && mv "$1.new" "$1"; }}
echo {config} | put config.json
echo {ca} | put ca.pem
echo {url} | put url
right() {{ echo "{sha256}  node.pyz" | sha256sum -c - >/dev/null 2>&1; }}
tries=0
until right; do
  tries=$((tries + 1))
  [ "$tries" -le 60 ] || exit 1
  [ "$tries" -eq 1 ] || sleep 5
  rm -f node.pyz
  curl -fsS --max-time 60 -o node.pyz "$(cat url)" 2>/dev/null ||
    wget -q -T 60 -O node.pyz "$(cat url)" 2>/dev/null || true
done
if [ -d /run/systemd/system ]; then
  echo {unit} | put /etc/systemd/system/treasury-node.service
  systemctl daemon-reload
  systemctl enable --now treasury-node.service
else
  # Ends with the agent's own good end only; a killed one is started again.
  loop='until python3 node.pyz config.json; do sleep 2; done'
  nohup setsid sh -c "$loop" >/dev/null 2>&1 &
fi
"""

_LOCAL: Final = """\
#!/bin/sh
set -eu
umask 077
cd "$HOME"
put() {{ base64 -d > "$1.new" && mv "$1.new" "$1"; }}
echo {config} | put node.json
echo {python} | put python
until "$(cat python)" -m treasury.node node.json; do sleep 1; done
"""


def _packed(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(data).decode() or "''"


class NodeBoot:
    """`ports.Boot` of the machines of one provider."""

    def __init__(
        self,
        installation: str,
        secret: bytes,
        broker: BrokerAddress,
        *,
        fuse_ns: int,
        bundle_url: str,
        bundle_sha256: str,
        ca: str = "",
        metadata: str = "",
    ) -> None:
        """secret: the installation's. fuse_ns: how long a machine that never hears us may live.
        bundle_url: of the node agent's file at the API. ca: the broker's certificates in PEM, empty
        for the system's own. metadata: the market whose notices are watched for."""
        if not all(c in "0123456789abcdef" for c in bundle_sha256) or len(bundle_sha256) != 64:
            raise BadValue("bundle_sha256", bundle_sha256, "64 lower-case hexadecimal digits")
        self._installation, self._secret, self._broker = installation, secret, broker
        self._fuse_ns, self._url, self._sha256 = fuse_ns, bundle_url, bundle_sha256
        self._ca, self._metadata = ca, metadata

    def __call__(self, request: Acquire, index: int) -> str:
        """The script of one machine of a request. Raises BadValue when it would be too large for
        the markets."""
        lease = request.leases[index]
        broker = self._broker
        if self._ca:
            broker = BrokerAddress(broker.host, broker.port, broker.tls, "ca.pem")
        config = NodeConfig(
            installation=self._installation,
            lease=lease,
            password=password(self._secret, str(lease)),
            broker=broker,
            state="state",
            fuse_ns=self._fuse_ns,
            metadata=self._metadata,
            poweroff_command=("systemctl", "poweroff"),
        )
        script = _CLOUD.format(
            home=_CLOUD_HOME,
            config=_packed(encode(config)),
            ca=_packed(self._ca),
            url=_packed(self._url),
            sha256=self._sha256,
            unit=_packed(_UNIT.format(home=_CLOUD_HOME)),
        )
        if len(script) > SIZE_MAX:
            raise BadValue("boot script", f"{len(script)} bytes", f"at most {SIZE_MAX} bytes")
        return script


def local_boot(
    installation: str,
    secret: bytes,
    broker: BrokerAddress,
    *,
    fuse_ns: int,
    notice_file: str = "",
    heartbeat_ns: int = 1_000_000_000,
    checkpoint_every_ns: int = 5_000_000_000,
) -> Callable[[Acquire, int], str]:
    """`ports.Boot` of machines that are slots on this host: this Python, this code, no power to
    switch off. Everything is kept in the machine's HOME, which relative paths begin at."""

    def boot(request: Acquire, index: int) -> str:
        lease = request.leases[index]
        config = NodeConfig(
            installation=installation,
            lease=lease,
            password=password(secret, str(lease)),
            broker=broker,
            state="node",
            fuse_ns=fuse_ns,
            notice_file=notice_file,
            heartbeat_ns=heartbeat_ns,
            checkpoint_every_ns=checkpoint_every_ns,
        )
        return _LOCAL.format(config=_packed(encode(config)), python=_packed(sys.executable))

    return boot
