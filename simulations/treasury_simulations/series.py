"""Series over time that stay small: the newest point of each stretch of time is kept."""

from typing import Final

# With this many points the stretches are made so long that half of them are left: no chart shows
# more, and memory stays flat however long the replay.
_MOST: Final = 2_000

Point = tuple[int, ...]


class Series:
    """States (at [ns], value, ...) by instant; fewer than 2,000 of them. As more come, time is cut
    into ever longer stretches, of which the last state is kept."""

    __slots__ = ("_points", "_stretch", "_until")

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._stretch = 1
        self._until = 0

    def add(self, point: Point) -> None:
        """The state from the instant `point[0]` on; instants never fall."""
        at = point[0]
        if at < self._until and self._points:
            self._points[-1] = point
            return
        self._points.append(point)
        self._until = at - at % self._stretch + self._stretch
        if len(self._points) >= _MOST:
            self._thin()

    def columns(self, width: int) -> tuple[list[int], ...]:
        """The instants and the values, each as a list; `width` lists in all."""
        if not self._points:
            return tuple([] for _ in range(width))
        return tuple([list(column) for column in zip(*self._points, strict=True)])

    def _thin(self) -> None:
        points = self._points
        self._stretch = max(2 * self._stretch, 2 * (points[-1][0] - points[0][0]) // _MOST)
        by_cell = {point[0] // self._stretch: point for point in points}
        self._points = list(by_cell.values())
        last = points[-1][0]
        self._until = last - last % self._stretch + self._stretch
