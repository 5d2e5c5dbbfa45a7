"""The errors of requests, as JSON.

400 MalformedRequest: cannot be read     401 wrong or no key      403 a page of another origin
404 no such route, word, document, model 405 no such method       408 the body came too slowly
413 TooLarge                             422 UsageError: can be read, but means nothing here
429 too many                             500 the server's fault   503 loading, or took too long
"""

import json
from typing import Any

from starlette.responses import Response

from pipelines.errors import AbsentWord, CorpusError, NoTokenVectors, UsageError
from pipelines.search.document_view import AbsentDocument


class MalformedRequest(UsageError):
    """A request that cannot be read: not JSON, an unknown parameter, a value of another kind."""


class TooLarge(UsageError):
    """A request above one of the server's limits."""


class AbsentModel(UsageError):
    """Vectors of another model than the one that is served are asked for."""


class Loading(RuntimeError):
    """The model is being loaded."""


# The first that an error is an instance of counts.
_STATUS: tuple[tuple[type[BaseException], int, str], ...] = (
    (MalformedRequest, 400, "malformed_request"),
    (TooLarge, 413, "too_large"),
    (AbsentWord, 404, "word_not_found"),
    (AbsentDocument, 404, "document_not_found"),
    (AbsentModel, 404, "model_not_found"),
    (UsageError, 422, "usage"),
    (NoTokenVectors, 422, "no_token_vectors"),
    (Loading, 503, "loading"),
    (CorpusError, 500, "corpus"),
)
_RETRY_SECONDS = {429: "1", 503: "5"}


def json_response(
    content: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return JSON as UTF-8; a query's lone surrogates are written as escapes."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers=headers, media_type="application/json")


def problem(status: int, kind: str, message: str, **more: Any) -> Response:
    """Return an error: {"error": {"status", "type", "message", ...}}."""
    headers = {"Retry-After": _RETRY_SECONDS[status]} if status in _RETRY_SECONDS else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    error = {"status": status, "type": kind, "message": message, **more}
    return json_response({"error": error}, status, headers)


def head_too_large(limit: int) -> Response:
    """Return the answer to a request line and headers that are together too long."""
    text = f"the request line and headers have more than {limit:,} bytes; shorten the query"
    return problem(431, "head_too_large", text)


def problem_of(error: BaseException) -> Response | None:
    """Return what a request that failed is answered; None if the error is nobody's known."""
    for known, status, kind in _STATUS:
        if isinstance(error, known):
            more = {"nearest": error.nearest} if isinstance(error, AbsentWord) else {}
            return problem(status, kind, str(error), **more)
    return None
