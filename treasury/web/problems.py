"""Every answer that is no success, in one form: what is wrong, which field, its value, what is
right."""

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from treasury.domain.errors import BadValue, ConfigError, NotFound, StoreError, UserError

JSON: Final = "application/json"
_PATH: Final = re.compile(r"^(.*) - at `(?:\$|key in \$)\.?(.*)`$", re.DOTALL)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error. field: the key or parameter it is about; value: what was found there; right: what
    would do; more: further problems of the same document, as text."""

    error: str
    field: str = ""
    value: Any = None
    right: str = ""
    more: tuple[str, ...] = ()


class ApiError(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, problem: Problem, headers: dict[str, str] | None = None
    ) -> None:
        self.status, self.problem, self.headers = status, problem, headers or {}
        super().__init__(problem.error)


def refused(status: int, error: str, **parts: Any) -> ApiError:
    """An error to be raised."""
    return ApiError(status, Problem(error, **parts))


def answer(error: Exception) -> web.Response | None:
    """The response to an error of a known kind, None for one that is a mistake of ours."""
    headers: dict[str, str] = {}
    if isinstance(error, ApiError):
        status, problem, headers = error.status, error.problem, error.headers
    elif isinstance(error, BadValue):
        status = 422
        problem = Problem(str(error), error.what, error.value, error.right)
    elif isinstance(error, ConfigError):
        status, problem = 422, Problem(str(error), error.path, None, _right(error.problem))
    elif isinstance(error, NotFound):
        status, problem = 404, Problem(str(error))
    elif isinstance(error, StoreError):
        status, problem, headers = 503, Problem(str(error)), {"Retry-After": "5"}
    elif isinstance(error, UserError):
        status, problem = 422, Problem(str(error))
    elif isinstance(error, msgspec.ValidationError):
        match = _PATH.match(str(error))
        text, field = (match[1], match[2]) if match else (str(error), "")
        status, problem = 422, Problem(text, field, None, text.removeprefix("Expected "))
    elif isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
        status, problem = 400, Problem(f"the body is not JSON: {error}")
    elif isinstance(error, TimeoutError):
        status, problem = 503, Problem("took too long: whether it was done is not known; ask again")
        headers = {"Retry-After": "5"}
    elif isinstance(error, web.HTTPException):
        status, problem = error.status, Problem(_reason(error))
        if "Allow" in error.headers:
            headers = {"Allow": error.headers["Allow"]}
    else:
        return None
    return respond(problem, status, headers)


def respond(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type=JSON, headers=headers
    )


def _right(problem: str) -> str:
    return problem.partition("expected ")[2]


def _reason(error: web.HTTPException) -> str:
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "the body is too large"
    return HTTPStatus(error.status).phrase.lower()
