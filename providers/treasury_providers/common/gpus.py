"""From a vendor's words for an accelerator to ours: ordered patterns, and a check of the memory."""

import re

from treasury.domain.errors import InvariantBroken
from treasury.domain.hardware import accelerator

# Vendors count in GB or GiB and keep some for error correction: more is another model.
_MEMORY_TOLERANCE = 0.12


class Normaliser:
    """Ordered (pattern, our name) pairs; the first pattern that matches the whole text decides.

    Patterns ignore case. A name that is not in our table is a mistake of ours: InvariantBroken.
    """

    def __init__(self, *rules: tuple[str, str]) -> None:
        for _, name in rules:
            if accelerator(name) is None:
                raise InvariantBroken(f'"{name}" is not in the table of accelerators')
        self._rules = [(re.compile(pattern, re.IGNORECASE), name) for pattern, name in rules]

    def __call__(self, raw: str, memory_gib: float = 0) -> str:
        """Our name; `unknown:<raw>` where no pattern matches, or where the vendor says a memory
        [GiB per accelerator, 0 if it does not] that this model does not have."""
        raw = raw.strip()
        for pattern, name in self._rules:
            if pattern.fullmatch(raw):
                known = accelerator(name)
                if known is None or (memory_gib and _differs(memory_gib, known.memory_gib)):
                    break
                return name
        return f"unknown:{raw}"


def _differs(found: float, stated: float) -> bool:
    return abs(found - stated) > _MEMORY_TOLERANCE * stated
