"""Routes for operators: health, readiness, metrics, description of the API."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from pipelines.serving.problems import json_response
from pipelines.serving.search_routes import Handler, Service


def health_route() -> Handler:
    """GET /healthz: the process answers."""

    async def health(_: Request) -> Response:
        return json_response({"status": "ok"})

    return health


def ready_route(service: Service) -> Handler:
    """GET /readyz: the model is loaded; says which snapshot is served, and why no newer one is."""

    async def ready(_: Request) -> Response:
        served, problem = service.live.served, service.live.problem
        if served is None:
            return json_response(
                {"status": "loading", "snapshot": None, "problem": problem},
                503,
                {"Retry-After": "5"},
            )
        number = served.corpus.snapshot.number
        return json_response({"status": "ready", "snapshot": number, "problem": problem})

    return ready


def metrics_route(service: Service) -> Handler:
    """GET /metrics: for Prometheus."""

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return metrics


def openapi_route(describe: Callable[[], dict[str, Any]]) -> Handler:
    """GET /openapi.json: what this server answers."""
    document = describe()

    async def openapi(_: Request) -> Response:
        return json_response(document)

    return openapi
