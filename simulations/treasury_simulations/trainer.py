"""A trainer to try treasury with: `python -m treasury_simulations.trainer --steps 600`.

It trains nothing but keeps what a trainer keeps: a state that each step builds on the last one's,
and a checkpoint from which it goes on. The state is a chain of hashes, so that a step left out,
done twice or done on a stale state shows in the result, which is checked against the chain computed
anew. Asked to end by SIGTERM it writes a checkpoint first; killed, it has lost what it did since
the last one, and does that again. Standard library only.

    --checkpoint DIR    where its checkpoints live; default: what TREASURY_CHECKPOINT_DIR names
    --witness FILE      a file outside the machine to which each step is appended, for checks: what
                        `verify` reads
    --result FILE       where the finished run says what it came to
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

# The variable that names the file in which treasury reads how far a program is.
PROGRESS: Final = "TREASURY_PROGRESS"
# The variable that names the directory which treasury copies to where checkpoints are kept.
CHECKPOINTS: Final = "TREASURY_CHECKPOINT_DIR"
_CHECKPOINT: Final = "state.json"
# A seed, a file or an argument that cannot be gone on with.
_REFUSED: Final = 3


class BrokenChainError(Exception):
    """A state that no run of ours can have come to."""


@dataclass(frozen=True)
class Run:
    """A state. step: steps done; chain: hexadecimal; total: the sum of the numbers of all steps.
    starts: the step at which each start took up, of those that reached a checkpoint."""

    seed: str
    step: int
    chain: str
    total: int
    starts: tuple[int, ...] = ()

    def next(self) -> "Run":
        """The state one step on."""
        text = f"{self.chain}/{self.step}"
        chain = hashlib.sha256(text.encode()).hexdigest()
        return replace(self, step=self.step + 1, chain=chain, total=self.total + self.step)


def begin(seed: str) -> Run:
    """The state before the first step."""
    return Run(seed, 0, hashlib.sha256(seed.encode()).hexdigest(), 0)


def check(run: Run) -> None:
    """Compute a state anew from its seed. Raises BrokenChainError where it is another."""
    fresh = begin(run.seed)
    for _ in range(run.step):
        fresh = fresh.next()
    if run.chain != fresh.chain or run.total != run.step * (run.step - 1) // 2:
        raise BrokenChainError(
            f"step {run.step} of {run.seed!r}: each step once gives another state"
        )


def load(directory: Path, seed: str) -> Run:
    """The state of the last checkpoint, the first one where there is none. Raises
    BrokenChainError."""
    try:
        raw: dict[str, Any] = json.loads((directory / _CHECKPOINT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return begin(seed)
    except ValueError as error:
        raise BrokenChainError(f"{directory / _CHECKPOINT} is no checkpoint: {error}") from error
    run = Run(**{**raw, "starts": tuple(raw["starts"])})
    if run.seed != seed:
        raise BrokenChainError(f"the checkpoint in {directory} is of {run.seed!r}, not of {seed!r}")
    check(run)
    return run


def write(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file as a whole: whoever reads it, whenever we die, sees the old or the new one.
    durable: whenever the machine dies, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)


class Trainer:
    """One start of the program."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stop = threading.Event()
        progress = os.environ.get(PROGRESS)
        self._progress = Path(progress) if progress else None
        self._witness: Callable[[str, int], None] = lambda _what, _step: None
        if options.witness is not None:
            options.witness.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered and appended: each line is whole, whoever else writes, whenever we die.
            descriptor = os.open(options.witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            start = _identity()
            self._witness = lambda what, step: _append(descriptor, f"{start} {what} {step}\n")

    def run(self) -> int:
        """Go on from the last checkpoint to the end, or until asked to stop. Returns an exit code;
        asked to stop, it ends by the signal."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        options = self._options
        run = load(options.checkpoint, options.seed)
        _say(f"{options.seed}: from step {run.step} of {options.steps}")
        run = replace(run, starts=(*run.starts, run.step))
        self._witness("from", run.step)
        while run.step < options.steps and not self._stop.wait(options.step_seconds):
            self._witness("step", run.step)
            run = run.next()
            if run.step % options.every == 0:
                self._save(run)
        self._save(run)
        if run.step < options.steps:
            self._witness("stopped", run.step)
            _say(f"stopped at step {run.step}")
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        return self._finish(run)

    def _save(self, run: Run) -> None:
        # Said first: killed in between, the checkpoint is there and was announced.
        self._witness("saves", run.step)
        write(self._options.checkpoint / _CHECKPOINT, json.dumps(asdict(run)))
        if self._progress is not None:
            # Of what is kept: a machine that dies now takes the steps since with it.
            write(self._progress, f"{run.step} {self._options.steps}", durable=False)

    def _finish(self, run: Run) -> int:
        check(run)
        if self._options.result is not None:
            write(self._options.result, json.dumps(asdict(run)))
        self._witness("done", run.step)
        _say(f"done: {run.step} steps in {len(run.starts)} starts, {run.chain[:16]}")
        return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _append(descriptor: int, line: str) -> None:
    os.write(descriptor, line.encode())


def _identity() -> str:
    """A name for this start that no other has."""
    return Path("/proc/sys/kernel/random/uuid").read_text(encoding="ascii").strip()[:8]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns an exit code."""
    parser = argparse.ArgumentParser(
        prog="treasury_simulations.trainer", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seed", default="trainer", help="decides every state")
    parser.add_argument("--steps", type=_positive, default=600)
    parser.add_argument("--step-seconds", type=float, default=0.1)
    parser.add_argument("--every", type=_positive, default=50, help="steps between checkpoints")
    checkpoint = Path(os.environ.get(CHECKPOINTS) or "checkpoint")
    parser.add_argument("--checkpoint", type=Path, default=checkpoint)
    parser.add_argument("--witness", type=Path)
    parser.add_argument("--result", type=Path)
    try:
        return Trainer(parser.parse_args(arguments)).run()
    except BrokenChainError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED


if __name__ == "__main__":
    sys.exit(main())
