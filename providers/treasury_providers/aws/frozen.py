"""Requests as they were sent, kept so that a repetition is the same to the byte."""

from pathlib import Path
from typing import Any, Final

import msgspec

from treasury.domain.ids import Token
from treasury.ports import Site

_FOLDER: Final = "requests"


class Frozen:
    """A file a request, in the adapter's own directory, readable by its owner alone: the user data
    in it holds the password of a lease."""

    def __init__(self, site: Site) -> None:
        self._folder, self._offload, self._clock = site.state / _FOLDER, site.offload, site.clock
        self._pruned_at = 0

    async def get(self, token: Token) -> dict[str, Any] | None:
        """The parameters a token was first sent with, if any."""
        path = self._path(token)

        def read() -> dict[str, Any] | None:
            try:
                kept: dict[str, Any] = msgspec.json.decode(path.read_bytes())["parameters"]
            except FileNotFoundError:
                return None
            return kept

        return await self._offload.run(read)

    async def put(self, token: Token, parameters: dict[str, Any]) -> None:
        """Keep them; to be called before the request is sent."""
        path, at = self._path(token), self._clock.now()

        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_suffix(".part")
            part.touch(mode=0o600)
            part.write_bytes(msgspec.json.encode({"at": at, "parameters": parameters}))
            part.replace(path)

        await self._offload.run(write)

    async def prune(self, *, older_than: int) -> None:
        """Forget what was sent before an instant [ns]: nobody repeats it any more. Looks at most
        once in a while."""
        if older_than <= self._pruned_at:
            return
        self._pruned_at = older_than + (self._clock.now() - older_than) // 24

        def remove() -> None:
            for path in sorted(self._folder.glob("*.json")):
                if msgspec.json.decode(path.read_bytes())["at"] < older_than:
                    path.unlink(missing_ok=True)

        await self._offload.run(remove)

    def _path(self, token: Token) -> Path:
        # Tokens are hexadecimal hashes of ours; anything else must not choose the file.
        return self._folder / f"{token.encode().hex()[:120]}.json"
