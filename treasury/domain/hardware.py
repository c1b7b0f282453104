"""Machines: shapes, and the accelerators we know by name."""

import re
from typing import Final

import msgspec


class Shape(msgspec.Struct, frozen=True, gc=False):
    """One machine: `gpus` accelerators of one model.

    `gpu_memory_gib` is per accelerator, 0 where unknown; `instance` is the vendor's own name.
    """

    gpu: str
    gpus: int
    gpu_memory_gib: int = 0
    instance: str = ""


class Accelerator(msgspec.Struct, frozen=True, gc=False):
    """A model of accelerator as its maker describes it.

    memory_gib: of one. compute: CUDA compute capability, empty elsewhere. tflops: dense BF16, or
    FP16 on those that have no BF16; rough, for orders of magnitude only.
    """

    name: str
    vendor: str
    variant: str
    memory_gib: int
    compute: str
    tflops: int


# Raised with each change of the table below: a model that is added was `unknown:` before.
ACCELERATORS_VERSION: Final = 2

# Only models whose plain name says enough; makers' data sheets.
_ACCELERATORS: Final = (
    Accelerator("A10", "nvidia", "PCIe", 24, "8.6", 125),
    Accelerator("A10G", "nvidia", "PCIe", 24, "8.6", 70),
    Accelerator("A100-40GB", "nvidia", "SXM", 40, "8.0", 312),
    Accelerator("A100-80GB", "nvidia", "SXM", 80, "8.0", 312),
    Accelerator("B200", "nvidia", "SXM", 180, "10.0", 2250),
    Accelerator("B300", "nvidia", "SXM", 268, "10.3", 2250),
    Accelerator("GB200", "nvidia", "superchip", 186, "10.0", 2500),
    Accelerator("GH200", "nvidia", "superchip", 96, "9.0", 989),
    Accelerator("H100", "nvidia", "SXM", 80, "9.0", 989),
    Accelerator("H100-NVL", "nvidia", "NVL", 94, "9.0", 835),
    Accelerator("H200", "nvidia", "SXM", 141, "9.0", 989),
    Accelerator("K80", "nvidia", "PCIe", 12, "3.7", 0),
    Accelerator("L4", "nvidia", "PCIe", 24, "8.9", 121),
    Accelerator("L40S", "nvidia", "PCIe", 48, "8.9", 362),
    Accelerator("M60", "nvidia", "PCIe", 8, "5.2", 0),
    Accelerator("MI300X", "amd", "OAM", 192, "", 1307),
    Accelerator("P100", "nvidia", "SXM", 16, "6.0", 21),
    Accelerator("P4", "nvidia", "PCIe", 8, "6.1", 0),
    Accelerator("RTX-PRO-6000", "nvidia", "PCIe", 96, "12.0", 500),
    Accelerator("T4", "nvidia", "PCIe", 16, "7.5", 65),
    Accelerator("T4G", "nvidia", "PCIe", 16, "7.5", 65),
    Accelerator("V100", "nvidia", "SXM", 16, "7.0", 125),
    Accelerator("V100-32GB", "nvidia", "SXM", 32, "7.0", 125),
)
_KNOWN: Final = {accelerator.name: accelerator for accelerator in _ACCELERATORS}
_ALIASES: Final = {
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


def accelerator(gpu: str) -> Accelerator | None:
    """What we know of a model by our name for it."""
    return _KNOWN.get(gpu)


def gpu_memory_gib(gpu: str) -> int:
    """Memory of one accelerator [GiB]; 0 where unknown."""
    known = _KNOWN.get(gpu)
    return 0 if known is None else known.memory_gib
