"""Who may speak: one secret an installation, and from it a password for each account.

Passwords are derived, never stored: whoever holds the secret can write the broker's password file
for a machine that does not exist yet, and a restarted agent knows what it gave out.
"""

import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from treasury.domain.errors import UserError

CONTROL: Final = "control"
VIEWER: Final = "viewer"
SECRET_BYTES: Final = 32
# What Mosquitto 2 writes itself. The passwords are 128 random bits: no dictionary has them.
_ROUNDS: Final = 101


def installation_secret(path: Path, draw: Callable[[int], bytes]) -> bytes:
    """The secret in a file, made with `draw(bytes)` where there is none. Raises UserError for a
    file that others may read, or that holds something else."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(handle, "wb") as file:
            file.write(draw(SECRET_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UserError(f"{path}: others may read the installation's secret: chmod 600 it")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise UserError(f"{path}: expected an installation's secret, {2 * SECRET_BYTES} hex digits")
    return secret


def password(secret: bytes, account: str) -> str:
    """The password of `control`, `viewer` or a lease's number."""
    label = f"node/{account}" if account.isdigit() else account
    return hmac.new(secret, label.encode(), hashlib.sha256).hexdigest()[:32]


def may_log_in(secret: bytes, account: str, given: str) -> bool:
    """Whether a password is the account's, in constant time."""
    known = account in (CONTROL, VIEWER) or (account.isascii() and account.isdigit())
    right = password(secret, account if known else VIEWER)
    return hmac.compare_digest(right.encode(), given.encode()) and known


def mosquitto_hash(secret: bytes, account: str) -> str:
    """The account's line in a Mosquitto password file: PBKDF2-SHA512 with a derived salt."""
    salt = hmac.new(secret, f"salt/{account}".encode(), hashlib.sha256).digest()[:12]
    word = password(secret, account).encode()
    key = hashlib.pbkdf2_hmac("sha512", word, salt, _ROUNDS)
    return f"{account}:$7${_ROUNDS}${_text(salt)}${_text(key)}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
