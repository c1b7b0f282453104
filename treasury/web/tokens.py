"""Who may ask: bearer tokens of a file that only its owner can read.

Each line is `ROLE NAME TOKEN`: `admin` may order, `viewer` may look. The name is what facts are
signed with. The file is made with one token of each role, and read again when it changes.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from treasury.domain.errors import UserError

FILE: Final = "api-tokens"
ROLES: Final = ("viewer", "admin")
_BYTES: Final = 32
_SIZE_MAX: Final = 64 * 1024
_HEADER: Final = "# ROLE NAME TOKEN: whoever knows an admin's token can spend money.\n"


class Principal(NamedTuple):
    """Who a token belongs to."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether what the role may do is allowed: an admin may do all a viewer may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Tokens:
    """The tokens of a file, kept as digests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._known: tuple[tuple[bytes, Principal], ...] = ()

    def principal(self, header: str) -> Principal | None:
        """Who an Authorization header speaks for, None for nobody.

        A missing, malformed or wrong token costs what a right one does: its digest is compared with
        every known one, in constant time each.
        """
        self._refresh()
        scheme, _, token = header.partition(" ")
        digest = _digest(token.strip())
        found = None
        for known, principal in self._known:
            if hmac.compare_digest(known, digest):
                found = principal
        return found if scheme.lower() == "bearer" and token.strip() else None

    def _refresh(self) -> None:
        """Read the file again when it is another one. One that cannot be used lets nobody in."""
        try:
            status = self.path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._known = tuple(
                    (_digest(token), principal) for principal, token in read_tokens(self.path)
                )
                self._stamp = stamp
        except (OSError, UserError):
            self._known, self._stamp = (), None


def open_tokens(state: Path, draw: Callable[[int], bytes]) -> Tokens:
    """The tokens of a state directory, made at the first start. draw: that many bytes nobody can
    guess (`secrets.token_bytes`). Raises UserError for a file that others can read or that cannot
    be understood."""
    path = state / FILE
    if not path.exists():
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = [f"{role} {role} {draw(_BYTES).hex()}\n" for role in reversed(ROLES)]
        # Readable by nobody else from its first byte on.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(_HEADER + "".join(lines))
    read_tokens(path)
    return Tokens(path)


def read_tokens(path: Path) -> tuple[tuple[Principal, str], ...]:
    """Whose tokens a file holds. Raises UserError, which never shows one."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_SIZE_MAX).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise UserError(f"{path}: others may read it, and with it spend money: chmod 600 {path}")
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[0] not in ROLES or len(words[2]) < 16:
            raise UserError(
                f"{path}:{number}: expected ROLE NAME TOKEN, the role one of {', '.join(ROLES)},"
                " the token of 16 characters or more"
            )
        found.append((Principal(words[1], words[0]), words[2]))
    return tuple(found)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
