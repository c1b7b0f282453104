"""The board of `treasury demo live`: what the daemon says of itself, twice a second."""

from typing import Any

import msgspec

from treasury.cli.client import Client
from treasury.cli.live.news import News, Turn, short
from treasury.cli.live.screen import Screen
from treasury.domain.money import MICRO, NANO, format_money
from treasury.domain.time import SECOND
from treasury_simulations.live_proof import Trained

_NEWS_SHOWN = 9
_STATES = {
    "queued": "yellow",
    "running": "green",
    "finished": "bright_black",
    "failed": "red",
    "cancelled": "red",
}


class Board:
    """Follows a daemon. ended: job to how it ended. news: what was told so far."""

    def __init__(self, client: Client, screen: Screen, trained: list[Trained]) -> None:
        self.news = News()
        self.ended: dict[str, str] = {}
        self.machines = 0
        self._client, self._screen, self._trained = client, screen, trained
        self._seq = 0
        self._began_at = 0
        self._lines: list[str] = []
        self._rows: list[str] = []
        self._prices: dict[str, list[int]] = {}
        self._answers = True

    @property
    def over(self) -> bool:
        """Whether every job is over and every machine gone."""
        return len(self.ended) == len(self._trained) and not self.machines

    def say(self, line: str) -> None:
        """Put what the story does onto the board."""
        self._add(line, bold=True)

    def refresh(self, elapsed: float) -> None:
        """Ask the daemon, draw the board. Raises UserError where it does not answer."""
        answer = self._client.get("/v1/jobs", ended=True)
        self.ended = {row["id"]: row["state"] for row in answer["ended"]}
        offers = sorted(self._client.get("/v1/offers")["offers"], key=lambda row: row["id"])
        budgets = self._client.get("/v1/budgets")["budgets"]
        self.machines = len(self._client.get("/v1/leases")["leases"])
        self._read_news()
        self._answers = True
        jobs = self._jobs({row["id"]: row for row in answer["jobs"]})
        rows = [self._budget(row) for row in budgets]
        self._rows = [*rows, "", *(self._pool(row) for row in offers), "", *jobs]
        self._draw(elapsed)

    def wait(self, elapsed: float) -> None:
        """Say that the daemon does not answer."""
        self._answers = False
        self._draw(elapsed)

    def _draw(self, elapsed: float) -> None:
        news = self._lines[-_NEWS_SHOWN:]
        self._screen.draw([self._head(elapsed), "", *self._rows, "", *news])

    def _read_news(self) -> None:
        while True:
            answer = self._client.get("/v1/events", after=self._seq)
            turns = msgspec.convert(answer["turns"], tuple[Turn, ...])
            for at, line in self.news.read(turns):
                self._began_at = self._began_at or at
                self._add(f"{(at - self._began_at) / SECOND:6.1f} s  {line}")
            self._seq = answer["last"]
            if not answer["more"]:
                return

    def _add(self, line: str, **how: Any) -> None:
        self._lines.append(self._screen.paint(line, **how))
        self._screen.tell(self._lines[-1])

    # --- lines -----------------------------------------------------------------------------------

    def _head(self, elapsed: float) -> str:
        title = self._screen.paint("treasury run", bold=True)
        if not self._answers:
            return f"{title}  {elapsed:5.1f} s  does not answer; its machines go on"
        return f"{title}  {elapsed:5.1f} s  {self.machines} machines  {self.news.summary()}"

    def _budget(self, row: dict[str, Any]) -> str:
        limit = max(1, row["limit"])
        spent, held = row["spent"] / limit, (row["spent"] + row["held"]) / limit
        name = f"{'  ' * row['depth']}{row['cost_centre']}"
        bar = self._screen.bar(held, 24)
        text = f"{name:<14}{bar}  {format_money(row['spent'])} spent"
        text += f" + {format_money(row['held'])} held of {format_money(row['limit'])}"
        return self._screen.paint(text, fg="yellow") if spent + held > 1.6 else text

    def _pool(self, row: dict[str, Any]) -> str:
        name, rate = short(row["id"]), row["rate"] or 0
        past = self._prices.setdefault(name, [])
        past.append(rate)
        used, depth = row["in_use"], row["depth"] or 0
        spark = self._screen.spark(past[::4], 30)
        return f"{name:<14}{rate / NANO:9.2f} USD/h  {used} of {depth} ours  {spark}"

    def _jobs(self, active: dict[str, dict[str, Any]]) -> list[str]:
        lines = []
        for job in self._trained:
            row = active.get(job.job)
            state = self.ended.get(job.job, "") if row is None else row["state"]
            if not state:
                continue
            done = _steps(job) / job.steps
            where = short(row["offer"]) if row is not None and row["offer"] else ""
            cost = f"{row['cost'] / MICRO:8.2f} USD  " if row is not None else ""
            why = (row["waits"] or "") if row is not None and state == "queued" else ""
            text = f"{job.job:<10}{self._screen.bar(done, 24)} {done:4.0%}  {state:<10}{where:<12}"
            lines.append(self._screen.paint(f"{text}{cost}{why}", fg=_STATES.get(state)))
        return lines


def _steps(job: Trained) -> int:
    """How far a trainer is, by its own last word."""
    try:
        with open(job.witness, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 200))
            last = file.read().splitlines()[-1].split()
    except (FileNotFoundError, IndexError):
        return 0
    return int(last[2]) + (last[1] == b"step") if len(last) == 3 else 0


__all__ = ["Board"]
