"""Drawing a board again and again in place, or telling only what is new where that cannot be."""

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from treasury.cli.output import style, wants_colour

_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "._-~=+*#"
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """A stretch of the terminal that is drawn over; elsewhere the news alone are printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        # Moving the cursor is no colour: NO_COLOR leaves it alone, a dumb terminal cannot.
        self.moves = self._stream.isatty() and shutil.get_terminal_size((0, 0)).lines > 0
        self.unicode = (self._stream.encoding or "").lower().startswith("utf")
        self._drawn = 0

    @property
    def width(self) -> int:
        """Columns to draw in."""
        return max(60, min(110, shutil.get_terminal_size((100, 30)).columns - 1))

    def paint(self, text: str, **how: object) -> str:
        """Text in a style, plain where the stream shows none."""
        return style(text, self._stream, **how) if wants_colour(self._stream) else text

    def draw(self, lines: Sequence[str]) -> None:
        """Put a board where the last one was."""
        if not self.moves:
            return
        rows = max(10, shutil.get_terminal_size((100, 40)).lines - 1)
        fitting = [self._cut(line) for line in lines[:rows]]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"\x1b[2K{line}\n" for line in fitting)
        # What is left of a taller board goes as well.
        self._stream.write(f"{up}{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(fitting)

    def tell(self, line: str) -> None:
        """Print news where nothing is drawn."""
        if not self.moves:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def keep(self) -> None:
        """Leave the last board where it is: what follows comes below it."""
        self._drawn = 0

    def bar(self, share: float, width: int) -> str:
        """How much of something is done, 0 to 1."""
        full = round(max(0.0, min(1.0, share)) * width)
        filled, empty = ("█", "░") if self.unicode else ("#", ".")
        return filled * full + empty * (width - full)

    def spark(self, values: Sequence[int], width: int) -> str:
        """The last values as a line of bars, scaled to their own least and most."""
        bars = _BARS if self.unicode else _PLAIN_BARS
        shown = values[-width:]
        if not shown:
            return ""
        least, most = min(shown), max(shown)
        span = max(1, most - least)
        return "".join(bars[(value - least) * (len(bars) - 1) // span] for value in shown)

    def _cut(self, line: str) -> str:
        """A line that does not wrap; styles take no columns."""
        if len(_ESCAPE.sub("", line)) <= self.width:
            return line
        return _ESCAPE.sub("", line)[: self.width]


__all__ = ["Screen"]
