"""Public data sets that can be downloaded by name.

Only one of the checksums is known to us; the others are taken from the first download and pinned
there (trust on first use). Addresses name a commit, so the bytes behind them do not change.
"""

from typing import Final

import msgspec

from treasury_simulations.traces.importers.philly_jobs import PROVENANCE as PHILLY


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: address, local name, size [bytes] and sha256 (hex) where they are known."""

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A public data set. kind: the importer that reads its files, empty where none does."""

    name: str
    summary: str
    licence: str
    attribution: str
    kind: str
    files: tuple[RemoteFile, ...]


def _raw(repository: str, commit: str, path: str) -> str:
    return f"https://github.com/{repository}/raw/{commit}/{path}"


_PRIMEINTELLECT_FILES: Final = (
    "A100_80GB_PCIe",
    "A100_80GB_SXM4",
    "B200_180GB",
    "GH200_96GB",
    "H100_80GB_PCIe",
    "H100_80GB_SXM5",
    "H200_141GB",
)

_ALL: Final = (
    Dataset(
        name="cant-be-late",
        summary="spot availability of AWS zones, cut into windows",
        licence="MIT",
        attribution='SkyPilot team; Wu et al., "Can\'t Be Late", NSDI 2024',
        kind="",
        files=(
            RemoteFile(
                url=_raw(
                    "FrontierCS/Frontier-CS",
                    "4d508c19",
                    "research/problems/cant_be_late/common/real_traces.tar.gz",
                ),
                name="real_traces.tar.gz",
            ),
        ),
    ),
    Dataset(
        name="gavel-throughputs",
        summary="training speeds on K80, P100 and V100",
        licence="MIT",
        attribution="Narayanan et al., OSDI 2020",
        kind="gavel_throughputs",
        files=(
            RemoteFile(
                url=_raw(
                    "stanford-futuredata/gavel",
                    "c4fa400",
                    "scheduler/simulation_throughputs.json",
                ),
                name="simulation_throughputs.json",
            ),
        ),
    ),
    Dataset(
        name="parcae-p3",
        summary="size of a 32-machine AWS p3 spot fleet over 11 hours",
        licence="MIT",
        attribution='Duan et al., "Parcae", NSDI 2024',
        kind="spot_fleet_counts",
        files=(
            RemoteFile(
                url=_raw(
                    "JF-D/Parcae",
                    "7cb3059bd3c6034dac69d30b062e67e2578622e3",
                    "aws/traces/p3.csv",
                ),
                name="parcae_aws_p3_32.csv",
                size=3_883,
                sha256="fea8616b71606371cc139de4beecc2961f99d10d58632cfd5f038b9411dd8909",
            ),
        ),
    ),
    Dataset(
        name="philly-jobs",
        summary="82,000 GPU jobs of Microsoft's Philly clusters",
        licence=PHILLY.licence,
        attribution=PHILLY.attribution,
        kind="philly_jobs",
        files=(
            RemoteFile(
                url=_raw("siasosp23/artifacts", "aaf7a0d", "sia-simulator/traces/philly.csv"),
                name="philly.csv",
            ),
        ),
    ),
    Dataset(
        name="primeintellect-gpu-market",
        summary="offers of many GPU providers, half-hourly",
        licence="MIT",
        attribution="tugot17, from the Prime Intellect compute marketplace",
        kind="primeintellect_gpu_market",
        files=tuple(
            RemoteFile(
                url=_raw("tugot17/gpu-price-tracker", "718a831", f"data/summary/{name}.jsonl"),
                name=f"{name}.jsonl",
            )
            for name in _PRIMEINTELLECT_FILES
        ),
    ),
)

DATASETS: Final = {dataset.name: dataset for dataset in _ALL}
