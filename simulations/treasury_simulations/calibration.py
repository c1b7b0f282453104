"""Learning the deadline strategy's prior from a recorded market, and how well it foretells.

`python -m treasury_simulations.calibration TRACE` learns on the first part of a market trace,
scores the forecasts on what follows, and prints the prior as the strategy's `prior` setting takes
it.
"""

from typing import NamedTuple, cast

import click
import msgspec

from treasury.domain.errors import BadValue, UserError
from treasury.domain.ids import OfferId
from treasury.domain.market import Tenure
from treasury.forecast.forecaster import Forecaster
from treasury.forecast.hazards import STEP, Prior
from treasury.forecast.learn import learn_prior
from treasury.forecast.scores import Calibration, calibrate
from treasury_simulations.market import MarketTrace

# One pool at a time is scored; what it is called does not matter.
_POOL = OfferId("pool")


class Calibrated(NamedTuple):
    """A prior, and how its forecasts of loss and of return did on the part it was not learned
    from."""

    prior: Prior
    loss: Calibration
    back: Calibration


def availability(trace: MarketTrace, start: int, end: int) -> list[list[int]]:
    """For each spot pool whether capacity was there, at each step of the hazards' grid from `start`
    to `end` [ns]."""
    spot = [at for at, pool in enumerate(trace.pools) if Tenure(pool.tenure) is Tenure.SPOT]
    there = dict.fromkeys(spot, 0)
    series: dict[int, list[int]] = {at: [] for at in spot}
    rows = iter(trace.market())
    row = next(rows, None)
    for now in range(start, end, STEP):
        while row is not None and row[0] <= now:
            if row[1] in there:
                there[row[1]] = int(row[2] >= 0 and row[3] != 0)
            row = next(rows, None)
        for at in spot:
            series[at].append(there[at])
    return list(series.values())


def learn_and_score(series: list[list[int]], share: float) -> Calibrated:
    """Learn on the first `share` of each series, score step by step on the rest; nothing that is
    scored was learned from. Raises BadValue for a share or for series that leave nothing to do."""
    if not 0.0 < share < 1.0:
        raise BadValue("share", share, "a share between 0 and 1")
    prior = learn_prior([values[: int(len(values) * share)] for values in series])
    said: dict[bool, list[float]] = {True: [], False: []}
    came: dict[bool, list[bool]] = {True: [], False: []}
    for values in series:
        cut = int(len(values) * share)
        forecaster = Forecaster(prior, {})
        for at in range(len(values) - 1):
            now, there = at * STEP, bool(values[at])
            forecaster.see_pool(_POOL, now, there, -1)
            if at >= cut:
                regime = prior.clip(forecaster.regime(_POOL))
                hazard = prior.loss_hazard if there else prior.back_hazard
                said[there].append(hazard(forecaster.age(_POOL, now), regime))
                came[there].append(bool(values[at + 1]) != there)
    if not said[True] or not said[False]:
        raise BadValue("share", share, "one that leaves steps with and without capacity to score")
    return Calibrated(prior, calibrate(said[True], came[True]), calibrate(said[False], came[False]))


@click.command()
@click.argument("trace")
@click.option("--share", default=0.4, show_default=True, help="Part of each series to learn from.")
def main(trace: str, share: float) -> None:
    """Learn a prior from TRACE, a file or a bundled sample, and score it on the rest."""
    from treasury_simulations.traces import open_trace

    try:
        opened = open_trace(trace)
        series = availability(cast(MarketTrace, opened), opened.header.start, opened.header.end)
        found = learn_and_score(series, share)
    except UserError as error:
        raise click.UsageError(str(error)) from error
    for name, scores in (("loss", found.loss), ("back", found.back)):
        click.echo(
            f"{name}: {scores.count} forecasts, log score {scores.log_score:.4f} (frequency alone "
            f"{scores.base_log_score:.4f}), Brier {scores.brier:.4f}"
        )
        for part in scores.reliability:
            click.echo(f"  said {part.forecast:.3f}  came {part.observed:.3f}  ({part.count})")
    click.echo(msgspec.json.encode(found.prior).decode())


if __name__ == "__main__":
    main()
