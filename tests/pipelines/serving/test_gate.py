"""Who may ask: keys, hosts, origins; how much and how slowly; what is logged."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from pipelines.serving.server import LogFormatter

SEARCH = "/v1/search?q=the+[bank]"


@pytest.mark.parametrize(
    ("header", "status", "words"),
    [
        (None, 401, "there is no key; send the server's key"),
        ("Bearer wrong", 401, "the key is wrong"),
        ("Bearer", 401, "there is no key"),
        ("Basic sesame", 401, "there is no key"),
        ("Bearer s\xe9same".encode("latin-1"), 401, "the key is wrong"),
        ("Bearer sesame", 200, ""),
        ("bearer sesame", 200, ""),
    ],
)
def test_a_key_is_asked_for(
    start: Callable[..., Any], served_corpus: str, header: Any, status: int, words: str
) -> None:
    made = start(served_corpus, api_key="sesame")
    answered = made.get(SEARCH, headers={} if header is None else {"Authorization": header})
    assert answered.status_code == status
    if status == 401:
        assert words in answered.json()["error"]["message"]
        assert answered.headers["www-authenticate"] == "Bearer"


def test_page_and_health_need_no_key_and_metrics_do(
    start: Callable[..., Any], served_corpus: str
) -> None:
    made = start(served_corpus, api_key="sesame")
    for path in ("/", "/assets/page.css", "/healthz", "/readyz", "/openapi.json"):
        assert made.get(path).status_code == 200, path
    for path in ("/metrics", "/v1/corpus", "/v1/nowhere"):
        assert made.get(path).status_code == 401, path


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("localhost:8000", {}, 200),
        ("127.0.0.1", {}, 200),
        ("[::1]:8000", {}, 200),
        ("LOCALHOST", {}, 200),
        ("evil.example", {}, 400),
        ("localhost.evil.example", {}, 400),
        ("search.example", {"allow_hosts": ("search.example",)}, 200),
        ("evil.example", {"host": "0.0.0.0", "allow_hosts": ("search.example",)}, 400),
        ("evil.example", {"host": "0.0.0.0"}, 200),
    ],
)
def test_the_host_header_is_checked(
    start: Callable[..., Any], served_corpus: str, host: str, settings: Any, status: int
) -> None:
    answered = start(served_corpus, **settings).get(SEARCH, headers={"Host": host})
    assert answered.status_code == status
    if status == 400:
        assert f"the Host header is {host!r}" in answered.json()["error"]["message"]


def test_a_load_balancer_may_ask_by_address(start: Callable[..., Any], served_corpus: str) -> None:
    assert start(served_corpus).get("/readyz", headers={"Host": "10.1.2.3:8000"}).is_success


def test_pages_of_other_origins_are_refused_unless_allowed(
    start: Callable[..., Any], served_corpus: str
) -> None:
    friend = "https://friend.example"
    made = start(served_corpus, allow_origins=(friend,))
    assert made.get(SEARCH, headers={"Origin": "http://localhost"}).is_success
    for origin in ("https://evil.example", "null", "http://[", "http://localhost:99"):
        refused = made.get(SEARCH, headers={"Origin": origin})
        assert refused.status_code == 403, origin
        assert "access-control-allow-origin" not in refused.headers
    allowed = made.get(SEARCH, headers={"Origin": friend})
    assert allowed.headers["access-control-allow-origin"] == friend
    preflight = {"Origin": friend, "Access-Control-Request-Method": "POST"}
    answered = made.ask("OPTIONS", "/embed", headers=preflight)
    assert answered.status_code == 204
    assert "authorization" in answered.headers["access-control-allow-headers"]


def test_no_inline_script_may_run(server: Any) -> None:
    policy = server.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_a_large_body_is_refused_with_and_without_its_length(
    start: Callable[..., Any], served_corpus: str
) -> None:
    made = start(served_corpus, max_body_bytes=1000)
    body = b'{"inputs": "' + b"a " * 1000 + b'"}'

    async def parts() -> AsyncIterator[bytes]:
        for first in range(0, len(body), 100):
            yield body[first : first + 100]

    for content in (body, parts()):
        answered = made.post("/embed", content=content)
        assert answered.status_code == 413
        assert "above the 1,000 that this server takes" in answered.json()["error"]["message"]


def test_a_large_head_is_refused_though_it_comes_whole(server: Any) -> None:
    answered = server.get("/healthz", headers={"X-Long": "a" * 66_000})
    assert answered.status_code == 431
    assert "have more than 65,536 bytes" in answered.json()["error"]["message"]
    assert server.get("/v1/corpus", headers={"X-Long": "a" * 60_000}).status_code == 200


def test_more_requests_than_the_limit_get_429(
    start: Callable[..., Any], served_corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(served_corpus, max_requests=2)
    go = threading.Event()
    encoder = made.service.live.served.searcher.encoder
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda query: go.wait(20) and encode(query))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=made.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            inside = [asyncio.create_task(client.get(SEARCH)) for _ in range(2)]
            while made.app.in_work < 2:
                await asyncio.sleep(0.01)
            beyond = await client.get(SEARCH)
            health = await client.get("/healthz")
            go.set()
            return [beyond, health, *await asyncio.gather(*inside)]

    beyond, health, *inside = asyncio.run(ask())
    assert beyond.status_code == 429
    assert beyond.headers["retry-after"] == "1"
    assert "2 requests are in work" in beyond.json()["error"]["message"]
    assert [answer.status_code for answer in (health, *inside)] == [200, 200, 200]


def test_a_request_that_takes_too_long_gets_503(
    start: Callable[..., Any], served_corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(served_corpus, max_seconds=0.2)
    go = threading.Event()
    monkeypatch.setattr(made.service.live.served.searcher.encoder, "encode", lambda _: go.wait(20))
    answered = made.get(SEARCH)
    go.set()
    assert answered.status_code == 503
    assert "took longer than 0.2 seconds" in answered.json()["error"]["message"]
    assert answered.headers["retry-after"] == "5"


def test_a_body_that_comes_too_slowly_gets_408(
    start: Callable[..., Any], served_corpus: str
) -> None:
    made = start(served_corpus, max_seconds=0.3)
    sent: list[Any] = []

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.1)
            return {"type": "http.request", "body": b"[", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/embed", "raw_path": b"/embed",
            "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("c", 1),
            "scheme": "http", "http_version": "1.1", "server": ("localhost", 80),
        }  # fmt: skip
        await made.app(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 408
    assert b"did not arrive within 0.3 seconds" in sent[1]["body"]


def test_a_failure_of_the_server_is_json_and_in_its_log(
    start: Callable[..., Any],
    served_corpus: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = start(served_corpus)
    monkeypatch.setattr(made.service.live.served.searcher.encoder, "encode", lambda _: 1 / 0)
    answered = made.get(SEARCH)
    assert answered.status_code == 500
    assert answered.json()["error"]["message"] == "the server failed; its log says why"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("asked", [False, True])
def test_the_log_has_a_line_a_request_and_queries_only_if_asked(
    start: Callable[..., Any], served_corpus: str, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    made = start(served_corpus, log_queries=asked)
    with caplog.at_level(logging.INFO, logger="sensegrep.access"):
        made.get(SEARCH)
    [record] = [r for r in caplog.records if r.name == "sensegrep.access"]
    for as_json in (False, True):
        line = LogFormatter(as_json=as_json).format(record)
        assert "\n" not in line
        assert "/v1/search" in line
        assert ("[bank]" in line) == asked


def test_a_log_line_cannot_command_a_terminal(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="sensegrep.access"):
        server.get("/%1b[31m%0aroot")
    [record] = [r for r in caplog.records if r.name == "sensegrep.access"]
    line = LogFormatter(as_json=False).format(record)
    assert "\x1b" not in line
    assert "\n" not in line


def test_metrics_count_requests_by_route_and_status(server: Any) -> None:
    server.get(SEARCH)
    server.get("/v1/does-not-exist-1")
    server.get("/v1/does-not-exist-2")
    text = server.get("/metrics").text
    assert 'sensegrep_requests_total{method="GET",route="/v1/search",status="200"}' in text
    assert 'route="other",status="404"' in text
    assert "does-not-exist" not in text
    names = "encode_seconds_count scan_seconds_count batch_tokens_sum queue snapshot"
    for name in f"{names} snapshot_age_seconds unindexed_segments memory_bytes".split():
        assert f"\nsensegrep_{name} " in text
