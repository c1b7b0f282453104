"""What a program is started with: its places, its environment, its command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from treasury.bus.messages import PPM, Work
from treasury.node.files import read_small


@dataclass(frozen=True)
class Places:
    """Where one start of a program lives. checkpoint: None where the job keeps its own."""

    run: Path
    workdir: Path
    checkpoint: Path | None
    progress: Path
    tokens: Path


def places(state: Path, work: Work, start: int) -> Places:
    """The places of a placement's start number `start`, made where they are missing."""
    run = state / "runs" / f"{work.placement}-{start}"
    workdir = Path(work.task.workdir or state / "work" / str(work.placement))
    if not workdir.is_absolute():
        workdir = state / "work" / workdir
    checkpoint = workdir / work.task.checkpoint_dir if work.task.checkpoint_dir else None
    told = run / "told"
    for folder in (run, workdir, told, *([checkpoint] if checkpoint else [])):
        folder.mkdir(parents=True, exist_ok=True)
    return Places(run, workdir, checkpoint, told / "progress", told / "tokens")


def own_variables(work: Work, at: Places) -> dict[str, str]:
    """What treasury tells a program in its environment."""
    return {
        "TREASURY_JOB": work.job,
        "TREASURY_PLACEMENT": str(work.placement),
        "TREASURY_RANK": str(work.rank),
        "TREASURY_NODES": str(work.nodes),
        "TREASURY_PEERS": ",".join(work.peers),
        "TREASURY_WORK_DONE_PPM": str(work.work_done_ppm),
        "TREASURY_CHECKPOINT_DIR": str(at.checkpoint or ""),
        "TREASURY_PROGRESS": str(at.progress),
        "TREASURY_TOKENS": str(at.tokens),
    }


def environment(
    work: Work, at: Places, secrets: Mapping[str, str], base: Mapping[str, str]
) -> dict[str, str]:
    """The program's environment: the machine's, then the job's, its secrets, then ours."""
    return {**base, **work.task.env, **secrets, **own_variables(work, at)}


def argv(work: Work, at: Places, env: Mapping[str, str]) -> list[str]:
    """The program's command line: its own, or a container's around it.

    A container gets its variables by name: values on a command line are for everyone to read.
    """
    task = work.task
    if not task.image:
        return list(task.command)
    engine = next((e for e in ("docker", "podman") if shutil.which(e, path=env.get("PATH"))), "")
    command = [engine or "docker", "run", "--rm", "--init", "--network", "host"]
    command += ["--name", container(work, at)]
    if Path("/dev/nvidiactl").exists():
        command += ["--gpus", "all"]
    folders = {at.workdir, at.progress.parent, *([at.checkpoint] if at.checkpoint else [])}
    for folder in sorted(folders):
        command += ["--mount", f"type=bind,source={folder},target={folder}"]
    command += ["--workdir", str(at.workdir)]
    for name in sorted({*task.env, *task.secrets, *own_variables(work, at)}):
        command += ["--env", name]
    return [*command, task.image, *task.command]


def container(work: Work, at: Places) -> str:
    """The name of a start's container."""
    return f"treasury-{at.run.name}-{work.rank}"


def machine_environment() -> dict[str, str]:
    """The agent's own environment, without what only concerns the agent."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TREASURY_")}


def progress_ppm(path: Path) -> int | None:
    """Progress in ppm from a program's file: a whole number of ppm, or "step total".

    None where there is none, or what is there says nothing.
    """
    words = (read_small(path) or "").split()
    if not 1 <= len(words) <= 2 or not all(w.isdigit() and len(w) < 19 for w in words):
        return None
    numbers = [int(word) for word in words]
    if len(numbers) == 2:
        if numbers[1] == 0:
            return None
        numbers = [numbers[0] * PPM // numbers[1]]
    return min(PPM, numbers[0])


def token_count(path: Path) -> int | None:
    """Tokens a program has handled so far, by its file; None where it does not say."""
    text = read_small(path) or ""
    return int(text) if text.isdigit() and len(text) < 19 else None
