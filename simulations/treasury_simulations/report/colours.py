"""One colour for each strategy, pool, provider, cost centre and cause, the same in every chart.

Colours are chosen in OKLCH, where equal steps look equal, at a lightness that reads on white
and on near-black alike (https://bottosson.github.io/posts/oklab/).
"""

import math
from collections.abc import Iterable, Mapping

from treasury_simulations.report.figures import BASELINE
from treasury_simulations.report.names import base_of

NEUTRAL = "#8792a2"
# Hues far apart, alternating in lightness, so that neighbours differ for colour-blind eyes too.
_STRATEGIES = (
    "#3573d9",
    "#e08a2c",
    "#14a08a",
    "#a457c6",
    "#c9483f",
    "#7ea32a",
    "#2aa5d0",
    "#d0609b",
)
_COST_CENTRES = (
    "#5a7fb8",
    "#d79b4e",
    "#5fa58c",
    "#b0739f",
    "#b8a13f",
    "#7c8f5a",
    "#8f7bc4",
    "#c47a6a",
)
CAUSE_COLOURS = {
    "useful": "#2f9e77",
    "premium": "#e0a030",
    "restart": "#5b9bd5",
    "lost_work": "#d1495b",
    "idle": "#9aa5b1",
    "unallocated": "#7d5ba6",
}
# Degrees kept free between two providers' hues.
_GAP = 24
# The first provider starts at blue.
_FIRST_HUE = 245
_LIGHTNESS = (0.62, 0.74, 0.52)
_CHROMA = 0.135


def strategy_colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour a run; the baseline is grey, since it is what the others are measured against."""
    colours: dict[str, str] = {}
    turn = 0
    for label in labels:
        if label == BASELINE:
            colours[label] = NEUTRAL
            continue
        colours[label] = _STRATEGIES[turn % len(_STRATEGIES)]
        turn += 1
    return colours


def cost_centre_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour a cost centre, by the order of the names."""
    ordered = sorted(set(names))
    return {name: _COST_CENTRES[i % len(_COST_CENTRES)] for i, name in enumerate(ordered)}


def pool_colours(providers: Mapping[str, str]) -> dict[str, str]:
    """A colour an offer, from offer -> provider.

    Each provider owns an arc of the colour circle as wide as the root of its number of pools, so
    that a provider is seen at a glance; inside it hue and lightness tell the pools apart.
    """
    arcs = _arcs(providers)
    colours: dict[str, str] = {}
    for provider, (start, width, bases) in arcs.items():
        for index, base in enumerate(bases):
            hue = start + width * (index + 0.5) / len(bases)
            shade = _oklch(_LIGHTNESS[index % len(_LIGHTNESS)], _CHROMA, hue)
            for offer, owner in providers.items():
                if owner == provider and base_of(offer) == base:
                    colours[offer] = shade
    return colours


def provider_colours(providers: Mapping[str, str]) -> dict[str, str]:
    """A colour a provider, from offer -> provider: the middle of its pools' hues."""
    return {
        provider: _oklch(_LIGHTNESS[0], _CHROMA, start + width / 2)
        for provider, (start, width, _) in _arcs(providers).items()
    }


def _arcs(providers: Mapping[str, str]) -> dict[str, tuple[float, float, list[str]]]:
    """Provider -> (first hue, width, pools without tenure), in the providers' order."""
    bases: dict[str, list[str]] = {name: [] for name in sorted(set(providers.values()))}
    for offer in sorted(providers):
        base = base_of(offer)
        if base not in bases[providers[offer]]:
            bases[providers[offer]].append(base)
    weights = {name: math.sqrt(len(items)) for name, items in bases.items()}
    free = 360 - _GAP * len(bases) if len(bases) > 1 else 330
    arcs = {}
    hue = float(_FIRST_HUE)
    for name, items in bases.items():
        width = max(0.0, free) * weights[name] / sum(weights.values())
        # A lone pool sits at the middle of its arc; many share it evenly.
        arcs[name] = (hue, width, items)
        hue += width + _GAP
    return arcs


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """Hexadecimal sRGB of an OKLCH colour, clipped to what a screen can show."""
    a = chroma * math.cos(math.radians(hue))
    b = chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    channels = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{_gamma(channel):02x}" for channel in channels)


def _gamma(linear: float) -> int:
    clipped = min(1.0, max(0.0, linear))
    encoded = 12.92 * clipped if clipped <= 0.0031308 else 1.055 * clipped ** (1 / 2.4) - 0.055
    return round(255 * encoded)
