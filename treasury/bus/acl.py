"""Who may say and hear what, for the embedded broker and as files for Mosquitto.

control  everything of its installation
viewer   prices, events and status, to read
N        the lease's own channels: orders, acknowledgements and secrets to read, reports and log
         to write; nobody commands another's machine, or reads its secrets
"""

from collections.abc import Iterable

from treasury.bus.secrets import CONTROL, VIEWER, mosquitto_hash
from treasury.bus.topics import FROM_CONTROL, FROM_NODE, Topics


def allowed(topics: Topics, account: str, topic: str, *, write: bool) -> bool:
    """Whether an account may publish to a topic, or subscribe to that very filter."""
    if account == CONTROL:
        return topic == f"{topics.root}/#" or topic.startswith(f"{topics.root}/")
    if account == VIEWER:
        readable = (topics.events, topics.status, f"{topics.root}/prices/#")
        return not write and (topic in readable or topic.startswith(f"{topics.root}/prices/"))
    if not (account.isascii() and account.isdigit()):
        return False
    channels = FROM_NODE if write else FROM_CONTROL
    return topic in {f"{topics.root}/node/{account}/{channel}" for channel in channels}


def mosquitto_acl(topics: Topics) -> str:
    """Mosquitto's `acl_file`. Machines need no line of their own: `%u` is the lease's number."""
    lines = [
        f"user {CONTROL}",
        f"topic readwrite {topics.root}/#",
        "",
        f"user {VIEWER}",
        f"topic read {topics.root}/prices/#",
        f"topic read {topics.events}",
        f"topic read {topics.status}",
        "",
    ]
    lines += [f"pattern write {topics.root}/node/%u/{channel}" for channel in FROM_NODE]
    lines += [f"pattern read {topics.root}/node/%u/{channel}" for channel in FROM_CONTROL]
    return "\n".join(lines) + "\n"


def mosquitto_passwords(secret: bytes, leases: Iterable[int]) -> str:
    """Mosquitto's `password_file`: control, viewer, and the accounts of these leases, which need
    not exist yet."""
    accounts = [CONTROL, VIEWER, *map(str, leases)]
    return "".join(f"{mosquitto_hash(secret, account)}\n" for account in accounts)


def mosquitto_config(acl_file: str, password_file: str) -> str:
    """What the bus relies on in `mosquitto.conf`; listeners and TLS are the operator's."""
    return f"""\
per_listener_settings false
allow_anonymous false
acl_file {acl_file}
password_file {password_file}
# A broker that is killed loses what it has not written down: retained orders are republished.
persistence true
autosave_on_changes true
autosave_interval 1000
message_size_limit 65536
max_queued_messages 10000
max_inflight_messages 100
"""
