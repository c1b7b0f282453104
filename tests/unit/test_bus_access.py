"""Passwords, access lists and what a fresh machine boots into."""

import base64
import hashlib
import json
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.brokers import SECRET
from treasury.bus.acl import allowed
from treasury.bus.boot import SIZE_MAX, NodeBoot, local_boot
from treasury.bus.fields import decode
from treasury.bus.messages import BrokerAddress, NodeConfig
from treasury.bus.secrets import (
    installation_secret,
    may_log_in,
    mosquitto_hash,
    password,
)
from treasury.bus.topics import CHANNELS, Topics
from treasury.domain.commands import Acquire
from treasury.domain.errors import BadValue, UserError
from treasury.domain.time import SECOND

TOPICS = Topics("prod")
ACQUIRE = Acquire("aws", "offer", 1, (41, 42), 10, "token")
SHA = hashlib.sha256(b"bundle").hexdigest()


def test_a_secret_is_made_once_and_kept_to_itself(tmp_path: Path) -> None:
    """Made with the dice given, readable by its owner alone, the same ever after."""
    path = tmp_path / "secret"
    secret = installation_secret(path, lambda size: b"\x07" * size)
    assert secret == b"\x07" * 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert installation_secret(path, lambda size: b"\x08" * size) == secret
    path.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        installation_secret(path, bytes)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(UserError, match="64 hex digits"):
        installation_secret(path, bytes)


def test_each_account_has_its_own_password() -> None:
    """Leases, control and viewer differ; only the right one logs in, unknown accounts never."""
    accounts = ["control", "viewer", *map(str, range(100))]
    words = {password(SECRET, account) for account in accounts}
    assert len(words) == len(accounts) and all(re.fullmatch("[0-9a-f]{32}", w) for w in words)
    for account in accounts[:5]:
        assert may_log_in(SECRET, account, password(SECRET, account))
        assert not may_log_in(SECRET, account, password(SECRET, "7"))
        assert not may_log_in(bytes(32), account, password(SECRET, account))
    for account in ("", "root", "-1", "\u0661", "1 ", "control\0"):
        for word in ("", password(SECRET, "viewer"), password(SECRET, "control"), "ä"):
            assert not may_log_in(SECRET, account, word)


def test_mosquitto_gets_a_hash_and_no_password() -> None:
    """The line is what Mosquitto computes itself: PBKDF2-SHA512 over the salt it names."""
    account, _, rest = mosquitto_hash(SECRET, "7").partition(":")
    _, kind, rounds, salt, key = rest.split("$")
    word = password(SECRET, "7")
    made = hashlib.pbkdf2_hmac("sha512", word.encode(), base64.b64decode(salt), int(rounds))
    assert (account, kind) == ("7", "7") and base64.b64decode(key) == made
    assert word not in rest


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(CHANNELS), st.booleans())
def test_a_machine_touches_its_own_channels_only(
    mine: int, other: int, channel: str, write: bool
) -> None:
    """One's own, in the right direction; nobody else's in any."""
    own = channel in ("report", "log") if write else channel in ("order", "ack", "secret")
    assert allowed(TOPICS, str(mine), TOPICS.node(mine, channel), write=write) == own
    if other != mine:
        assert not allowed(TOPICS, str(mine), TOPICS.node(other, channel), write=write)
    elsewhere = Topics("test").node(mine, channel)
    assert not allowed(TOPICS, str(mine), elsewhere, write=write)
    assert not allowed(TOPICS, "control", elsewhere, write=write)


@given(st.text(max_size=30), st.text(max_size=60), st.booleans())
def test_strangers_touch_nothing(account: str, topic: str, write: bool) -> None:
    """No account but a known one may do anything, and wildcards are for control and viewer."""
    if account not in ("control", "viewer"):
        assert not allowed(TOPICS, account, f"{TOPICS.root}/{topic}/#", write=write)
        assert not allowed(TOPICS, account, topic, write=write)


# --- boot -----------------------------------------------------------------------------------------


def boot(**fields: object) -> NodeBoot:
    """The boot of a cloud's machines."""
    given = {
        "broker": BrokerAddress("bus.example.org", 8883, tls=True),
        "fuse_ns": 600 * SECOND,
        "bundle_url": "https://api.example.org/v1/node.pyz",
        "bundle_sha256": SHA,
        "ca": "-----BEGIN CERTIFICATE-----\n" + "A" * 2_000,
        "metadata": "aws",
        **fields,
    }
    return NodeBoot("prod", SECRET, **given)


def written(script: str, name: str) -> bytes:
    """What a script writes into a file."""
    match = re.search(rf"^ *echo (\S+) \| put {re.escape(name)}$", script, re.MULTILINE)
    assert match is not None
    return base64.b64decode(shlex.split(match[1])[0] if match[1] != "''" else "")


def test_a_machine_boots_with_its_own_lease_and_password() -> None:
    """Each machine of a request gets its lease; the script is small and is a script."""
    script = boot()(ACQUIRE, 1)
    assert script.startswith("#!/bin/sh\n") and len(script) <= SIZE_MAX
    config = decode(NodeConfig, written(script, "config.json"))
    assert (config.lease, config.password) == (42, password(SECRET, "42"))
    assert (config.broker.ca, config.metadata) == ("ca.pem", "aws")
    assert SHA in script and SECRET.hex() not in script
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "evil", ["$(touch /x)", "`id`", "'; rm -rf / #", '"\n', "#include", "## template: jinja"]
)
def test_nothing_in_a_script_is_read_by_a_shell(evil: str) -> None:
    """Host names, addresses and certificates travel as base64, whatever is in them."""
    script = boot(broker=BrokerAddress(evil), ca=evil, bundle_url=evil)(ACQUIRE, 0)
    plain = boot(broker=BrokerAddress("a"), ca="a", bundle_url="a")(ACQUIRE, 0)
    blob = re.compile(r"echo \S+ \|")
    assert blob.sub("", script) == blob.sub("", plain)
    assert written(script, "url").decode() == evil
    assert decode(NodeConfig, written(script, "config.json")).broker.host == evil
    with pytest.raises(BadValue, match="hexadecimal"):
        boot(bundle_sha256=evil)


def test_a_script_that_markets_would_refuse_is_refused_here() -> None:
    """Too large a certificate is found before anything is paid for."""
    with pytest.raises(BadValue, match="at most 8192 bytes"):
        boot(ca="A" * 9_000)(ACQUIRE, 0)


def test_a_local_machine_starts_this_very_code(tmp_path: Path) -> None:
    """The script of a slot on this host writes the config into HOME and runs this Python."""
    make = local_boot("prod", SECRET, BrokerAddress("127.0.0.1"), fuse_ns=60 * SECOND)
    script = make(ACQUIRE, 0)
    assert len(script) <= SIZE_MAX
    # A Python that ends well at once: the loop around it ends, too.
    script = script.replace(f"echo {written_raw(script, 'python')}", "echo dHJ1ZQ==")
    subprocess.run(
        ["sh", "-c", script], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True
    )
    config = json.loads((tmp_path / "node.json").read_text())
    assert config["lease"] == 41
    assert stat.S_IMODE((tmp_path / "node.json").stat().st_mode) == 0o600


def written_raw(script: str, name: str) -> str:
    """The base64 a script writes into a file."""
    match = re.search(rf"^echo (\S+) \| put {name}$", script, re.MULTILINE)
    assert match is not None
    return match[1]
