"""The process: what it prints, slow and broken clients, a refresh under load, the end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.__main__ import main
from pipelines.serving.server import listen
from pipelines.serving.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[3]
SEARCH = "/v1/search?q=the+[bank]"


class Process:
    """`sensegrep serve` on a free port.

    Attributes:
      address: such as http://127.0.0.1:40123; empty until it is told.
      port: of the address.
    """

    def __init__(self, corpus: str, log: Path, *flags: str, **variables: str) -> None:
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SENSEGREP_PORT": "0", **variables}
        arguments = [sys.executable, "-m", "pipelines", "serve", "--corpus", corpus, *flags]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        self.address = ""

    def wait(self) -> "Process":
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "serving" in line, self.log.read_text()
        self.address = line.split(" at ")[1].strip().rstrip("/")
        self.port = int(self.address.rsplit(":", 1)[1])
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """A function that starts a server process."""
    started: list[Process] = []

    def start(corpus: str, *flags: str, **variables: str) -> Process:
        log = tmp_path / f"log-{len(started)}"
        started.append(Process(corpus, log, *flags, **variables))
        return started[-1].wait()

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


def exchange(port: int, data: bytes, seconds: float = 30) -> bytes:
    """Send bytes and return all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        received = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass  # closed before all of a large request was sent
        return received


def test_it_serves_refreshes_bounds_and_stops(
    spawn: Callable[..., Process], own_corpus: str, tmp_path: Path, tiny_elmo_dir: Path
) -> None:
    server = spawn(own_corpus, "--refresh", "200ms", "--log-json")
    assert server.address.startswith("http://127.0.0.1:")
    with httpx.Client(base_url=server.address, timeout=60) as client:
        first = client.get(SEARCH).json()
        assert first["compared"] == 33
        statuses: list[int] = []
        done = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.address, timeout=30) as mine:
                while not done.is_set():
                    statuses.append(mine.get(SEARCH).status_code)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        source = tmp_path / "new.jsonl"
        source.write_text(json.dumps({"id": "new", "text": "A bank by the sea ."}) + "\n")
        arguments = ["embed", str(source), "--corpus", own_corpus, "--model", str(tiny_elmo_dir)]
        assert main([*arguments, "--tokens", "all"]) == 0
        assert main(["index", "--corpus", own_corpus]) == 0
        deadline = time.monotonic() + 60
        while client.get("/readyz").json()["snapshot"] != 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        done.set()
        for thread in asking:
            thread.join()
        assert client.get(SEARCH).json()["compared"] == 34
        assert client.get("/readyz").json()["snapshot"] == 4
    assert len(statuses) > 10
    assert set(statuses) == {200}

    long = exchange(server.port, b"GET /v1/search?q=" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n")
    assert long.startswith(b"HTTP/1.1 431")
    assert json.loads(long.split(b"\r\n\r\n", 1)[1])["error"]["type"] == "head_too_large"
    broken = exchange(server.port, b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    assert broken.startswith(b"HTTP/1.1 400")
    assert b"this is not an HTTP request" in broken
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert {"request", "stopped"} <= {line["message"] for line in lines}
    assert "bank" not in server.log.read_text()


def test_a_head_that_comes_too_slowly_is_cut_off(
    spawn: Callable[..., Process], served_corpus: str
) -> None:
    server = spawn(served_corpus, SENSEGREP_MAX_SECONDS="1s")
    started = time.monotonic()
    assert exchange(server.port, b"GET /healthz HTTP/1.1\r\nHost: local") == b""
    assert 0.9 < time.monotonic() - started < 5
    assert server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answer_is_cut_off(
    spawn: Callable[..., Process], served_corpus: str
) -> None:
    server = spawn(served_corpus, SENSEGREP_MAX_SECONDS="2s", SENSEGREP_MAX_TOKENS="100000")
    body = json.dumps({"inputs": ["the bank of the river " * 4] * 2000}).encode()
    head = f"POST /embed_all HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(head.encode() + body)
        deadline = time.monotonic() + 30
        while "a client did not read its answer within 2 seconds" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # The connection is closed: what was on its way is all that comes.
        received = 0
        lazy.settimeout(10)
        with contextlib.suppress(ConnectionError):
            while part := lazy.recv(1 << 20):
                received += len(part)
        assert received < 5_000_000
    assert "sensegrep_in_work 0.0" in httpx.get(f"{server.address}/metrics").text
    assert server.stop() == 0


def test_requests_under_way_are_finished_before_the_end(
    spawn: Callable[..., Process], served_corpus: str
) -> None:
    server = spawn(served_corpus)
    texts = {"inputs": ["the bank of the river "] * 1300}
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{server.address}/embed", json=texts, timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 20
    while "sensegrep_in_work 1.0" not in httpx.get(f"{server.address}/metrics").text:
        assert time.monotonic() < deadline
    assert server.stop() == 0
    asking.join()
    assert answers[0].status_code == 200
    assert len(answers[0].json()) == 1300


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda corpus, _: (corpus / "snapshots" / "00000002.json").unlink(), "has no index"),
        (lambda corpus, _: __import__("shutil").rmtree(corpus), "there is no corpus at"),
        (lambda _, model: __import__("shutil").rmtree(model), "cannot be loaded"),
    ],
)
def test_what_cannot_be_served_exits_1_and_says_why(
    tmp_path: Path, make_elmo: Callable[..., Path], prepare: Any, words: str
) -> None:
    model = make_elmo(seed=3)
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "The bank gave her a loan ."}\n')
    corpus = tmp_path / "corpus"
    assert main(["embed", str(source), "--corpus", str(corpus), "--model", str(model)]) == 0
    assert main(["index", "--corpus", str(corpus)]) == 0
    prepare(corpus, model)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "serve", "--corpus", str(corpus), "--port", "0"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""


def test_answers_are_sent_at_once() -> None:
    """asyncio sets TCP_NODELAY on sockets that name TCP; others answer 40 ms late."""
    with listen(ServeSettings(corpus="x", port=0)) as opened:
        assert opened.proto == socket.IPPROTO_TCP
