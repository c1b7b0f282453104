"""Who is told what the shell does: logs and metrics live elsewhere."""

from treasury.domain.turn import Entry
from treasury.engine import Book


class Observer:
    """Hears everything and does nothing; a listener overrides what it wants. Durations in ns."""

    def turned(
        self, entry: Entry, book: Book, *, inputs: int, step_ns: int, commit_ns: int
    ) -> None:
        """A turn was decided and committed."""

    def queued(self, depth: int) -> None:
        """Inputs that wait for the next turn."""

    def store_failed(self, error: Exception, retry_ns: int) -> None:
        """A turn could not be committed; it is tried again."""

    def planned(self, version: int, actions: int, took_ns: int) -> None:
        """A strategy answered."""

    def plan_failed(self, version: int, why: str) -> None:
        """A strategy raised, took too long or answered with something else than a plan."""

    def called(self, provider: str, what: str, took_ns: int) -> None:
        """A request to a provider or runner succeeded."""

    def failed(self, provider: str, what: str, error: BaseException) -> None:
        """A request to a provider or runner failed."""

    def quiet(self, provider: str, feed: str, for_ns: int) -> None:
        """A feed has said nothing for longer than it should."""

    def heard(self, provider: str, feed: str) -> None:
        """A feed that was quiet speaks again, or speaks for the first time."""

    def halted(self, provider: str, why: str) -> None:
        """The circuit breaker has opened: nothing is taken or given back any more."""

    def led(self, leads: bool, leader: str) -> None:
        """This process leads now, or stands by."""

    def skewed(self, ahead_ns: int, *, degraded: bool) -> None:
        """How far the wall clock is ahead of the one that is followed, every few seconds; degraded:
        so far, either way, that no machine is asked for."""

    def reloaded(self, changes: tuple[str, ...]) -> None:
        """A changed configuration was taken."""

    def reload_failed(self, error: Exception) -> None:
        """A changed configuration was not taken; the old one stands."""

    def broke(self, what: str, error: BaseException) -> None:
        """Something that is not needed to keep money safe failed."""
