"""Fewer points for the eye: series are thinned for drawing, never for the tables."""

from collections.abc import Sequence


def thin(values: Sequence[Sequence[int]], limit: int) -> list[int]:
    """Indices of at most `limit` points (or 4 for each series, if that is more) to draw.

    values: parallel series over the same points. The points are cut into equal slices; of each
    slice the first and last point and each series' lowest and highest are kept, so that no peak
    or gap vanishes. Indices rise.
    """
    count = len(values[0]) if values else 0
    if count <= limit:
        return list(range(count))
    per_slice = 2 + 2 * len(values)
    slices = max(1, limit // per_slice)
    keep: set[int] = set()
    for number in range(slices):
        start, stop = number * count // slices, (number + 1) * count // slices
        keep.update((start, stop - 1))
        for series in values:
            keep.add(min(range(start, stop), key=series.__getitem__))
            keep.add(max(range(start, stop), key=series.__getitem__))
    return sorted(keep)


def lanes(intervals: Sequence[tuple[int, int]]) -> list[int]:
    """For each interval [start, end), given in order of start, the lowest row that is free then."""
    ends: list[int] = []
    rows = []
    for start, end in intervals:
        row = next((i for i, busy_until in enumerate(ends) if busy_until <= start), len(ends))
        if row == len(ends):
            ends.append(end)
        else:
            ends[row] = end
        rows.append(row)
    return rows
