"""Access, limits, metrics and logs of requests. Plain ASGI."""

import asyncio
import hmac
import logging
from collections.abc import Mapping
from time import perf_counter
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.metrics import Metrics
from pipelines.serving.problems import TooLarge, head_too_large, problem
from pipelines.serving.settings import MAX_HEAD_BYTES, ServeSettings

access = logging.getLogger("sensegrep.access")
logger = logging.getLogger(__name__)

# These hold no text of the corpus: a browser and a load balancer ask for them without a key.
OPEN_PATHS = ("/", "/favicon.ico", "/healthz", "/readyz", "/openapi.json")
OPEN_FOLDER = "/assets/"
# A load balancer asks a server by its address.
ANY_HOST_PATHS = ("/healthz", "/readyz")
# These take no place among --max-requests.
LIGHT_PATHS = (*OPEN_PATHS, "/metrics")

SECURITY_HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


class Gate:
    """Refuses what may not pass, bounds what may, counts and logs all of it.

    Args:
      app: what answers.
      settings: of the server.
      metrics: where requests are counted.
      routes: the paths that are counted under their own name; others are counted as "other".

    Attributes:
      in_work: requests that are being answered.
    """

    def __init__(
        self, app: ASGIApp, *, settings: ServeSettings, metrics: Metrics, routes: frozenset[str]
    ) -> None:
        self.app, self._settings, self._metrics, self._routes = app, settings, metrics, routes
        self.in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        exchange = _Exchange(scope, receive, send, self._settings)
        try:
            async with asyncio.timeout(self._settings.max_seconds):
                await self._answer(scope, exchange)
        except TimeoutError:
            await self._cut_off(exchange)
        except Exception:
            logger.exception("a request failed: %s %s", scope["method"], scope["path"])
        finally:
            self._record(scope, exchange.status, perf_counter() - started)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        path, headers = scope["path"], _headers(scope)
        refused = self._refuse(scope, headers)
        origin = headers.get("origin")
        if origin in self._settings.allow_origins:
            exchange.allow_origin(str(origin))
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                refused = Response(status_code=204)
        if refused is not None:
            await _reply(refused, scope, exchange)
            return
        if path in LIGHT_PATHS or path.startswith(OPEN_FOLDER):
            await self.app(scope, exchange.receive, exchange.send)
            return
        if self.in_work >= self._settings.max_requests:
            text = (
                f"{self.in_work} requests are in work, as many as this server takes at once"
                " (--max-requests); ask again in a second"
            )
            await _reply(problem(429, "busy", text), scope, exchange)
            return
        self.in_work += 1
        self._metrics.in_work.set(self.in_work)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        finally:
            self.in_work -= 1
            self._metrics.in_work.set(self.in_work)

    def _refuse(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """Return why a request may not pass; None if it may."""
        # uvicorn bounds a head that comes in many parts; this, one that comes whole.
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            return head_too_large(MAX_HEAD_BYTES)
        path, host = scope["path"], headers.get("host", "")
        hosts = self._settings.checked_hosts
        if hosts and path not in ANY_HOST_PATHS and _host_name(host) not in hosts:
            text = (
                f"the Host header is {host!r}; this server answers to {', '.join(hosts)}"
                " (--allow-host)"
            )
            return problem(400, "host_not_allowed", text)
        origin = headers.get("origin")
        if not self._may_ask(origin, host):
            text = f"pages of {origin!r} may not use this server (--allow-origin)"
            return problem(403, "origin_not_allowed", text)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.max_body_bytes:
            return problem(413, "too_large", _describe_excess(int(length), self._settings))
        key = self._settings.api_key
        if key is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        if hmac.compare_digest(given.encode(), key.encode()):
            return None
        found = "the key is wrong" if given else "there is no key"
        text = f"{found}; send the server's key in the header: Authorization: Bearer KEY"
        return problem(401, "unauthorized", text)

    def _may_ask(self, origin: str | None, host: str) -> bool:
        if origin is None or origin in self._settings.allow_origins:
            return True
        try:
            return urlsplit(origin).netloc == host
        except ValueError:
            return False

    async def _cut_off(self, exchange: "_Exchange") -> None:
        seconds = f"{self._settings.max_seconds:g} seconds"
        if exchange.status:
            # The client reads too slowly; what has begun cannot be taken back.
            exchange.status = 499
            logger.warning("a client did not read its answer within %s", seconds)
            return
        if exchange.waits_for_body:
            reply = problem(408, "body_too_slow", f"the body did not arrive within {seconds}")
        else:
            text = f"the request took longer than {seconds} (--max-seconds); ask for less"
            reply = problem(503, "took_too_long", text)
        reply.headers["Connection"] = "close"
        await _reply(reply, exchange.scope, exchange)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        route = path if path in self._routes else "other"
        route = "/assets" if path.startswith(OPEN_FOLDER) else route
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.latency.labels(route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            fields = {
                "method": scope["method"],
                "path": path,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "client": (scope.get("client") or ("",))[0],
            }
            if self._settings.log_queries:
                pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
                fields["query"] = pairs
            access.info("request", extra={"fields": fields})


class _Exchange:
    """One request and its answer under way: bounds the body, adds headers, knows the status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: ServeSettings) -> None:
        self.scope, self._receive, self._send, self._settings = scope, receive, send, settings
        self._headers = dict(SECURITY_HEADERS)
        self._received = 0
        self.status = 0
        self.waits_for_body = False

    def allow_origin(self, origin: str) -> None:
        """Let a page of another origin read the answer."""
        self._headers |= {
            b"access-control-allow-origin": origin.encode("latin-1"),
            b"access-control-allow-methods": b"GET, POST",
            b"access-control-allow-headers": b"authorization, content-type",
            b"access-control-expose-headers": b"sensegrep-snapshot, server-timing, retry-after",
            b"cross-origin-resource-policy": b"cross-origin",
            b"vary": b"Origin",
        }

    async def receive(self) -> Message:
        """Receive a part of the body."""
        self.waits_for_body = True
        message = await self._receive()
        self.waits_for_body = bool(message.get("more_body"))
        self._received += len(message.get("body", b""))
        if self._received > self._settings.max_body_bytes:
            raise TooLarge(_describe_excess(self._received, self._settings))
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in self._headers.items() if name not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)


def _describe_excess(size: int, settings: ServeSettings) -> str:
    return (
        f"the body has {size:,} bytes or more, above the {settings.max_body_bytes:,} that this"
        " server takes (--max-body)"
    )


async def _reply(response: Response, scope: Scope, exchange: _Exchange) -> None:
    await response(scope, exchange.receive, exchange.send)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _head_bytes(scope: Scope) -> int:
    named = sum(len(name) + len(value) for name, value in scope["headers"])
    return len(scope["path"]) + len(scope["query_string"]) + named


def _host_name(host: str) -> str:
    """Return a Host header without its port, lower case; [::1]:80 is ::1."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
