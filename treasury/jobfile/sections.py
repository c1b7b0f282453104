"""The keys of a job file; a field's annotation says how its text is read, its default is what a
missing key means. Where SkyPilot and dstack have a word for something, it is theirs."""

from typing import Any, Final

import msgspec

from treasury.config.units import Duration, Instant, Money, Positive, Rate, Span
from treasury.domain.market import Tenure
from treasury.domain.task import Task
from treasury.jobfile.units import (
    Alternatives,
    Command,
    Destination,
    Env,
    Gpus,
    Grace,
    JobName,
    Labels,
    Line,
    Lines,
    Memory,
    Retry,
    Run,
    Secrets,
    Spot,
    Tenures,
    Wish,
)

_TASK: Final = Task(command=())


class CheckpointSection(msgspec.Struct, frozen=True, kw_only=True):
    """`checkpoint`: what is kept when a machine is lost."""

    dir: Line = ""
    to: Destination = ""
    interval: Duration = 0
    hook: Command = ()


class ResourcesSection(msgspec.Struct, frozen=True, kw_only=True):
    """`resources`: machines that will do. Empty means any."""

    gpu: Gpus | None = None
    accelerators: Gpus | None = None
    any_of: Alternatives | None = None
    memory: Memory = 0
    exact: bool = False
    provider: Lines = ()
    region: Lines = ()
    spot: Spot | None = None
    tenure: Tenures | None = None


class JobSection(msgspec.Struct, frozen=True, kw_only=True):
    """A whole job file."""

    cost_centre: JobName
    name: JobName = ""
    id: JobName = ""
    gpu: Gpus | None = None
    resources: ResourcesSection = ResourcesSection()
    nodes: Positive = 1
    duration: Span = 0
    max_duration: Span = 0
    start_overhead: Duration = 0
    deadline: Instant | None = None
    priority: int = 0
    value: Money = 0
    max_price: Rate = 0
    interruptible: bool = True
    command: Command = ()
    run: Run = ()
    setup: Run = ()
    image: Line = ""
    workdir: Line = ""
    env: Env = {}
    secrets: Secrets = ()
    checkpoint: CheckpointSection = CheckpointSection()
    grace: Grace = _TASK.grace
    retry: Retry = 0
    labels: Labels = {}

    @property
    def wishes(self) -> dict[str, Wish]:
        """Where accelerators are asked for, by path."""
        asked = {
            "gpu": self.gpu,
            "resources.gpu": self.resources.gpu,
            "resources.accelerators": self.resources.accelerators,
            "resources.any_of": self.resources.any_of,
        }
        return {path: wish for path, wish in asked.items() if wish is not None}

    @property
    def tenures(self) -> tuple[Tenure, ...]:
        """Terms that will do."""
        return self.resources.tenure or self.resources.spot or ()


# Other words for our keys: of other tools, and of the other side of the Atlantic.
SYNONYMS: Final = {
    "": {
        "cost_center": "cost_centre",
        "num_nodes": "nodes",
        "envs": "env",
        "max_hourly_cost": "max_price",
        "image_id": "image",
        "spot_policy": "resources.spot",
        "regions": "resources.region",
        "backends": "resources.provider",
    },
    "resources": {
        "use_spot": "spot",
        "spot_policy": "spot",
        "cloud": "provider",
        "providers": "provider",
        "regions": "region",
        "tenures": "tenure",
        "gpu_memory": "memory",
    },
}


def in_our_words(table: dict[str, Any]) -> dict[str, Any]:
    """The table with synonyms under our names, where ours is not there as well."""
    renamed = _renamed(table, SYNONYMS[""])
    below = renamed.get("resources")
    if isinstance(below, dict):
        renamed["resources"] = _renamed(below, SYNONYMS["resources"])
    return renamed


def _renamed(table: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    moved: list[tuple[str, str, Any]] = []
    for key, value in table.items():
        ours = words.get(key, key)
        section, _, name = ours.rpartition(".")
        if section:
            moved.append((section, name, value))
        elif ours == key or ours not in table:
            found[ours] = value
        else:
            found[key] = value  # Both are there: reported as the unknown key it is.
    for section, name, value in moved:
        below = found.setdefault(section, {})
        if isinstance(below, dict):
            found[section] = {name: value, **below}
    return found
