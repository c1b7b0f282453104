"""Recordings of live prices: changes only, bounded space, whole across crashes, one trace after."""

from pathlib import Path
from random import Random

import pytest

from tests.support.table import offer
from treasury.domain.errors import BadValue, TraceError
from treasury.domain.market import Quote
from treasury.domain.money import NANO
from treasury.domain.time import DAY, HOUR, MINUTE, SECOND
from treasury_simulations.traces import open_trace
from treasury_simulations.traces.recording import SILENCE, Recording, merge

START = 20_000 * DAY
A, B = offer("a"), offer("b")


def quote(what, rate: int, at: int) -> Quote:
    """A quote of an offer as it was observed."""
    return Quote(what.id, rate, -1, at, at)


def test_only_changes_are_written_and_replayed_in_order(tmp_path: Path) -> None:
    """Repeated prices leave no row; what is unknown or free is not taken; the past stays behind."""
    recording = Recording(tmp_path, "m")
    recording.offers([A, B])
    assert recording.quote(quote(A, NANO, START), START)
    assert not recording.quote(quote(A, NANO, START + MINUTE), START + MINUTE)
    assert not recording.quote(quote(A, 0, START + MINUTE), START + MINUTE)
    assert not recording.quote(quote(offer("c"), NANO, START + MINUTE), START + MINUTE)
    # Observed long before it arrived: the trace goes forward all the same.
    assert recording.quote(quote(B, 2 * NANO, START - HOUR), START + MINUTE)
    assert recording.quote(quote(A, 3 * NANO, START + 2 * MINUTE), START + 2 * MINUTE)
    recording.close(START + 3 * MINUTE)
    (segment,) = recording.segments()
    trace = open_trace(segment)
    rows = [(row.at - START, trace.pools[row.pool].id, row.rate) for row in trace.market()]
    assert rows == [(0, A.id, NANO), (0, B.id, 2 * NANO), (2 * MINUTE, A.id, 3 * NANO)]
    assert trace.header.end == START + 3 * MINUTE


def test_segments_begin_whole_and_merge_into_what_was_seen(tmp_path: Path) -> None:
    """Each segment knows every price from its first instant; merged, nothing is told twice and the
    silence between is a gap."""
    recording = Recording(tmp_path, "m", segment=HOUR)
    recording.offers([A, B])
    recording.quote(quote(A, NANO, START), START)
    for hour in range(3):
        at = START + hour * HOUR
        for minute in range(0, 60, 10):
            recording.quote(quote(B, (2 + hour) * NANO, at), at + minute * MINUTE)
    recording.close(START + 3 * HOUR)
    again = Recording(tmp_path, "m")
    again.offers([A])
    again.quote(quote(A, 9 * NANO, START + 5 * HOUR), START + 5 * HOUR)
    again.close(START + 6 * HOUR)
    segments = again.segments()
    assert [len(list(open_trace(path).market())) for path in segments] == [2, 3, 3, 1]
    trace = merge(segments[::-1], tmp_path / "all.trace", "all")
    rows = [((row.at - START) // HOUR, row.rate // NANO) for row in trace.market()]
    assert rows == [(0, 1), (0, 2), (1, 3), (2, 4), (5, 9)]
    assert trace.header.gaps == ((START + 3 * HOUR, START + 5 * HOUR),)


def test_silence_is_a_gap(tmp_path: Path) -> None:
    """A stretch in which no market said anything was not watched."""
    recording = Recording(tmp_path, "m")
    recording.offers([A])
    recording.quote(quote(A, NANO, START), START)
    later = START + SILENCE + SECOND
    recording.quote(quote(A, NANO, later), later)
    recording.close(later)
    assert open_trace(recording.segments()[0]).header.gaps == ((START, later),)


def test_a_recorder_that_dies_loses_its_last_minute_only(tmp_path: Path) -> None:
    """A segment without a footer is taken as far as it is whole."""
    recording = Recording(tmp_path, "m")
    recording.offers([A])
    for minute in range(10):
        at = START + minute * MINUTE
        recording.quote(quote(A, (minute + 1) * NANO, at), at)
    # No footer: the process is gone.
    recording._writer.abandon()
    (segment,) = recording.segments()
    with pytest.raises(TraceError):
        open_trace(segment)
    trace = merge([segment], tmp_path / "all.trace", "all")
    assert [row.rate // NANO for row in trace.market()] == list(range(1, 11))


def test_space_is_bounded_for_weeks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty days of restless prices stay within the limit; the newest are kept."""
    # Seventeen thousand waits for the disk would prove nothing more.
    monkeypatch.setattr("treasury_simulations.traces.recording.FLUSH", 6 * HOUR)
    limit, dice = 1 << 18, Random(7)
    recording = Recording(tmp_path, "m", limit=limit, segment=DAY)
    recording.offers([A, B])
    for step in range(60 * 24 * 12):
        at = START + step * 5 * MINUTE
        recording.quote(quote((A, B)[step % 2], dice.randrange(1, 1 << 40), at), at)
    recording.close(at)
    assert sum(path.stat().st_size for path in recording.segments()) <= limit
    assert open_trace(recording.segments()[-1]).header.end == at
    with pytest.raises(BadValue):
        Recording(tmp_path, "m", limit=10)


def test_segments_that_overlap_are_refused(tmp_path: Path) -> None:
    """Two recordings of one time are not one trace, and nothing is none."""
    for name in "mn":
        recording = Recording(tmp_path, name)
        recording.offers([A])
        recording.quote(quote(A, NANO, START), START)
        recording.close(START + HOUR)
    with pytest.raises(TraceError, match="begins before"):
        merge(sorted(tmp_path.glob("*.trace")), tmp_path / "all.trace", "all")
    with pytest.raises(TraceError, match="nothing to merge"):
        merge([], tmp_path / "all.trace", "all")
