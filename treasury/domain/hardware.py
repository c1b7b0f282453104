"""Machines: shapes and the names of accelerators."""

import re

import msgspec


class Shape(msgspec.Struct, frozen=True, gc=False):
    """One machine: `gpus` accelerators of one model.

    `gpu_memory_gib` is per accelerator, 0 where unknown; `instance` is the vendor's own name.
    """

    gpu: str
    gpus: int
    gpu_memory_gib: int = 0
    instance: str = ""


# Memory per accelerator [GiB], as the makers state it. Only models whose plain name says enough.
_KNOWN = {
    "A10": 24,
    "A10G": 24,
    "A100-40GB": 40,
    "A100-80GB": 80,
    "B200": 180,
    "GH200": 96,
    "H100": 80,
    "H200": 141,
    "K80": 12,
    "L4": 24,
    "P100": 16,
    "T4": 16,
    "V100": 16,
}
_ALIASES = {
    "A100": "A100-40GB",
    "A100-80G": "A100-80GB",
    "A100-40G": "A100-40GB",
    "B200-180GB": "B200",
    "GH200-96GB": "GH200",
    "H100-80GB": "H100",
    "H200-141GB": "H200",
    "TESLA-V100": "V100",
    "TESLA-K80": "K80",
    "TESLA-P100": "P100",
    "TESLA-T4": "T4",
}


def normalise_gpu(raw: str) -> str:
    """Our name for a vendor's accelerator name; a model we do not know is `unknown:<raw>`."""
    name = re.sub(r"[\s_]+", "-", raw.strip().upper().removeprefix("NVIDIA"))
    name = name.strip("-")
    name = _ALIASES.get(name, name)
    return name if name in _KNOWN else f"unknown:{raw.strip()}"


def known_gpus() -> tuple[str, ...]:
    """Every model we know by name."""
    return tuple(_KNOWN)


def gpu_memory_gib(gpu: str) -> int:
    """Memory of one accelerator [GiB]; 0 where unknown."""
    return _KNOWN.get(gpu, 0)
