"""How busy the machine is: its accelerators where there are any, its processors elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess

_PPM = 1_000_000


def utilisation_ppm() -> int | None:
    """Mean utilisation now, in ppm; None where the machine does not say."""
    tool = shutil.which("nvidia-smi")
    if tool:
        command = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            run = subprocess.run(  # noqa: S603 - a fixed command
                command, capture_output=True, text=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        values = [int(word) for word in run.stdout.split() if word.isdigit()]
        return min(_PPM, sum(values) * 10_000 // len(values)) if values else None
    try:
        load = os.getloadavg()[0]
    except OSError:
        return None
    return min(_PPM, int(load * _PPM) // (os.cpu_count() or 1))
