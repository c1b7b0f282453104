"""A job's document to a `JobSpec`, or every problem in it with what to write instead."""

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from treasury.config.decode import Problem, decode
from treasury.config.units import plain
from treasury.domain.errors import ConfigError
from treasury.domain.ids import CostCentre, JobId
from treasury.domain.job import JobSpec, Requirement
from treasury.domain.task import Task
from treasury.domain.time import format_instant
from treasury.jobfile.reader import Source
from treasury.jobfile.sections import JobSection, in_our_words

# A journal keeps instants as 64-bit nanoseconds: up to the year 2262.
_INSTANT_MAX: Final = 2**63 - 1
_SECRET: Final = re.compile(r"^env\b|secret|token|password|credential|key", re.IGNORECASE)
# Runs the setup, which is data to this script as all else is, and then becomes the program.
_WITH_SETUP: Final = 'bash -ec "$1" && shift && exec "$@"'


class Findings(msgspec.Struct, frozen=True):
    """What reading a document found: the job as written, or None and every problem. An error's
    `path` is the key, its `problem` shows the value and what would be right."""

    section: JobSection | None
    errors: tuple[ConfigError, ...]


def inspect_job(source: Source) -> Findings:
    """Read a document and collect every problem."""
    problems: list[Problem] = []
    section = decode(JobSection, in_our_words(source.table), problems)
    if section is not None:
        problems.extend(_contradictions(section))
    errors = tuple(
        ConfigError(source.where(problem.path), problem.path, problem.text) for problem in problems
    )
    return Findings(None if errors else section, errors)


def load_job(source: Source) -> JobSection:
    """The job of a document. Raises ConfigError with the first problem."""
    findings = inspect_job(source)
    if findings.section is None:
        raise findings.errors[0]
    return findings.section


def job_spec(section: JobSection, job: str, now: int, file: str = "") -> JobSpec:
    """The job as it is submitted under an id at an instant [ns], from which offsets count. Raises
    ConfigError for a deadline that is not after it."""
    deadline = None if section.deadline is None else section.deadline.after(now)
    if deadline is not None and not now < deadline <= _INSTANT_MAX:
        shown = format_instant(deadline) if deadline <= _INSTANT_MAX else "the instant"
        raise ConfigError(
            file,
            "deadline",
            f"{shown} cannot be used: expected an instant after {format_instant(now)}",
        )
    ((_, wish),) = section.wishes.items()
    resources, checkpoint = section.resources, section.checkpoint
    return JobSpec(
        id=JobId(job),
        cost_centre=CostCentre(section.cost_centre),
        requirement=Requirement(
            throughput=wish.throughput,
            gpus=wish.gpus,
            nodes=section.nodes,
            gpu_memory_gib=resources.memory or wish.memory,
            providers=resources.provider,
            regions=resources.region,
            tenures=tuple(tenure.value for tenure in section.tenures),
            exact=resources.exact,
        ),
        work=section.duration or section.max_duration,
        submitted_at=now,
        start_overhead=section.start_overhead,
        checkpoint_interval=checkpoint.interval,
        deadline=deadline,
        priority=section.priority,
        value=section.value,
        max_rate=section.max_price,
        interruptible=section.interruptible,
        labels=section.labels,
        task=_task(section),
    )


def _task(section: JobSection) -> Task:
    checkpoint = section.checkpoint
    command = section.command or section.run
    setup = section.setup
    if setup:
        script = setup[2] if setup[:2] == ("bash", "-c") else shlex.join(setup)
        command = ("bash", "-c", _WITH_SETUP, "setup", script, *command)
    return Task(
        command=command,
        image=section.image,
        env=section.env,
        secrets=section.secrets,
        workdir=section.workdir,
        checkpoint_dir=checkpoint.dir,
        checkpoint_to=checkpoint.to,
        checkpoint_hook=checkpoint.hook,
        grace=section.grace,
        retries=section.retry,
        max_duration=section.max_duration,
    )


def _contradictions(section: JobSection) -> Iterator[Problem]:
    """What no key can know alone."""
    wishes, checkpoint = section.wishes, section.checkpoint
    if len(wishes) != 1:
        found = f"{' and '.join(wishes)} ask for accelerators" if wishes else "no gpu is asked for"
        path = next(iter(wishes), "")
        yield Problem(path, f"{found}: expected one of gpu, resources.gpu or resources.any_of")
    if bool(section.command) == bool(section.run):
        found = "command and run are both there" if section.run else '"command" is missing'
        yield Problem("command" if section.run else "", f"{found}: expected one of command or run")
    if not section.duration and not section.max_duration:
        right = 'how long the work takes at speed 1, such as duration = "6h"'
        yield Problem("", f'"duration" is missing: expected {right}')
    if section.resources.spot is not None and section.resources.tenure is not None:
        yield Problem("resources.spot", "spot and tenure say the same: expected one of them")
    if bool(checkpoint.dir) != bool(checkpoint.to):
        missing = "to" if checkpoint.dir else "dir"
        yield Problem("checkpoint", f'"{missing}" is missing: expected both dir and to, or neither')
    if checkpoint.hook and not checkpoint.dir:
        yield Problem("checkpoint.hook", "nothing is synced after it: expected dir and to as well")
    both = sorted(set(section.env) & set(section.secrets))
    if both:
        yield Problem("secrets", f"{both[0]!r} is in env, too: expected each name in one of them")
    deadline = section.deadline
    if deadline is not None and deadline.relative and deadline.ns == 0:
        yield Problem("deadline", "'+0s' leaves no time: expected an offset above 0")


def value_at(table: dict[str, Any], path: str) -> Any:
    """What a document holds at a path such as `resources.any_of[0]`, None where nothing is, and
    where it may be a secret."""
    if _SECRET.search(path):
        return None
    value: Any = in_our_words(table)
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return plain(value)
