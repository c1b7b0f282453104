"""The page of a sweep: complete, self-contained, the same for the same rows, safe with any name."""

import re
from pathlib import Path

import pytest

from treasury.domain.time import HOUR
from treasury_simulations.sweep import Manifest, Row
from treasury_simulations.sweep.cells import HINDSIGHT
from treasury_simulations.sweep.page import render

HOSTILE = "<script>alert(1)</script>$$x$$"


def swept(names: tuple[str, ...], *, hindsight: bool = True) -> tuple[Manifest, list[Row]]:
    """A sweep over deadlines and overheads; costs rise with the place of the name."""
    variants = (*names, HINDSIGHT) if hindsight else names
    rows = []
    for hour in range(120):
        for deadline in ("52 h", "70 h"):
            for overhead in ("0.2 h", "0.02 h", "10 h"):
                axes = {"deadline": deadline, "overhead": overhead, "window": str(hour)}
                case = "/".join(axes.values())
                for place, name in enumerate(variants):
                    cost = 1_000_000 * (90 + hour % 7) if name == HINDSIGHT else 100_000_000
                    rows.append(
                        Row(
                            cell=f"{name}/{case}",
                            variant=name,
                            case=case,
                            axes=axes,
                            block="",
                            start=hour * HOUR,
                            cost=cost + 1_000_000 * place,
                            jobs=1,
                            finished=1,
                        )
                    )
    manifest = Manifest(
        made_by="treasury sweep",
        title=f"Title {HOSTILE}",
        family="cant_be_late",
        variants=variants,
        axes=("deadline", "overhead", "window"),
        cells=tuple(row.cell for row in rows),
    )
    return manifest, rows


def test_the_page_is_the_same_twice_and_fetches_nothing() -> None:
    """Rendering again gives the same bytes; outside the library there is no address to fetch."""
    manifest, rows = swept(("greedy", "uniform_progress"))
    page = render(manifest, rows, "greedy")
    assert page == render(manifest, rows, "greedy")
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "default-src 'none'" in own
    assert not re.search(r"https?://", own)
    assert own.count('class="chart"') == 3


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    """A strategy and a title with markup and mathematics are shown, not run."""
    manifest, rows = swept((HOSTILE, "greedy"))
    page = render(manifest, rows, "greedy")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_parts_are_in_their_natural_order() -> None:
    """Overheads are sorted by their number, not by their spelling."""
    manifest, rows = swept(("greedy",))
    headings = re.findall(r'<th scope="row">(52 h / [^<]*)', render(manifest, rows, "greedy"))
    assert headings == ["52 h / 0.02 h", "52 h / 0.2 h", "52 h / 10 h"]


@pytest.mark.parametrize("hindsight", [True, False])
def test_costs_are_set_against_what_there_is(hindsight: bool) -> None:
    """Against hindsight where it was swept, against the baseline where not."""
    manifest, rows = swept(("on_demand", "greedy"), hindsight=hindsight)
    page = render(manifest, rows, "on_demand")
    assert ("% of hindsight" in page) is hindsight
    assert ("% of on_demand" in page) is not hindsight
    assert ("there is nothing to regret" in page) is not hindsight


def test_a_sweep_that_has_just_begun_has_a_page() -> None:
    """No case is complete: the page says so instead of failing."""
    manifest, rows = swept(("greedy", "uniform_progress"))
    page = render(manifest, rows[:1], "greedy")
    assert "No case has been run with every strategy yet" in page
    assert "No case" in render(manifest, [], "greedy")
