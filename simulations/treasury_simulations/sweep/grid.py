"""The grid of a sweep: which variants meet which cases, and each cell's identity."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from treasury.bootstrap import make_strategy, strategy_names
from treasury.config import Config
from treasury.domain.errors import BadValue
from treasury_simulations.sweep.cells import (
    HINDSIGHT,
    Case,
    Cell,
    Chunk,
    ScenarioWork,
    Variant,
    digest,
    identity,
)
from treasury_simulations.sweep.overrides import (
    Override,
    Template,
    combinations,
    short,
    split,
)

_READ_AT_ONCE = 1 << 20
# More seeds than this are a slip of the finger.
_SEEDS_MAX = 10_000


class Grid(msgspec.Struct, frozen=True):
    """A sweep as planned. axes: names of what tells cases apart, those that vary. per_chunk: cells
    a task, where nobody says otherwise."""

    title: str
    family: str
    variants: tuple[Variant, ...]
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]
    per_chunk: int

    def chunks(self, done: Iterable[str], per_chunk: int = 0) -> list[Chunk]:
        """What is still to run, in the grid's order."""
        finished = set(done)
        left = [cell for cell in self.cells if cell.id not in finished]
        size = per_chunk or self.per_chunk
        return [Chunk(tuple(left[i : i + size])) for i in range(0, len(left), size)]


def scenario_grid(
    template: Template,
    *,
    strategies: Sequence[str] = (),
    overrides: Sequence[Override] = (),
    traces: Sequence[str] = (),
    jobs: Sequence[str] = (),
    seeds: Sequence[int] = (),
    bound: int = 0,
) -> Grid:
    """Strategies x parameters x configurations x traces x jobs x seeds. What is not given comes
    from the configuration. bound: step of the fleet bound [ns], 0 to do without.

    Every scenario and every strategy is made once, so that a mistake is found before hours are
    spent. Raises ConfigError, TraceError, NotFound, PluginError.
    """
    world, own = split(overrides)
    plain = template.config({})
    names = strategy_names(plain, strategies)
    _check_owners(own, names)
    variants = _variants(template, names, own)
    if bound:
        variants = (*variants, Variant(HINDSIGHT, "", {"step": bound}))
    cases: list[tuple[Case, object]] = []
    for choice in combinations(world):
        config = template.config(choice)
        for trace in traces or [config.simulation.trace]:
            for job in jobs or [config.simulation.jobs]:
                for seed in seeds or [config.simulation.seed]:
                    axes = {"trace": trace, "jobs": job, **choice, "seed": str(seed)}
                    cases.append(_case(config, trace, job, seed, axes, bound))
    cells = tuple(
        Cell(identity(variant, parts), variant, case)
        for case, parts in cases
        for variant in variants
    )
    return Grid(
        title=plain.simulation.title or "Sweep",
        family="scenario",
        variants=variants,
        axes=varying([case for case, _ in cases]),
        cells=cells,
        per_chunk=1,
    )


def varying(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names of axes on which the cases differ, in their order."""
    return tuple(
        name
        for name in (cases[0].axes if cases else ())
        if len({case.axes[name] for case in cases}) > 1
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """`"1-5"` or `"1,2,7-9"`. Raises BadValue."""
    seeds: dict[int, None] = {}
    right = f"whole numbers and ranges, such as 1-5 or 1,4,9, at most {_SEEDS_MAX} of them"
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise BadValue("--seeds", text, right)
        first, last = int(low), int(high or low)
        if last < first or last - first >= _SEEDS_MAX or last >= 2**31:
            raise BadValue("--seeds", text, right)
        seeds |= dict.fromkeys(range(first, last + 1))
    return tuple(seeds)


def file_digest(path: Path) -> str:
    """A hash of a file's content."""
    hasher = hashlib.blake2b(digest_size=12)
    with path.open("rb") as file:
        while piece := file.read(_READ_AT_ONCE):
            hasher.update(piece)
    return hasher.hexdigest()


def make_variants(names: Sequence[str], config: Config) -> tuple[Variant, ...]:
    """The strategies of a configuration by name, each made once to see that it can be."""
    variants = []
    for name in names:
        make_strategy(config, name)
        settings = config.strategies.get(name)
        variants.append(
            Variant(name, name)
            if settings is None
            else Variant(name, settings.kind, settings.parameters)
        )
    return tuple(variants)


def variants_of(
    template: Template, names: Sequence[str], overrides: Sequence[Override]
) -> tuple[Variant, ...]:
    """Strategies with each combination of their own parameters; other keys are refused."""
    world, own = split(overrides)
    if world:
        raise BadValue("--set", world[0].path, "a parameter of a strategy: the rest is published")
    _check_owners(own, names)
    return _variants(template, names, own)


def _variants(
    template: Template, names: Sequence[str], own: dict[str, list[Override]]
) -> tuple[Variant, ...]:
    variants: list[Variant] = []
    for name in names:
        for choice in combinations(own.get(name, [])):
            (variant,) = make_variants([name], template.config(choice))
            label = f"{name} {short(choice)}" if choice else name
            variants.append(Variant(label, variant.kind, variant.parameters))
    return tuple(variants)


def _check_owners(own: dict[str, list[Override]], names: Sequence[str]) -> None:
    for name, overrides in own.items():
        if name not in names:
            right = f"a strategy that is swept: {', '.join(names)}"
            raise BadValue("--set", overrides[0].path, right)


def _case(
    config: Config, trace: str, jobs: str, seed: int, axes: dict[str, str], bound: int
) -> tuple[Case, object]:
    from treasury_simulations.scenario import build_scenario

    simulation = msgspec.structs.replace(config.simulation, seed=seed)
    config = msgspec.structs.replace(config, simulation=simulation)
    build_scenario(config, trace, jobs)
    files = [_trace_file(name) for name in (trace, jobs) if name]
    # What a case is made of, without what only names it or is somebody else's business.
    nameless = msgspec.structs.replace(
        config,
        file="",
        strategies={},
        simulation=msgspec.structs.replace(
            simulation, title="", trace="", jobs="", strategies=(), out=""
        ),
    )
    key = ", ".join(f"{name} {text}" for name, text in axes.items() if text)
    work = ScenarioWork(config, _elsewhere(trace), _elsewhere(jobs), bound)
    parts = [digest(nameless), [file_digest(path) for path in files]]
    return Case(key, axes, f"{trace}/{seed}", None, work), parts


def _trace_file(name: str) -> Path:
    from treasury_simulations.traces import open_trace

    return open_trace(name).path


def _elsewhere(name: str) -> str:
    """A trace as a worker with another working directory finds it."""
    return str(Path(name).resolve()) if Path(name).is_file() else name
