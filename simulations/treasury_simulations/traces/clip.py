"""A stretch of a market: the state at its start, then the changes within."""

from collections.abc import Iterable, Iterator

from treasury_simulations.traces.model import MarketRow


def clip_market(rows: Iterable[MarketRow], start: int, end: int) -> Iterator[MarketRow]:
    """Rows of [start, end) [ns], led by each pool's state at `start` as a row at `start`.

    Rows come in order of time and so do the results; pools that have no state at `start` are not
    led.
    """
    state: dict[int, MarketRow] = {}
    waiting = True
    for row in rows:
        if row.at >= end:
            break
        if row.at <= start:
            state[row.pool] = row
            continue
        if waiting:
            yield from _led(state, start)
            waiting = False
        yield row
    if waiting:
        yield from _led(state, start)


def _led(state: dict[int, MarketRow], start: int) -> Iterator[MarketRow]:
    for pool in sorted(state):
        yield state[pool]._replace(at=start)
