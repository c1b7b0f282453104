"""The API's own address, and where the command line finds it."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from treasury.web.app import make_app
from treasury.web.house import House
from treasury.web.listen import Listener
from treasury.web.tokens import Tokens

# Where the command line finds a running daemon, beside its tokens.
ADDRESS_FILE: Final = "api.json"


class ApiServer(Listener):
    """The API of a daemon that leads. hosts: further names under which it may be asked."""

    def __init__(
        self,
        house: House,
        tokens: Tokens,
        *,
        host: str = "127.0.0.1",
        port: int = 8750,
        hosts: Sequence[str] = (),
        exposed: bool = False,
    ) -> None:
        self._house = house
        super().__init__(make_app(house, tokens, hosts=(*hosts, host)), host, port, exposed=exposed)

    def opened(self) -> None:
        """Write down where it is."""
        path = self._house.state / ADDRESS_FILE
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"url": self.url, "pid": os.getpid()}) + "\n")
        part.replace(path)

    def closed(self) -> None:
        """Remove the file, unless another process wrote it meanwhile."""
        path = self._house.state / ADDRESS_FILE
        with suppress(OSError, ValueError):
            if json.loads(path.read_text()).get("pid") == os.getpid():
                path.unlink()
