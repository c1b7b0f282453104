"""What every pool cost over time: one line a pool, under the placements."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from bokeh.models import FixedTicker, NumeralTickFormatter, Range1d
from bokeh.plotting import figure

from treasury.domain.money import NANO
from treasury_simulations.record import Comparison, PriceSeries
from treasury_simulations.report.names import tenure_of
from treasury_simulations.report.plot import bare, hover
from treasury_simulations.report.sheet import ALWAYS, Sheet, steps
from treasury_simulations.report.thinning import thin

# Points of all lines together: the page stays small.
_POINTS = 26_000


def price_lines(comparison: Comparison) -> dict[str, PriceSeries]:
    """Each offer's prices once, in the offers' order: the runs share one trace."""
    found: dict[str, PriceSeries] = {}
    for run in comparison.runs:
        for series in run.prices:
            if series.at:
                found.setdefault(series.offer, series)
    return dict(sorted(found.items()))


def price_chart(
    sheet: Sheet,
    prices: Mapping[str, PriceSeries],
    colours: Mapping[str, str],
    x_range: Range1d,
    end: int,
    used: AbstractSet[str],
    left: int,
) -> figure:
    """Lines of the offers' rates, dashed where not spot, faint where never used.

    end: instant [ns] to which the last rates are drawn. left: room [px] beside the frame, as in the
    chart above.
    """
    limit = max(60, _POINTS // len(prices))
    kept = {offer: thin((series.rate,), limit) for offer, series in prices.items()}
    values = {offer: [_per_gpu(prices[offer], i) for i in keep] for offer, keep in kept.items()}
    positive = [value for line in values.values() for value in line if value]
    # Cheap and dear accelerators on one picture need a logarithmic scale, one kind does not.
    wide = bool(positive) and max(positive) > 4 * min(positive)
    plot = _frame(wide, x_range, left)
    source = sheet.source(
        "prices",
        {
            ALWAYS: {
                "xs": sheet.step_times(
                    [*(prices[offer].at[i] for i in keep), max(end, prices[offer].at[-1])]
                    for offer, keep in kept.items()
                ),
                "ys": steps([*values[offer], values[offer][-1]] for offer in kept),
                "colour": [colours[offer] for offer in kept],
                "alpha": [0.9 if offer in used else 0.4 for offer in kept],
                "dash": ["solid" if tenure_of(offer) == "spot" else "dashed" for offer in kept],
                "offer": list(kept),
            }
        },
    )
    plot.multi_line(
        "xs",
        "ys",
        line_color="colour",
        line_alpha="alpha",
        line_dash="dash",
        line_width=1.5,
        source=source,
    )
    broad = plot.multi_line("xs", "ys", line_width=9, line_alpha=0, source=source)
    hover(
        plot,
        [broad],
        "@offer",
        [("since", "$snap_x{%F %H:%M} UTC"), ("rate", "$snap_y{0,0.0000} USD per GPU-hour")],
        formatters={"$snap_x": "datetime"},
        line_policy="prev",
    )
    return plot


def _frame(wide: bool, x_range: Range1d, left: int) -> figure:
    plot = bare(
        "time (UTC)",
        "USD per GPU-hour" + (" (log)" if wide else ""),
        300,
        x_axis_type="datetime",
        y_axis_type="log" if wide else "linear",
        x_range=x_range,
        tools="xpan,pan,box_zoom,wheel_zoom,reset",
        active_drag="box_zoom",
        active_scroll=None,
        min_border_left=left,
    )
    if wide:
        # The library's own choice crowds 4, 4.5 and 5 at the top of a short scale.
        plot.yaxis.ticker = FixedTicker(
            ticks=[digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
        )
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    return plot


def _per_gpu(series: PriceSeries, index: int) -> float | None:
    rate = series.rate[index]
    return None if rate < 0 else round(rate / NANO / max(1, series.gpus), 6)
