"""Series over time that stay small: the newest point of each stretch of time is kept."""

from typing import Final

# Points a chart can show; with twice as many the stretches are doubled.
_POINTS: Final = 1_000


class Series:
    """Parallel columns by instant. At most 2,000 points: as more come, time is cut into ever longer
    stretches, of which the last state is kept."""

    __slots__ = ("at", "columns", "_stretch")

    def __init__(self, width: int) -> None:
        self.at: list[int] = []
        self.columns: tuple[list[int], ...] = tuple([] for _ in range(width))
        self._stretch = 1

    def add(self, at: int, *values: int) -> None:
        """The state from an instant [ns] on; instants never fall."""
        times = self.at
        if times and at // self._stretch == times[-1] // self._stretch:
            for column, value in zip(self.columns, values, strict=True):
                column[-1] = value
            return
        times.append(at)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        if len(times) >= 2 * _POINTS:
            self._thin()

    def _thin(self) -> None:
        times = self.at
        span = times[-1] - times[0]
        self._stretch = max(2 * self._stretch, span // _POINTS)
        cells = [at // self._stretch for at in times]
        last = len(times) - 1
        keep = [i for i, cell in enumerate(cells) if i == last or cells[i + 1] != cell]
        times[:] = [times[i] for i in keep]
        for column in self.columns:
            column[:] = [column[i] for i in keep]
