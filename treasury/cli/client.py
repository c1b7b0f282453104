"""The command line's way to a running daemon: its HTTP API, with the standard library alone, so
that a verb starts in no time."""

import functools
import http.client
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import click

from treasury.cli.output import AnyFunction
from treasury.domain.errors import UserError

STATE: Final = "treasury-state"
_TIMEOUT: Final = 60.0
# Pauses [s] before an order is sent again under the same key.
_PAUSES: Final = (0.2, 1.0, 3.0)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Refused(UserError):
    """The daemon said no. status: HTTP's; field: what it is about."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.field = status, str(problem.get("field", ""))
        lines = [str(problem.get("error", "no reason was given")), *problem.get("more", ())]
        super().__init__("\n".join(_printable(line) for line in lines))


class NoDaemon(UserError):
    """Nobody answers, or nobody is known who might."""


class Client:
    """One daemon. Raises NoDaemon when it cannot be reached and Refused when it says no."""

    def __init__(self, url: str, token: str) -> None:
        split = urlsplit(url)
        try:
            known = split.scheme in {"http", "https"} and split.hostname and split.port != 0
        except ValueError:
            known = False
        if not known:
            raise UserError(f"--url {url!r} cannot be used: expected http://HOST:PORT")
        self.url = url.rstrip("/")
        self._split, self._token = split, token

    def get(self, path: str, **query: Any) -> Any:
        """What is told, as JSON."""
        return self._ask("GET", path, query, None, {})

    def post(self, path: str, body: bytes | Mapping[str, Any], **query: Any) -> Any:
        """Give an order; one whose answer is lost is sent again, and carried out once."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        for pause in _PAUSES:
            try:
                return self._ask("POST", path, query, raw, headers)
            except NoDaemon as error:
                if isinstance(error.__cause__, ConnectionRefusedError | socket.gaierror):
                    raise
            except Refused as error:
                if error.status != 503:
                    raise
            time.sleep(pause)
        return self._ask("POST", path, query, raw, headers)

    def lines(
        self, path: str, headers: Mapping[str, str], *, patient: bool, **query: Any
    ) -> Iterator[str]:
        """The lines of an answer as they come, without their breaks. patient: they may be far
        between."""
        connection = self._connect(None if patient else _TIMEOUT)
        try:
            response = self._send(connection, "GET", path, query, None, headers)
            while line := response.readline():
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Any:
        connection = self._connect(_TIMEOUT)
        try:
            text = self._send(connection, method, path, query, body, headers).read()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        return json.loads(text)

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        host, port = self._split.hostname or "", self._split.port
        if self._split.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        """The response to a request. Raises Refused for one that is no success."""
        given = {name: _word(value) for name, value in query.items() if value not in {None, ""}}
        target = f"{self._split.path.rstrip('/')}{path}" + (f"?{urlencode(given)}" if given else "")
        connection.request(
            method, target, body, {"Authorization": f"Bearer {self._token}", **headers}
        )
        response = connection.getresponse()
        if response.status >= 300:
            raise Refused(response.status, _problem(response))
        return response

    def _lost(self, error: Exception) -> NoDaemon:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return NoDaemon(f"{self.url} does not answer ({reason}): does `treasury run` run there?")


def name(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")


def client_options(function: AnyFunction) -> AnyFunction:
    """Decorate a command with the ways to a daemon; its parameter `client` makes a `Client`."""

    @functools.wraps(function)
    def command(url: str, token_file: Path | None, state_dir: Path, *args: Any, **more: Any) -> Any:
        return function(*args, client=find(url, token_file, state_dir), **more)

    wrapped: Callable[..., Any] = command
    for option in (
        click.option(
            "--state-dir",
            type=click.Path(path_type=Path),
            default=STATE,
            envvar="TREASURY_STATE",
            show_default=True,
            help="The daemon's state directory.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            help="A file with a token, or TREASURY_TOKEN.  [default: of the state directory]",
        ),
        click.option(
            "--url",
            default="",
            envvar="TREASURY_URL",
            help="The daemon's address.  [default: of the state directory]",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value] # the same command with three options more


def find(url: str = "", token_file: Path | None = None, state: Path | None = None) -> Client:
    """The daemon that is meant: by options, by variables, or by its state directory. Raises
    NoDaemon, UserError."""
    place = state or Path(os.environ.get("TREASURY_STATE", STATE))
    address = url or os.environ.get("TREASURY_URL", "") or _address(place)
    token = _token(token_file) if token_file else os.environ.get("TREASURY_TOKEN", "").strip()
    if not token:
        if urlsplit(address).hostname not in _LOOPBACK:
            # A token of this machine is no other machine's business.
            raise NoDaemon(f"{address} wants a token: say --token-file, or set TREASURY_TOKEN")
        token = _token(place / "api-tokens")
    return Client(address, token)


def _address(state: Path) -> str:
    try:
        return str(json.loads((state / "api.json").read_text())["url"])
    except FileNotFoundError:
        raise NoDaemon(
            f"no daemon is known here: {state / 'api.json'} is not there; start one with"
            " `treasury run`, or say where it is with --url or --state-dir"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoDaemon(f"{state / 'api.json'} cannot be read: {error}") from None


def _token(path: Path) -> str:
    """A file's token: the only word in it, or an admin's before a viewer's."""
    from treasury.web.tokens import read_tokens

    try:
        words = path.read_text().split()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text") from None
    if len(words) == 1:
        return words[0]
    held = sorted(read_tokens(path), key=lambda item: item[0].role)
    if not held:
        raise UserError(f"{path}: there is no token in it")
    return held[0][1]


def _problem(response: http.client.HTTPResponse) -> Mapping[str, Any]:
    try:
        found = json.loads(response.read(1 << 20))
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    return {"error": f"HTTP {response.status} {response.reason}"}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _printable(text: str) -> str:
    """A stranger's text, which may not drive the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
