"""What a run of the conformance suite found."""

from enum import Enum

import msgspec


class Outcome(Enum):
    """How a case came out."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Result(msgspec.Struct, frozen=True):
    """One case: its number (`C03`), what it shows, how it came out, and why if not passed."""

    number: str
    title: str
    outcome: Outcome
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """All cases in order."""

    provider: str
    results: tuple[Result, ...]

    @property
    def conforms(self) -> bool:
        """Whether no case failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)

    def failures(self) -> list[str]:
        """One line for each case that failed."""
        return [
            f"{result.number} {result.title}: {result.detail}"
            for result in self.results
            if result.outcome is Outcome.FAILED
        ]
