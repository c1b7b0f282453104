"""Saving and restoring what a program has done: hook, directory, store."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from treasury.bus.messages import Work
from treasury.node.checkpoint import CheckpointStore, Saved, TornError, files_in
from treasury.node.job import Places
from treasury.node.remotes import Remote, RemoteError

# What saving and restoring raise, each time with a message for people.
SAVING_ERRORS = (TornError, RemoteError, OSError)
HOOK_MAX_S = 600.0


class Keeper:
    """The checkpoints of one start of a program. Its methods raise SAVING_ERRORS."""

    def __init__(
        self,
        work: Work,
        places: Places,
        env: Mapping[str, str],
        reach: Callable[[str, dict[str, str]], Remote],
        pressed: Callable[[], bool],
    ) -> None:
        """reach: makes the remote of a URL. pressed: whether to give up what takes long."""
        self._work, self._places = work, places
        self._env, self._reach, self._pressed = dict(env), reach, pressed
        self._store: CheckpointStore | None = None

    def restore(self) -> Saved | None:
        """Bring back the newest checkpoint; None where there is none, or the job keeps its own."""
        store, directory = self._checkpoints(), self._places.checkpoint
        return None if store is None or directory is None else store.restore(directory)

    def changed_at(self) -> int | None:
        """When [ns UTC] the directory's newest file was written; None where there is none."""
        directory = self._places.checkpoint
        if directory is None:
            return None
        return max((path.stat().st_mtime_ns for path in files_in(directory)), default=None)

    def save(self, saved: Saved) -> None:
        """Copy the directory, where there is one to copy."""
        store, directory = self._checkpoints(), self._places.checkpoint
        if store is not None and directory is not None:
            store.save(directory, saved)

    def _checkpoints(self) -> CheckpointStore | None:
        task, directory = self._work.task, self._places.checkpoint
        if not task.checkpoint_to or directory is None:
            return None
        if self._store is None:
            self._store = CheckpointStore(
                self._reach(task.checkpoint_to, self._env),
                self._work.job,
                self._work.rank,
                self._work.placement,
                # Beside the directory: what was fetched is renamed into its place.
                directory.with_name(f".{directory.name}.treasury"),
                self._pressed,
            )
        return self._store

    def hook(self, log: Path, most_s: float) -> None:
        """Run the hook, if there is one, for at most `most_s` seconds."""
        hook = self._work.task.checkpoint_hook
        if not hook:
            return
        try:
            with log.open("ab") as output:
                run = subprocess.run(  # noqa: S603 - the job's own program
                    list(hook),
                    env=self._env,
                    cwd=self._places.workdir,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=most_s,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise TornError(f"checkpoint_hook took longer than {most_s:.0f} s") from error
        if run.returncode:
            raise TornError(f"checkpoint_hook ended with {run.returncode}")
