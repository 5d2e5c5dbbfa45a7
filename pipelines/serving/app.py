"""The application: routes, and the answer to every error."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.errors import CorpusError, UsageError
from pipelines.serving import embed_routes, operations, page_files, search_routes
from pipelines.serving.gate import Gate
from pipelines.serving.openapi import describe_api
from pipelines.serving.problems import Loading, problem, problem_of
from pipelines.serving.search_routes import Service


def build_app(service: Service) -> Gate:
    """Return the ASGI application of a server."""
    settings = service.settings
    files = page_files.read_page()
    routes = [
        Route("/", page_files.page_route(files)),
        Route("/favicon.ico", page_files.icon_route(files)),
        Route("/assets/{name}", page_files.asset_route(files)),
        Route("/v1/search", search_routes.search_route(service)),
        Route("/v1/senses", search_routes.senses_route(service)),
        Route("/v1/senses/map", search_routes.senses_map_route(service)),
        Route("/v1/document", search_routes.document_route(service)),
        Route("/v1/tokens", search_routes.tokens_route(service)),
        Route("/v1/corpus", search_routes.corpus_route(service)),
        Route("/v1/embeddings", embed_routes.openai_route(service), methods=["POST"]),
        Route("/embed", embed_routes.embed_route(service), methods=["POST"]),
        Route("/embed_all", embed_routes.embed_all_route(service), methods=["POST"]),
        Route("/healthz", operations.health_route()),
        Route("/readyz", operations.ready_route(service)),
        Route("/metrics", operations.metrics_route(service)),
        Route("/openapi.json", operations.openapi_route(lambda: describe_api(settings))),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers=_exception_handlers(routes),
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)],
    )
    # A path with a slash too many is another path: no redirect to somewhere by the Host header.
    app.router.redirect_slashes = False
    names = frozenset(route.path for route in routes)
    return Gate(app, settings=settings, metrics=service.metrics, routes=names)


Answer = Callable[[Request, Any], Awaitable[Response]]


def _exception_handlers(routes: list[Route]) -> dict[Any, Answer]:
    async def known(_: Request, error: Exception) -> Response:
        response = problem_of(error)
        assert response is not None
        return response

    async def http(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            text = f"{path} does not take {request.method}; it takes {allowed}"
            response = problem(405, "method_not_allowed", text)
            response.headers["Allow"] = allowed
            return response
        if error.status_code == 404:
            paths = ", ".join(
                route.path for route in routes if route.path.startswith(("/v1", "/e"))
            )
            return problem(404, "not_found", f"there is nothing at {path!r}; there are {paths}")
        return problem(error.status_code, "http", str(error.detail))

    async def failed(_: Request, __: Exception) -> Response:
        return problem(500, "internal", "the server failed; its log says why")

    handlers: dict[Any, Answer] = {HTTPException: http, Exception: failed}
    return handlers | dict.fromkeys((UsageError, CorpusError, Loading), known)
