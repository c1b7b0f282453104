"""EC2's query protocol: what is asked, and answers as the real SDK reads them."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.counterparts.cloud import Machine
from treasury.domain.time import to_datetime

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_CODES = {"running": 16, "terminated": 48}
_REASONS = {
    "user": ("Client.UserInitiatedShutdown", "User initiated"),
    "interrupted": ("Server.SpotInstanceTermination", "Service initiated"),
}


def parse_form(body: bytes) -> dict[str, str]:
    """A form as parameters, `Filter.1.Value.1` and the like."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def items(parameters: Mapping[str, str], prefix: str) -> list[str]:
    """`prefix.1`, `prefix.2` ... in order."""
    found: list[str] = []
    while (value := parameters.get(f"{prefix}.{len(found) + 1}")) is not None:
        found.append(value)
    return found


def filters(parameters: Mapping[str, str]) -> dict[str, list[str]]:
    """`Filter.N.Name` -> its values."""
    found = {}
    number = 1
    while (name := parameters.get(f"Filter.{number}.Name")) is not None:
        found[name] = items(parameters, f"Filter.{number}.Value")
        number += 1
    return found


def tags(parameters: Mapping[str, str], kind: str) -> dict[str, str]:
    """The tags a request gives to one kind of resource."""
    number = 1
    while (found := parameters.get(f"TagSpecification.{number}.ResourceType")) is not None:
        if found == kind:
            prefix = f"TagSpecification.{number}.Tag"
            given: dict[str, str] = {}
            while (key := parameters.get(f"{prefix}.{len(given) + 1}.Key")) is not None:
                given[key] = parameters.get(f"{prefix}.{len(given) + 1}.Value", "")
            return given
        number += 1
    return {}


def element(name: str, value: object) -> str:
    """`<name>value</name>`, escaped."""
    return f"<{name}>{escape(str(value))}</{name}>"


def wrap(action: str, inner: str) -> bytes:
    """A response document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>req-1</requestId>{inner}</{action}Response>"
    ).encode()


def error(code: str, message: str) -> bytes:
    """An error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error>'
        f"{element('Code', code)}{element('Message', message)}</Error></Errors>"
        "<RequestID>req-1</RequestID></Response>"
    ).encode()


def iso(at: int) -> str:
    """An instant [ns] as EC2 writes it."""
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def instance(machine: Machine, state: str, zone_name: str) -> str:
    """One instance of a reservation."""
    parts = [
        element("instanceId", machine.name),
        f"<instanceState>{element('code', _CODES[state])}{element('name', state)}</instanceState>",
        element("amiLaunchIndex", machine.body["index"]),
        element("instanceType", machine.offer.shape.instance),
        element("launchTime", iso(machine.granted_at)),
        f"<placement>{element('availabilityZone', zone_name)}</placement>",
        element("clientToken", machine.body["token"]),
    ]
    if machine.offer.tenure.value == "spot":
        parts.append(element("instanceLifecycle", "spot"))
    if state == "terminated":
        code, who = _REASONS[machine.cause]
        when = to_datetime(machine.ended_at or 0).strftime("%Y-%m-%d %H:%M:%S")
        parts.append(element("reason", f"{who} ({when} GMT)"))
        reason = f"{element('code', code)}{element('message', code)}"
        parts.append(f"<stateReason>{reason}</stateReason>")
    given = "".join(
        f"<item>{element('key', key)}{element('value', value)}</item>"
        for key, value in machine.tags.items()
    )
    return f"<item>{''.join(parts)}<tagSet>{given}</tagSet></item>"


def reservations(groups: Iterable[tuple[str, list[str]]]) -> str:
    """The reservation set: (reservation id, instances)."""
    inner = "".join(
        f"<item>{element('reservationId', group)}"
        f"<instancesSet>{''.join(found)}</instancesSet></item>"
        for group, found in groups
    )
    return f"<reservationSet>{inner}</reservationSet>"


def instances(machines: Iterable[str]) -> str:
    """The instance set of a new reservation."""
    return f"{element('reservationId', 'r-1')}<instancesSet>{''.join(machines)}</instancesSet>"
