"""Tasks: what a job runs on its machines. Data, never a shell line: no field is interpreted."""

import msgspec

from treasury.domain.time import HOUR, SECOND


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A program and where its checkpoints live. Durations in ns.

    command: the program and its arguments. image: a container image, empty to run on the machine
    itself. secrets: names of environment variables whose values the control node hands to the
    machine; values are never written down. workdir: empty for a new directory.

    checkpoint_dir: the directory, in the workdir unless absolute, that is synced to and from
    checkpoint_to (`file://`, `s3://`, `gs://`, `az://`); both empty where the job keeps its own.
    checkpoint_hook: a program run before each sync. grace: from the signal to stop until the
    program is killed. retries: failures of the program's own after which it is queued again.
    max_duration: the longest the program may run in all, 0 for no limit.
    """

    command: tuple[str, ...]
    image: str = ""
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    workdir: str = ""
    checkpoint_dir: str = ""
    checkpoint_to: str = ""
    checkpoint_hook: tuple[str, ...] = ()
    grace: int = 30 * SECOND
    retries: int = 0
    max_duration: int = 0


# The longest grace that is taken: markets give less warning than this anyway.
GRACE_MAX = HOUR
