"""The API's description against the routes, and the server against its description."""

import argparse
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from pipelines.serving import parameters
from pipelines.serving.openapi import BODIES, GETS, describe_api
from pipelines.serving.settings import ServeSettings

UNDESCRIBED = {"/favicon.ico", "/assets/{name}"}  # the page's own


def served_routes(server: Any) -> dict[str, set[str]]:
    """Methods by path, as the application itself has them."""
    inner = server.app.app
    return {route.path: route.methods - {"HEAD"} for route in inner.routes}


def test_every_route_is_described_and_nothing_else(server: Any) -> None:
    document = server.get("/openapi.json").json()
    described = {
        path: {method.upper() for method in item} for path, item in document["paths"].items()
    }
    served = {p: m for p, m in served_routes(server).items() if p not in UNDESCRIBED}
    assert described == served


def test_parameters_and_bodies_are_those_that_are_read() -> None:
    document = describe_api(ServeSettings(corpus="x", max_k=50))
    for path, (_, known, _) in GETS.items():
        listed = document["paths"][path]["get"]["parameters"]
        assert [p["name"] for p in listed] == [p.name for p in known]
    [k] = [p for p in document["paths"]["/v1/search"]["get"]["parameters"] if p["name"] == "k"]
    assert k["schema"]["maximum"] == 50
    assert set(BODIES) == {"/v1/embeddings", "/embed", "/embed_all"}


def test_a_command_s_option_is_a_parameter() -> None:
    from pipelines.__main__ import build_parser

    parser = build_parser("search")
    subparser = parser._subparsers._group_actions[0].choices["search"]  # type: ignore[union-attr,index]
    flags = {action.dest for action in subparser._actions}
    elsewhere = {"help", "query", "corpus", "json", "csv", "csv_safe", "model", "device"}
    elsewhere |= {
        "cache_dir",
        "explain",
        "html",
    }  # the answer has the weights; the page shades by them
    elsewhere |= {"verbose", argparse.SUPPRESS}  # of every command
    assert flags - elsewhere == {p.name for p in parameters.SEARCH} - {"q"}


def test_references_lead_somewhere() -> None:
    document = describe_api(ServeSettings(corpus="x", api_key="k"))
    named = document["components"]["schemas"]

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(document))
    assert found == {f"#/components/schemas/{name}" for name in named}
    assert document["paths"]["/v1/search"]["get"]["security"] == [{"key": []}]
    assert "security" not in document["paths"]["/readyz"]["get"]


CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
PLAIN = ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/corpus")
TAKING = [path for path, (_, known, _) in GETS.items() if known]
OPERATIONS = [
    *((path, "GET", POSITIVE) for path in PLAIN),
    *((path, "GET", mode) for path in TAKING for mode in (POSITIVE, NEGATIVE)),
    *((path, "POST", mode) for path in BODIES for mode in (POSITIVE, NEGATIVE)),
]


@pytest.fixture(scope="module")
def described(served_corpus: str, server_class: type) -> Iterator[Any]:
    """The description, bound to an application that answers to schemathesis's name for it."""
    made = server_class(ServeSettings(corpus=served_corpus, allow_hosts=("testserver",))).load()
    yield schemathesis.openapi.from_asgi("/openapi.json", made.app)
    made.close()


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_answers_conform_to_the_description(
    described: Any, path: str, method: str, mode: GenerationMode
) -> None:
    operation = described[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # Whether input is accepted hangs on the corpus too: a schema cannot say it.
        case.call_and_validate(checks=CHECKS)

    check()
