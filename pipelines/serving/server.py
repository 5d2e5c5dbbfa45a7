"""The server process: listen, load, refresh, stop."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import h11
import uvicorn
from starlette.responses import Response
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.api import Corpus
from pipelines.errors import UsageError
from pipelines.index.reader import OpenIndex
from pipelines.serving.app import build_app
from pipelines.serving.live_corpus import LiveCorpus
from pipelines.serving.metrics import Metrics
from pipelines.serving.problems import head_too_large, problem
from pipelines.serving.search_routes import Service
from pipelines.serving.sense_processes import SenseProcesses
from pipelines.serving.settings import LOOPBACK, MAX_HEAD_BYTES, ServeSettings

logger = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with limits for slow clients, and errors in JSON.

    A request's head must arrive within `head_seconds`, and what is sent must be read within
    `read_seconds`: an answer that nobody reads would stay in memory.
    """

    head_seconds = HEAD_SECONDS
    read_seconds = 30.0
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a head must be whole before it runs out."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request under way has its own limits."""
        idle = self.conn.their_state is h11.IDLE
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif idle and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def pause_writing(self) -> None:
        """Start the clock: the client reads more slowly than this server writes."""
        super().pause_writing()
        self._stop_read_timer()
        self._read_timer = self.loop.call_later(self.read_seconds, self._abort)

    def resume_writing(self) -> None:
        """Stop the clock: nearly all is read."""
        super().resume_writing()
        self._stop_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words say less
        """Say in JSON that the head is too long, or not HTTP."""
        held = len(self.conn.trailing_data[0])
        if held >= MAX_HEAD_BYTES:
            self._refuse(head_too_large(MAX_HEAD_BYTES))
        else:
            self._refuse(problem(400, "malformed_request", "this is not an HTTP request"))

    def _cut_off(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def _abort(self) -> None:
        self._read_timer = None
        logger.warning("a client did not read its answer within %g seconds", self.read_seconds)
        self.transport.abort()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, reply: Response) -> None:
        headers = [*reply.raw_headers, (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError):
            events = (
                h11.Response(status_code=reply.status_code, headers=headers),
                h11.Data(data=bytes(reply.body)),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class LogFormatter(logging.Formatter):
    """Writes a record as one line of text, or of JSON."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        made = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        message = record.getMessage()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            content = {"time": made, "level": record.levelname.lower(), "message": message}
            more = {"traceback": trace} if trace else {}
            return json.dumps({**content, **fields, **more}, ensure_ascii=True)
        # repr: what a client sent must not send commands to the reader's terminal.
        said = " ".join(f"{name}={value!r}" for name, value in fields.items())
        line = f"{made} {record.levelname.lower()} {message}{' ' if said else ''}{said}"
        return f"{line}\n{trace}" if trace else line


def set_up_logs(settings: ServeSettings) -> None:
    """Send the server's log to standard error, one line a record."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(as_json=settings.log_json))
    for name in ("sensegrep", "pipelines", "uvicorn"):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.propagate = False
        log.setLevel(logging.WARNING if name == "uvicorn" else logging.INFO)


def listen(settings: ServeSettings) -> socket.socket:
    """Take the address, so that one that is in use is told before anything is loaded.

    Raises:
      UsageError: if it cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named, for asyncio sends at once (TCP_NODELAY) on such sockets only; otherwise
    # the second part of an answer waits 40 ms for the client's acknowledgement of the first.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error});"
            " choose another --host or --port"
        ) from error
    return opened


def serve(settings: ServeSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished.

    Args:
      settings: of the server.
      announce: is told the server's address once it answers.

    Raises:
      UsageError: if the address cannot be had.
      CorpusError: if the corpus, its index or its model cannot serve.
    """
    corpus = Corpus.open(settings.corpus)
    OpenIndex.open(corpus, settings.cache_dir)  # a corpus without an index is told at once
    metrics = Metrics()
    processes = SenseProcesses(settings.cache_dir)
    live = LiveCorpus(settings=settings, observe=metrics.observe_batch, tell=processes)
    metrics.watch(live)
    service = Service(settings, live, metrics)
    opened = listen(settings)

    def ready(address: str) -> None:
        processes.prepare(corpus)
        announce(address)

    try:
        # Requests are worked on side by side: no product of one is spread over cores.
        with threadpool_limits(1, user_api="blas"):
            asyncio.run(_serve(service, corpus, opened, ready))
    finally:
        opened.close()
        service.close()
        processes.close()
        if live.served is not None:
            live.served.model.batches.close()


async def _serve(
    service: Service, corpus: Corpus, opened: socket.socket, announce: Callable[[str], None]
) -> None:
    settings = service.settings
    config = uvicorn.Config(
        build_app(service),
        http=_protocol(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.max_seconds) + 5,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has stopped: to us it is the end, not an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    serving = asyncio.create_task(server.serve(sockets=[opened]))
    caring = asyncio.create_task(_load_and_refresh(service, corpus, opened, announce))
    await asyncio.wait((serving, caring), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    caring.cancel()
    await serving
    with contextlib.suppress(asyncio.CancelledError):
        await caring  # raises what stopped the loading
    logger.info("stopped")


def _protocol(settings: ServeSettings) -> type[BoundedProtocol]:
    """Return the protocol with the server's own limits; uvicorn takes no arguments for it."""
    limits = {
        "head_seconds": min(HEAD_SECONDS, settings.max_seconds),
        "read_seconds": settings.max_seconds,
    }
    return type("Protocol", (BoundedProtocol,), limits)


async def _load_and_refresh(
    service: Service, corpus: Corpus, opened: socket.socket, announce: Callable[[str], None]
) -> None:
    settings, live = service.settings, service.live
    if not settings.checked_hosts:
        logger.warning(
            "every Host header is accepted; give the name of this server with --allow-host"
        )
    if settings.host not in LOOPBACK and settings.api_key is None:
        logger.warning(
            "everyone who can reach %s can search the corpus; set SENSEGREP_API_KEY to prevent it",
            settings.host,
        )
    await asyncio.to_thread(live.load, corpus)
    host, port = opened.getsockname()[:2]
    announce(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")
    while True:
        await asyncio.sleep(settings.refresh_seconds)
        try:
            if await asyncio.to_thread(live.refresh):
                service.metrics.refreshes.inc()
        except Exception:
            logger.exception("looking for a newer snapshot failed; the old one is still served")
