"""Fixtures: a server process over a corpus with several senses, and headless Chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[4]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = "The bank <img src=x onerror=document.title='owned'> \x1b[31m red \u202e evil <b>x</b>."
SCRIPT = "<script>document.title='owned'</script>"
ARABIC = "جلسنا على ضفة النهر bank وشاهدنا القوارب ."

ARABIC_BANKS = ("ذهبت إلى البنك لأودع المال", "البنك مغلق يوم الجمعة", "أعطاها البنك قرضا كبيرا")


def write_records(path: Path) -> None:
    """Write the demo's sentences twice, as two copies, and three documents that are odd."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        import ambiguous
    finally:
        sys.path.pop(0)
    records: list[dict[str, str]] = []
    for record in ambiguous.records():
        records += [{**record, "id": f"{record['id']}/{copy}", "copy": copy} for copy in "ab"]
    records += [
        {"id": f"arabic/{n}", "text": ARABIC_BANKS[n % 3], "language": "ar"} for n in range(6)
    ]
    records += [{"id": "formula", "text": "=cmd() the dog called.", "language": "formula"}]
    long = {"id": "corpus/" + "part-" * 20 + "7.xml", "text": f"The {'sub' * 40} cat of it."}
    records += [{**long, "language": "long", "register": "spoken / informal / elicited / " * 3}]
    river = "We walked along the bank of the river. It was a cold day. The water was high."
    records += [
        {"id": "<i>odd</i>", "text": HOSTILE, "word": "<u>w</u>", "title": SCRIPT},
        {"id": "arabic", "text": ARABIC},
        {"id": "walk", "text": "\n".join([river] * 12), "title": "A walk by the river"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


class ServerProcess:
    """`sensegrep serve` over a corpus, on one port, that can be stopped and started again."""

    def __init__(self, corpus: str, **variables: str) -> None:
        self._corpus, self._variables = corpus, variables
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "ServerProcess":
        arguments = ["serve", "--corpus", self._corpus, "--port", str(self._port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self._variables},
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}readyz").is_success:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(timeout=60) == 0
            self._process = None


@pytest.fixture(scope="session")
def page_corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's corpus twice over, so that words have enough occurrences to tell senses."""
    from pipelines.__main__ import main

    directory = tmp_path_factory.mktemp("page")
    write_records(directory / "in.jsonl")
    corpus = str(directory / "corpus")
    assert main(["run", str(directory / "in.jsonl"), "--corpus", corpus]) == 0
    return corpus


@pytest.fixture(scope="session")
def site(page_corpus: str) -> Iterator[str]:
    """The address of a server that all tests share."""
    server = ServerProcess(page_corpus).start()
    yield server.address
    server.stop()


@pytest.fixture
def own_site(page_corpus: str) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts a server for one test; keywords are variables."""
    started: list[ServerProcess] = []

    def start(**variables: str) -> ServerProcess:
        started.append(ServerProcess(page_corpus, **variables).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("the page is tested in Chromium, which is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        # As root, as in CI, Chromium needs to be told that there is no sandbox.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """A function that opens the page at a query; keywords are of the browser's context.

    Whatever the page writes to its console as an error, or throws, fails the test.
    """
    faults: list[str] = []
    contexts: list[Any] = []
    expect.set_options(timeout=20_000)

    def open_at(query: str = "", *, address: str = site, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if _is_fault(m) else None)
        page.goto(address + query)
        expect(page.locator("#corpus-facts")).not_to_be_empty()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert faults == []


def _is_fault(message: Any) -> bool:
    # A request that the server refuses is also told in the console; the page says it in place.
    return message.type == "error" and "Failed to load resource" not in message.text


@pytest.fixture
def shoot() -> Callable[[Page, str], None]:
    """A function that keeps a picture of a state in the folder that make screenshots names."""
    folder = os.environ.get("SENSEGREP_SCREENSHOTS")

    def keep(page: Page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{folder}/{name}.png")

    return keep
