"""The report of a replay: a table for the terminal and one self-contained HTML page.

Lives here: reading `record.Comparison` and showing it. May not live here: anything that decides
or measures; a figure that is not in the record is not in the report.
"""

from pathlib import Path

from treasury_simulations.record import Comparison
from treasury_simulations.report.summary import cost_rows, summary_rows


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page to `path`, replacing what is there; see `page.render`. Raises OSError.

    The plotting library takes about a second to import, so it is imported here.
    """
    from treasury_simulations.report.page import render

    path.write_text(render(comparison), encoding="utf-8")


__all__ = ["cost_rows", "summary_rows", "write_report"]
