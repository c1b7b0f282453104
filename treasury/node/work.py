"""One placement's work on this machine, from restoring its checkpoint to its last report.

A thread of its own does everything that takes time, so that the agent keeps hearing and reporting.
Each state is written to disk after it was reported: an agent that is killed in between reports it
twice, which is harmless; the other way round it would be lost.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from treasury.bus.fields import MessageError, build, plain
from treasury.bus.messages import PPM, Work
from treasury.node import job
from treasury.node.checkpoint import Saved
from treasury.node.clock import NodeClock
from treasury.node.files import read_json, write_json
from treasury.node.program import Program
from treasury.node.remotes import Remote, remote
from treasury.node.saving import HOOK_MAX_S, SAVING_ERRORS, Keeper

SECOND = 1_000_000_000
_POLL_S = 0.1
# How long a last save is tried again when nothing presses: an outage of the store is often short.
_LAST_SAVE_NS = 300 * SECOND
_RETRY_S = 3.0
FINAL = ("stopped", "ended")


@dataclass(frozen=True)
class View:
    """How the work stands; see `Report` for the fields."""

    placement: int
    rank: int
    phase: str
    base_ppm: int
    started: int = 0
    start: int = 0
    elapsed_ns: int = 0
    earlier_ns: int = 0
    progress_ppm: int | None = None
    saved_ns: int | None = None
    reason: str = ""
    error: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What a work needs of its agent. boot: names this start of the machine. tell: reports a kind;
    durable when it returns."""

    state: Path
    boot: str
    clock: NodeClock
    tell: Callable[[str, View], None]
    checkpoint_every_ns: int
    log_bytes: int
    remote: Callable[[str, dict[str, str]], Remote] = remote


class Running:
    """The work of one placement, once started or adopted."""

    def __init__(self, around: Surroundings, work: Work, view: View) -> None:
        self.work, self._around, self._view = work, around, view
        self._every = work.task.checkpoint_every_ns or around.checkpoint_every_ns
        # Set by the agent's thread; everything else of the view by the work's own.
        self._reason = view.reason
        self._places = job.places(around.state, work, view.start)
        self._program = Program(self._places.run, around.log_bytes)
        self.log = self._program.log
        self._env: dict[str, str] = {}
        self._keeper = self._new_keeper()
        self._stop = threading.Event()
        # Until when [ns of the forward clock] the machine is there; None: nothing presses.
        self._until: int | None = None
        self._killed = threading.Event()
        self._saved_text: int | None = None
        self._changed_at: int | None = None
        self._saved_at = around.clock.boot()
        self._thread: threading.Thread | None = None

    # --- what the agent calls ---------------------------------------------------------------------

    @classmethod
    def fresh(cls, around: Surroundings, work: Work, start: int) -> Running:
        """Work that has not been started; `start` counts this machine's starts."""
        return cls(around, work, View(work.placement, work.rank, "starting", 0, start=start))

    @classmethod
    def kept(cls, around: Surroundings) -> Running | None:
        """The work of an agent that was here before; None where it had none to speak of, or the
        machine has been started anew since."""
        known = read_json(around.state / "work.json")
        if not isinstance(known, dict) or known.get("boot") != around.boot:
            return None
        try:
            return cls(around, build(Work, known["work"]), View(**known["view"]))
        except (MessageError, KeyError, TypeError):
            return None

    def begin(self, secrets: Mapping[str, str]) -> None:
        """Restore and start, then follow."""
        work, at = self.work, self._places
        self._env = job.environment(work, at, secrets, job.machine_environment())
        self._keeper = self._new_keeper()
        self._run(self._start_and_follow)

    def adopt(self) -> None:
        """Go on with what an earlier agent started."""
        if self._view.phase in FINAL:
            return
        self._env = self._program.environment() or job.machine_environment()
        self._keeper = self._new_keeper()
        self._run(self._follow_adopted)

    def stop(self, reason: str, until: int | None = None) -> None:
        """Have it checkpointed and stopped; `until`: when [ns] the machine is taken."""
        if until is not None:
            self._until = until if self._until is None else min(self._until, until)
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()

    def save_soon(self) -> None:
        """Make the next checkpoint now, if the program has anything new."""
        self._saved_at -= self._every

    def kill(self) -> None:
        """End it now: nothing can be waited for any more."""
        self._killed.set()
        self._stop.set()
        self._kill_program()

    def view(self) -> View:
        """How it stands now."""
        view = replace(self._view, reason=self._reason)
        if view.phase in ("running", "stopping") and view.started:
            view = replace(view, elapsed_ns=max(0, self._around.clock.boot() - view.started))
        return view

    def tokens(self) -> int | None:
        """What the program says it has handled."""
        return job.token_count(self._places.tokens)

    def done(self) -> bool:
        """Whether nothing runs any more and all has been reported."""
        return self._view.phase in FINAL

    def join(self, timeout: float) -> None:
        """Wait for its thread."""
        if self._thread is not None:
            self._thread.join(timeout)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self, target: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._guarded, args=(target,), daemon=True)
        self._thread.start()

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception as error:  # noqa: BLE001 - whatever it is, the control must hear of it
            self._kill_program()
            self._finish("ended", error=f"the node agent failed: {error!r}")

    def _change(self, **fields: Any) -> None:
        self._view = replace(self._view, **fields)
        record = {
            "boot": self._around.boot,
            "work": plain(self.work),
            "view": vars(replace(self._view, reason=self._reason)),
        }
        write_json(self._around.state / "work.json", record)

    def _tell(self, kind: str, **fields: Any) -> None:
        """Report a state, then remember it."""
        view = replace(self.view(), **fields)
        self._around.tell(kind, view)
        self._view = view
        self._change()

    def _start_and_follow(self) -> None:
        self._change()
        try:
            self._restore()
        except SAVING_ERRORS as error:
            if self._stop.is_set():
                self._finish("stopped")
            else:
                self._finish("ended", error=f"checkpoint could not be restored: {error}")
            return
        if self._stop.is_set():
            self._finish("stopped")
            return
        command = job.argv(self.work, self._places, self._env)
        if not command:
            self._finish("ended", error="the command is empty")
            return
        try:
            self._program.start(command, self._env, self._places.workdir)
        except (OSError, ValueError) as error:
            self._finish("ended", error=f"could not be started: {error}")
            return
        self._tell("began", phase="running", started=self._around.clock.boot())
        self._follow()

    def _follow_adopted(self) -> None:
        if self._view.phase == "starting":
            if not self._program.alive() and self._program.pid() is None:
                # The last agent was killed before it started anything: as if nothing had been.
                self._view = replace(self._view, phase="gone")
                return
            self._tell("began", phase="running", started=self._around.clock.boot())
        if self._view.phase == "stopping":
            self._stop.set()
        self._follow()

    def _follow(self) -> None:
        while not self._stop.wait(_POLL_S):
            how = self._program.ended()
            if how is not None:
                self._conclude(how)
                return
            if self._overdue():
                self._end_program(self._grace())
                self._finish("ended", error="ran longer than max_duration")
                return
            self._save_now_and_then()
        self._stop_program()

    def _overdue(self) -> bool:
        most = self.work.task.max_duration_ns
        view = self.view()
        return bool(most) and view.earlier_ns + view.elapsed_ns > most

    # --- checkpoints ------------------------------------------------------------------------------

    def _new_keeper(self) -> Keeper:
        reach = self._around.remote
        return Keeper(self.work, self._places, self._env, reach, self._pressed)

    def _pressed(self) -> bool:
        """Whether what takes long should be given up: the end is near, or a stop has come while
        the program still runs."""
        return self._killed.is_set() or (self._stop.is_set() and self._view.phase != "stopping")

    def _restore(self) -> None:
        base, earlier = self.work.work_done_ppm, 0
        saved = self._keeper.restore()
        if saved is not None:
            earlier = saved.elapsed_ns
            base = base if saved.progress_ppm is None else saved.progress_ppm
        self._change(base_ppm=base, earlier_ns=earlier)
        self.work = replace(self.work, work_done_ppm=base)
        self._env["TREASURY_WORK_DONE_PPM"] = str(base)
        self._changed_at = self._keeper.changed_at()

    def _save_now_and_then(self) -> None:
        """A checkpoint while the program runs: when it says that it got on, at most so often."""
        now = self._around.clock.boot()
        if now - self._saved_at < self._every:
            return
        progress = job.progress_ppm(self._places.progress)
        if progress is None and not self.work.task.checkpoint_to:
            return
        if progress is not None and progress == self._saved_text:
            return
        self._saved_at = now
        try:
            new = self._save(progress)
        except SAVING_ERRORS as error:
            if not self._stop.is_set():
                self._change(error=f"checkpoint could not be saved: {error}"[:2_000])
            return
        if new:
            self._tell("saved", error="")

    def _save(self, progress: int | None) -> bool:
        """Run the hook, copy the directory; whether there was anything new. progress was read
        before, so that what is saved is at least that far; where a program does not tell, it is as
        far as it was when it last wrote. Raises SAVING_ERRORS."""
        elapsed = self.view().elapsed_ns
        left = HOOK_MAX_S
        if self._until is not None:
            left = max(1.0, (self._until - self._around.clock.boot()) / SECOND)
        self._keeper.hook(self.log, left)
        durable, changed = elapsed, self._keeper.changed_at()
        if progress is None and self._places.checkpoint is not None:
            if changed is None or changed == self._changed_at:
                return False
            durable = max(0, elapsed - max(0, self._around.clock.wall() - changed))
        self._keeper.save(Saved(progress, self._view.earlier_ns + elapsed))
        self._saved_text, self._changed_at = progress, changed
        self._view = replace(
            self._view,
            saved_ns=durable,
            progress_ppm=self._view.progress_ppm if progress is None else progress,
        )
        return True

    # --- the end ----------------------------------------------------------------------------------

    def _conclude(self, how: str) -> None:
        """The program came to its own end: what it leaves is its result."""
        self._view = self.view()
        if self._program.told() and job.progress_ppm(self._places.progress) != PPM:
            # The machine is being shut down, and told everyone on it at once.
            self._reason = self._reason or "shutdown"
            self._view = replace(self._view, phase="stopping")
            self._finish("stopped", error=self._save_last())
            return
        if how:
            self._finish("ended", error=how)
            return
        self._view = replace(self._view, phase="stopping")
        error = self._save_last()
        self._finish("ended", error=error, progress=None if error else PPM)

    def _stop_program(self) -> None:
        ended = self._program.ended()
        if ended is not None:
            self._conclude(ended)
            return
        self._change(phase="stopping")
        willing = self._end_program(self._grace())
        self._view = self.view()
        progress = job.progress_ppm(self._places.progress)
        if progress == PPM and self._program.ended() == "":
            self._conclude("")
            return
        if not willing and not self._places.checkpoint and progress is None:
            # It keeps its own checkpoints and did not say goodbye: nobody knows of a new one.
            self._finish("stopped")
            return
        self._finish("stopped", error=self._save_last())

    def _grace(self) -> int:
        """How long [ns] the program may take to stop: of the time left, no more than half."""
        grace = self.work.task.grace_ns
        if self._until is not None:
            grace = min(grace, max(0, self._until - self._around.clock.boot()) // 2)
        return grace

    def _end_program(self, grace: int) -> bool:
        """Signal it, wait, kill it; whether it went by itself."""
        clock = self._around.clock
        deadline = clock.boot() + grace
        self._program.signal(signal.SIGTERM)
        pause = threading.Event()
        while self._program.alive():
            if clock.boot() >= deadline or self._killed.is_set():
                self._kill_program()
                return False
            pause.wait(_POLL_S / 2)
        return True

    def _kill_program(self) -> None:
        pause = threading.Event()
        for _ in range(100):
            if not self._program.alive():
                break
            self._program.signal(signal.SIGKILL)
            pause.wait(_POLL_S / 2)
        if self.work.task.image:
            # Killing the client leaves the container running.
            engine = job.argv(self.work, self._places, self._env)[0]
            command = [engine, "kill", job.container(self.work, self._places)]
            subprocess.run(  # noqa: S603 - a fixed command
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30
            )

    def _save_last(self) -> str:
        """The last save, tried until it works or there is no time left; what went wrong."""
        clock, pause = self._around.clock, threading.Event()
        until = self._until if self._until is not None else clock.boot() + _LAST_SAVE_NS
        while True:
            try:
                self._save(job.progress_ppm(self._places.progress))
            except SAVING_ERRORS as error:
                if clock.boot() + _RETRY_S * SECOND >= until or self._killed.is_set():
                    return f"checkpoint could not be saved: {error}"
                pause.wait(_RETRY_S)
            else:
                return ""

    def _finish(self, phase: str, error: str = "", progress: int | None = None) -> None:
        """Report how it came out."""
        fields: dict[str, Any] = {"phase": phase, "error": error[:2_000]}
        if progress is not None:
            fields["progress_ppm"] = progress
        self._tell(phase, **fields)
