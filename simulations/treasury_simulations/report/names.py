"""Names fit for a picture: short pools, and text no chart takes for mathematics."""

import re

from treasury.domain.market import Tenure

_TENURES = frozenset(tenure.value for tenure in Tenure)
# The first half of each delimiter: $$ \( \[
_TEX = re.compile(r"\$(?=\$)|\\(?=[(\[])")
TENURE_TITLES = {
    Tenure.SPOT.value: "spot",
    Tenure.ON_DEMAND.value: "on demand",
    Tenure.RESERVED.value: "reserved",
    Tenure.OWNED.value: "owned",
    "": "",
}


def tenure_of(offer: str) -> str:
    """The tenure at the end of an offer's identifier; empty where it names none."""
    last = offer.rpartition("/")[2]
    return last if last in _TENURES else ""


def base_of(offer: str) -> str:
    """The offer without its tenure: spot and on-demand machines of one kind share a colour."""
    tenure = tenure_of(offer)
    return offer[: -len(tenure) - 1] if tenure else offer


def short_offer(offer: str) -> str:
    """Instance and place of an offer, such as `"p3.2xlarge us-east-1a"`: what a legend has room for
    beside the provider and the tenure."""
    parts = base_of(offer).split("/")
    if len(parts) < 2:
        return offer
    instance = parts[-1]
    place = parts[-2] if len(parts) > 2 else ""
    return f"{instance} {place}".strip()


def clip(text: str, length: int) -> str:
    """At most `length` characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def plain(text: str) -> str:
    """Text for the canvas. Between TeX delimiters the plotting library would fetch a typesetter
    from the network, and names are the user's: a zero-width space takes the delimiters apart."""
    return _TEX.sub("\\g<0>\u200b", text)
