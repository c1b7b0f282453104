"""Log lines with fields: text for people, JSON for programs; secrets and control characters out.

One line a decision, with what it was made of. What the engine notes too often to be read, such as
quotes and meterings, is in the metrics and in the journal.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import msgspec
import structlog

from treasury.domain import events as e
from treasury.domain.money import format_money, format_rate
from treasury.domain.time import NEVER, SECOND, format_duration, format_instant
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.runtime.observer import Observer

Fields = MutableMapping[str, Any]

_SECRET_KEY: Final = re.compile(r"token|secret|password|credential|authorization", re.IGNORECASE)
# Bearer tokens, AWS keys, Azure SAS signatures, private keys, and what follows "password=".
_SECRET_TEXT: Final = re.compile(
    r"(?i)bearer\s+\S+|\bA[KS]IA[0-9A-Z]{16}\b|\bsig=[\w%+/-]{20,}"
    r"|-----BEGIN[ A-Z]*PRIVATE KEY-----.*|(?<=password=)\S+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MASK: Final = "***"
_LENGTH_MAX: Final = 2_000

# Facts without a line of their own: there are too many, or the lines of others say it.
_SILENT: Final = (e.Quoted, e.LeaseMetered, e.PlanRequested, e.LeaseMissing, e.OffersListed)
_MONEY: Final = ("amount", "asked", "held", "limit", "spent", "charge", "returned", "granted")
_RATES: Final = ("rate", "bid")
_INSTANTS: Final = ("at", "start", "end", "useful_from", "ends_at", "until", "fits_at", "review_at")
# These are bad news that somebody may want to act on.
_WARNINGS: Final = (e.Discrepancy, e.DeadlineMissed, e.QuoteRejected, e.BudgetChangeRefused)


def set_up(form: str, stream: TextIO | None = None) -> None:
    """Have log lines written. form: "text" or "json"."""
    out = stream or sys.stderr
    # Colour only where a person looks; journald and files get plain text.
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            clean,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(out))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    # It warns of each message that a client was not there for; orders are retained.
    logging.getLogger("amqtt").setLevel(logging.ERROR)


class _Unfailing:
    """A stream whose disk may be full or whose reader may be gone: that costs lines and must not
    cost the daemon, whose books are elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        with suppress(OSError):
            self._stream.flush()


class _Forward(logging.Handler):
    """What libraries log, in our form and through our filters."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        tell = structlog.get_logger("library")
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        cause = {} if error is None else {"error": repr(error)}
        getattr(tell, level)(record.getMessage(), library=record.name, **cause)


def clean(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Mask secrets, escape what could forge a line or drive a terminal, cut what is too long."""
    for key, value in list(fields.items()):
        if _SECRET_KEY.search(key):
            fields[key] = _MASK
        elif isinstance(value, str):
            fields[key] = _plain(value)
        elif isinstance(value, list | tuple):
            fields[key] = [_plain(item) if isinstance(item, str) else item for item in value]
    return fields


def _plain(text: str) -> str:
    masked = _SECRET_TEXT.sub(_MASK, text[:_LENGTH_MAX])
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], masked)


class Logs(Observer):
    """The shell's life as lines."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("treasury")
        self._failing: dict[tuple[str, str], int] = {}
        self._degraded = False

    def turned(
        self, entry: Entry, book: Book, *, inputs: int, step_ns: int, commit_ns: int
    ) -> None:
        """A line for each fact that is a decision or news, and for each command."""
        del book, inputs, step_ns, commit_ns
        for fact in entry.facts:
            if not isinstance(fact, _SILENT):
                tell = self._log.warning if isinstance(fact, _WARNINGS) else self._log.info
                tell(str(fact.__struct_config__.tag), turn=entry.seq, **fields(fact))
        for approved in entry.commands:
            command = approved.command
            self._log.info(
                f"command_{command.__struct_config__.tag}", turn=entry.seq, **fields(command)
            )

    def store_failed(self, error: Exception, retry_ns: int) -> None:
        """The database takes no turns."""
        self._log.error("store_failed", error=str(error), retry_in=format_duration(retry_ns))

    def planned(self, version: int, actions: int, took_ns: int) -> None:
        """A plan came."""
        self._log.info("planned", version=version, actions=actions, took_s=_seconds(took_ns))

    def plan_failed(self, version: int, why: str) -> None:
        """No plan came."""
        self._log.warning("plan_failed", version=version, why=why)

    def called(self, provider: str, what: str, took_ns: int) -> None:
        """A line where the call had failed before."""
        del took_ns
        times = self._failing.pop((provider, what), 0)
        if times:
            self._log.info("call_recovered", provider=provider, call=what, failures=times)

    def failed(self, provider: str, what: str, error: BaseException) -> None:
        """The first failure, then ever fewer lines: the second, the fourth, the eighth..."""
        times = self._failing[provider, what] = self._failing.get((provider, what), 0) + 1
        if times & (times - 1) == 0:
            self._log.warning(
                "call_failed",
                provider=provider,
                call=what,
                kind=type(error).__name__,
                error=str(error),
                times=times,
            )

    def quiet(self, provider: str, feed: str, for_ns: int) -> None:
        """A feed fell silent."""
        self._log.warning(
            "feed_quiet", provider=provider, feed=feed, silent=format_duration(for_ns)
        )

    def heard(self, provider: str, feed: str) -> None:
        """A feed speaks."""
        self._log.info("feed_heard", provider=provider, feed=feed)

    def halted(self, provider: str, why: str) -> None:
        """The circuit breaker opened."""
        self._log.critical(
            "halted",
            provider=provider,
            why=why,
            do="look at the machines, then start with --adopt, or mend the database's address",
        )

    def led(self, leads: bool, leader: str) -> None:
        """We lead, or somebody else does."""
        if leads:
            self._log.info("leading")
        else:
            self._log.info("standing_by", leader=leader)

    def skewed(self, ahead_ns: int, *, degraded: bool) -> None:
        """The clock went wrong, or is right again."""
        if degraded and not self._degraded:
            self._log.error(
                "clock_skewed",
                ahead_s=_seconds(ahead_ns),
                do="no machines are asked for until it is worked off: mend the clock, restart",
            )
        elif self._degraded and not degraded:
            self._log.info("clock_right", ahead_s=_seconds(ahead_ns))
        self._degraded = degraded

    def reloaded(self, changes: tuple[str, ...]) -> None:
        """A configuration was taken."""
        self._log.info("reloaded", changes=changes)

    def reload_failed(self, error: Exception) -> None:
        """A configuration was not taken."""
        self._log.error("reload_failed", error=str(error))

    def broke(self, what: str, error: BaseException) -> None:
        """Something beside the money path failed."""
        self._log.error("broke", what=what, kind=type(error).__name__, error=str(error))


def _seconds(ns: int) -> float:
    return round(ns / SECOND, 6)


def fields(fact: msgspec.Struct) -> dict[str, Any]:
    """What a fact or command says, flat and readable. What a job runs is left out: its environment
    is nobody's business."""
    found: dict[str, Any] = {}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if name == "spec":
            found |= {"job": value.id, "cost_centre": value.cost_centre, "priority": value.priority}
        elif name in _MONEY and isinstance(value, int):
            found[name] = format_money(value)
        elif name in _RATES and isinstance(value, int):
            found[name] = format_rate(value)
        elif name in _INSTANTS and isinstance(value, int):
            found[name] = "never" if value >= NEVER else format_instant(value)
        elif name == "token" or value is None or value == "":
            continue
        elif isinstance(value, str | int | bool):
            found[name] = value
        elif isinstance(value, tuple):
            if value and all(isinstance(item, str | int) for item in value):
                found[name] = list(value[:16])
            elif value:
                found[f"{name}_count"] = len(value)
        elif hasattr(value, "value"):
            found[name] = value.value
    return found
