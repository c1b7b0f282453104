"""Many storms at once, and the file of those that once broke something."""

import multiprocessing
import os
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec

from treasury_simulations.storm.shrink import Story
from treasury_simulations.storm.storm import Verdict, storm


class Regression(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A storm that once broke something. what: the mistake, in one sentence."""

    seed: int
    hours: int
    what: str
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class _Regressions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    storm: tuple[Regression, ...] = ()


def storms(
    seeds: Iterable[int],
    hours: int,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    workers: int = 0,
) -> Iterator[Verdict]:
    """A verdict for each seed, as they come. workers: processes, 0 for one a core."""
    count = workers or os.cpu_count() or 1
    if count == 1:
        for seed in seeds:
            yield storm(seed, hours, only, without)
        return
    # Fresh processes: a copy of this one may inherit a lock that nobody will open.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context) as pool:
        futures = [pool.submit(storm, seed, hours, only, without) for seed in seeds]
        for future in as_completed(futures):
            yield future.result()


def regressions(file: Path) -> tuple[Regression, ...]:
    """The storms in a file of regressions."""
    return msgspec.convert(tomllib.loads(file.read_text("utf-8")), _Regressions).storm


def remember(file: Path, story: Story) -> None:
    """Add a storm to a file of regressions."""
    lines = ["", "[[storm]]", f"seed = {story.seed}", f"hours = {story.hours}"]
    if story.without:
        names = ", ".join(f'"{name}"' for name in story.without)
        lines.append(f"without = [{names}]")
    what = story.verdict.violation.replace("\\", "").replace('"', "'")
    lines.append(f'what = "{what}"')
    with file.open("a", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
