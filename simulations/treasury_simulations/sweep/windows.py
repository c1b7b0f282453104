"""A built-in family of cases: "Can't Be Late", zones x windows x deadlines x overheads."""

from pathlib import Path

from treasury.domain.time import HOUR
from treasury_simulations.sweep.cells import (
    HINDSIGHT,
    Case,
    Cell,
    Variant,
    WindowWork,
    identity,
    published,
)
from treasury_simulations.sweep.grid import Grid, file_digest, varying

FAMILY = "cant_be_late"
# A case takes some ten milliseconds, handing one to a cluster takes five.
_PER_CHUNK = 25


def window_grid(
    folder: Path, variants: tuple[Variant, ...], *, sample: int = 0, hindsight: bool = True
) -> Grid:
    """Every published case of a folder with every variant, and with hindsight.

    sample: this many cases, spread evenly; 0 for all. Raises TraceError.
    """
    from treasury_simulations import cant_be_late

    place = str(folder.resolve())
    data = published(place)
    references = cant_be_late.sample(data.references(), sample)
    contents = [file_digest(path) for path in sorted(data.folder.glob("*2022*"))]
    if hindsight:
        variants = (*variants, Variant(HINDSIGHT, ""))
    cases = []
    for reference in references:
        one = reference.case
        axes = {
            "deadline": _hours(one.deadline),
            "overhead": _hours(one.overhead),
            "zone": one.zone,
            "window": one.window,
        }
        key = ", ".join(f"{name} {text}" for name, text in axes.items())
        work = WindowWork(place, one.window, one.zone, one.deadline, one.overhead)
        cases.append(Case(key, axes, FAMILY, data.start(one), work))
    cells = tuple(
        Cell(identity(variant, [FAMILY, contents, case.key]), variant, case)
        for case in cases
        for variant in variants
    )
    return Grid(
        title="Can't Be Late",
        family=FAMILY,
        variants=variants,
        axes=varying(cases),
        cells=cells,
        per_chunk=_PER_CHUNK,
    )


def _hours(ns: int) -> str:
    return f"{ns / HOUR:g} h"
